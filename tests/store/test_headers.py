"""Format and size of an image from its first bytes."""

import io
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from finetune_store.headers import ImageHeader, image_header, read_header


def encoded(mode: str, format: str, size: tuple[int, int] = (37, 21), **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 1).save(buffer, format, **options)
    return buffer.getvalue()


def oriented(orientation: int, format: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    exif[0x0112] = orientation
    return encoded("RGB", format, exif=exif)


@pytest.mark.parametrize(
    ("content", "format"),
    [
        pytest.param(encoded("RGB", "PNG"), "PNG", id="PNG"),
        pytest.param(encoded("RGBA", "PNG"), "PNG", id="PNG with alpha"),
        pytest.param(encoded("P", "PNG"), "PNG", id="PNG with palette"),
        pytest.param(encoded("1", "PNG"), "PNG", id="PNG of one bit"),
        pytest.param(encoded("I;16", "PNG"), "PNG", id="PNG of 16 bits"),
        pytest.param(encoded("RGB", "JPEG"), "JPEG", id="JPEG"),
        pytest.param(encoded("RGB", "JPEG", progressive=True), "JPEG", id="progressive JPEG"),
        pytest.param(encoded("L", "JPEG"), "JPEG", id="grey JPEG"),
        pytest.param(encoded("CMYK", "JPEG"), "JPEG", id="CMYK JPEG"),
        pytest.param(
            encoded("RGB", "JPEG", icc_profile=bytes(150_000)), "JPEG", id="JPEG with a long profile"
        ),
        pytest.param(encoded("RGB", "JPEG", comment=b"x" * 60_000), "JPEG", id="JPEG with a long comment"),
        pytest.param(encoded("P", "GIF"), "GIF", id="GIF"),
        pytest.param(encoded("RGB", "BMP"), "BMP", id="BMP"),
        pytest.param(encoded("RGB", "WEBP"), "WebP", id="WebP"),
        pytest.param(encoded("RGB", "WEBP", lossless=True), "WebP", id="lossless WebP"),
        pytest.param(encoded("RGBA", "WEBP"), "WebP", id="WebP with alpha"),
    ],
)
def test_size_and_format_are_read(content: bytes, format: str) -> None:
    assert image_header(content) == ImageHeader(format, 37, 21)


def test_a_bmp_stored_from_the_top_has_a_positive_height() -> None:
    content = bytearray(encoded("RGB", "BMP"))
    struct.pack_into("<i", content, 22, -21)
    assert image_header(bytes(content)) == ImageHeader("BMP", 37, 21)


@pytest.mark.parametrize("orientation", range(10))
def test_an_exif_rotation_is_noticed(orientation: int) -> None:
    header = image_header(oriented(orientation))
    assert header is not None
    assert header.exif_rotated == (2 <= orientation <= 8)
    assert (header.width, header.height) == (37, 21), "as stored"


def animated_webp() -> bytes:
    frames = [Image.new("RGB", (37, 21), color) for color in ("red", "green")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def lossless_jpeg() -> bytes:
    return encoded("RGB", "JPEG").replace(b"\xff\xc0", b"\xff\xc3", 1)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(animated_webp(), "animated", id="animated WebP"),
        pytest.param(lossless_jpeg(), "lossless", id="lossless JPEG"),
        pytest.param(encoded("1", "BMP"), "BMP with 1 bit", id="BMP of one bit"),
    ],
)
def test_kinds_that_cannot_be_decoded_are_known(content: bytes, why: str) -> None:
    header = image_header(content)
    assert header is not None
    assert why in header.unsupported


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello, I am a text",
        b"<svg></svg>",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n\0\0\0\rtEXt" + bytes(16),
        b"GIF89a",
        b"BM",
        b"BMW is a car, not a bitmap picture of one, whatever it begins with",
        b"RIFF\0\0\0\0WEBP",
        b"RIFF\0\0\0\0WAVEfmt " + bytes(30),
        encoded("RGB", "TIFF"),
    ],
)
def test_what_is_no_image_is_nothing(content: bytes) -> None:
    assert image_header(content) is None


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_an_image_cut_anywhere_in_its_header_raises_nothing(format: str) -> None:
    content = oriented(6, format)
    for length in range(min(len(content), 700)):
        image_header(content[:length])


@given(
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe1", b"GIF89a", b"BM", b""]),
    st.binary(max_size=400),
)
def test_no_bytes_at_all_raise_anything(magic: bytes, rest: bytes) -> None:
    image_header(magic + rest)


def test_few_bytes_are_read_of_a_long_header() -> None:
    content = encoded("RGB", "JPEG", icc_profile=bytes(3_000_000))
    read = 0

    def reader(start: int, length: int) -> bytes:
        nonlocal read
        read += length
        return content[start : start + length]

    assert read_header(reader) == ImageHeader("JPEG", 37, 21)
    assert read < 2000


def test_a_header_of_endless_segments_is_given_up() -> None:
    assert image_header(b"\xff\xd8" + b"\xff\xe0\x00\x02" * 10_000) is None


def test_nothing_is_decompressed() -> None:
    ihdr = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 6, 0, 0, 0)
    chunk = struct.pack(">I", len(ihdr)) + b"IHDR" + ihdr + struct.pack(">I", zlib.crc32(b"IHDR" + ihdr))
    assert image_header(b"\x89PNG\r\n\x1a\n" + chunk) == ImageHeader("PNG", 20_000, 20_000)
