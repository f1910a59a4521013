"""Every kind of file becomes the pixels it stands for, or is refused before anything is allocated."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import odd_images
from finetune_trainer import decode

LIMIT = 50_000_000
ODD = odd_images.decodable()
RGB = odd_images.picture()


@pytest.fixture(scope="module")
def pixels():
    traced = tf.function(
        lambda contents: decode.pixels(contents, LIMIT), [tf.TensorSpec([], tf.string)], autograph=False
    )
    return lambda contents: traced(tf.constant(contents)).numpy()


@pytest.mark.parametrize("odd", ODD, ids=[odd.name for odd in ODD])
def test_an_odd_image_gives_the_pixels_it_stands_for(pixels, odd):
    np.testing.assert_array_equal(pixels(odd.contents), odd.pixels)


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        pytest.param(odd_images.encoded(RGB, "BMP"), RGB, id="BMP"),
        pytest.param(odd_images.encoded(RGB.quantize(16), "BMP"), RGB.quantize(16), id="BMP with a palette"),
        pytest.param(odd_images.encoded(RGB.convert("L"), "BMP"), RGB.convert("L"), id="grey BMP"),
        pytest.param(odd_images.encoded(RGB, "WEBP", lossless=True), RGB, id="lossless WebP"),
        pytest.param(odd_images.encoded(RGB.convert("L"), "JPEG", quality=95), None, id="grey JPEG"),
        pytest.param(odd_images.encoded(RGB, "PNG", interlace=1), RGB, id="interlaced PNG"),
    ],
)
def test_other_formats(pixels, contents, expected):
    found = pixels(contents)
    if expected is None:
        assert (found == found[..., :1]).all()
    else:
        np.testing.assert_array_equal(found, np.asarray(expected.convert("RGB")))


def test_transparency_of_a_webp_shows_white(pixels):
    image = RGB.convert("RGBA")
    image.putalpha(100)
    contents = odd_images.encoded(image, "WEBP", lossless=True)
    np.testing.assert_array_equal(pixels(contents), odd_images.on_white(image))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size; what follows is never read."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


def size_field(contents: bytes, at: int, layout: str, *sides: int) -> bytes:
    """The file with other numbers where its size stands."""
    return contents[:at] + struct.pack(layout, *sides) + contents[at + struct.calcsize(layout) :]


GIF, BMP = odd_images.encoded(RGB, "GIF"), odd_images.encoded(RGB, "BMP")
JPEG, PNG = odd_images.encoded(RGB, "JPEG"), odd_images.encoded(RGB, "PNG")
ANIMATED = odd_images.encoded(RGB, "WEBP", save_all=True, append_images=[odd_images.picture(1)])


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        pytest.param(b"", "Not a JPEG", id="an empty file"),
        pytest.param(b"x", "Not a JPEG", id="one byte"),
        pytest.param(b"<html>not found</html>" * 20, "Not a JPEG", id="a web page"),
        pytest.param(odd_images.truncated(), "Invalid JPEG", id="half a JPEG"),
        pytest.param(PNG[:-20], "Invalid PNG", id="a PNG without its end"),
        pytest.param(PNG[:20], "ends within its header", id="a PNG cut in its header"),
        pytest.param(b"BM", "ends within its header", id="a BMP of two bytes"),
        pytest.param(ANIMATED, "Animated WebP", id="an animated WebP"),
        pytest.param(ANIMATED[:20], "ends within its header", id="an animated WebP cut in its header"),
        pytest.param(size_field(BMP, 30, "<i", 1), "Compressed BMP", id="a compressed BMP"),
        pytest.param(png_header(20_000, 20_000), "more pixels", id="a PNG of 400 megapixels"),
        pytest.param(png_header(0, 10), "empty", id="a PNG without a width"),
        pytest.param(png_header(2**31 + 5, 2**31 + 5), "empty", id="a PNG larger than its numbers"),
        pytest.param(size_field(GIF, 6, "<HH", 60_000, 60_000), "more pixels", id="a GIF of 3600 megapixels"),
        pytest.param(
            size_field(BMP, 18, "<ii", 30_000, -30_000), "more pixels", id="a BMP of 900 megapixels"
        ),
        pytest.param(
            size_field(odd_images.encoded(RGB, "WEBP"), 26, "<HH", 16_000, 16_000), "more pixels", id="WebP"
        ),
        pytest.param(
            size_field(odd_images.encoded(RGB, "WEBP", lossless=True), 21, "<I", 0x0FFFFFFF),
            "more pixels",
            id="VP8L",
        ),
    ],
)
def test_what_is_damaged_or_too_large_is_refused(pixels, contents, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        pixels(contents)


def huge_png(side: int) -> bytes:
    """A whole and valid PNG, black, of a few hundred kilobytes."""
    packer, row = zlib.compressobj(1), bytes(side + 1)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def memory(field: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def test_a_huge_image_costs_no_memory(pixels):
    contents = huge_png(20_000)
    with pytest.raises(tf.errors.InvalidArgumentError, match="more pixels"):
        pixels(contents)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = memory("VmRSS")
    with pytest.raises(tf.errors.InvalidArgumentError, match="more pixels"):
        pixels(contents)
    assert memory("VmHWM") - before < 50 << 20


def test_an_image_of_the_right_size_is_not_touched():
    image = np.asarray(odd_images.picture(2, 32, 32))
    np.testing.assert_array_equal(decode.fit(tf.constant(image), 32).numpy(), image)


def test_shrinking_averages_areas():
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    blocks = image.reshape(32, 2, 32, 3, 3).mean(axis=(1, 3))
    difference = decode.fit(tf.constant(image), 32).numpy().astype(float) - blocks
    assert np.abs(difference).max() <= 0.5001


def test_a_fine_pattern_does_not_alias():
    checks = np.indices((200, 200)).sum(axis=0) % 2 * 255
    image = np.repeat(checks[..., np.newaxis], 3, axis=2).astype(np.uint8)
    fitted = decode.fit(tf.constant(image), 64).numpy()
    assert np.abs(fitted.astype(int) - 127).max() <= 12


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 80), width=st.integers(1, 80), value=st.integers(0, 255))
def test_a_plain_image_stays_plain_whatever_its_shape(height, width, value):
    image = np.full((height, width, 3), value, np.uint8)
    fitted = decode.fit(tf.constant(image), 24).numpy()
    assert fitted.shape == (24, 24, 3)
    assert (fitted == value).all()


@pytest.mark.parametrize("shape", [(20, 30), (90, 70), (24, 24), (10, 90)])
def test_a_batch_is_fitted_like_its_images(shape):
    images = np.random.default_rng(1).integers(0, 256, (3, *shape, 3)).astype(np.uint8)
    together = decode.fit(tf.constant(images), 24).numpy()
    alone = [decode.fit(tf.constant(image), 24).numpy() for image in images]
    np.testing.assert_array_equal(together, np.stack(alone))
