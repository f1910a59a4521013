"""The one way an encoded image becomes pixels: in training, in evaluation and inside the exported model.

TensorFlow operations only. JPEG (CMYK included), PNG, the first frame of a GIF, BMP and still WebP become
uint8 RGB; what is transparent in a PNG or WebP shows white; 16 bits become 8; EXIF rotation is not applied.
Anything else, a damaged file, or more pixels than allowed is an InvalidArgumentError.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from finetune_trainer.augment import to_uint8

Reader = Callable[[tf.Tensor], tf.Tensor]


def image(contents: tf.Tensor, size: int, max_pixels: int) -> tf.Tensor:
    """An encoded image (string scalar) -> uint8 [size, size, 3]."""
    return fit(pixels(contents, max_pixels), size)


def fit(picture: tf.Tensor, size: int) -> tf.Tensor:
    """Stretch uint8 [H, W, 3] or [N, H, W, 3] to size x size without aliasing."""
    with tf.device("CPU"):
        height, width = tf.unstack(tf.shape(picture)[-3:-1])
        fitted = tf.cond(
            (height == size) & (width == size),
            lambda: picture,
            lambda: _resize(picture, (height >= size) & (width >= size), size),
        )
        return tf.ensure_shape(fitted, [*picture.shape[:-3], size, size, 3])


def pixels(contents: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """An encoded image (string scalar) -> uint8 [H, W, 3] of the size it is stored with."""
    with tf.device("CPU"):
        kind = _kind(contents)
        height, width = tf.unstack(_branch(kind, [shape for shape, _ in _FORMATS], contents))
        allowed = tf.debugging.Assert(
            (height > 0) & (width > 0) & (width <= max_pixels // tf.maximum(height, 1)),
            [
                "The image is empty or has more pixels than allowed (width, height, limit):",
                width,
                height,
                max_pixels,
            ],
        )
        # The size is the header's: nothing larger is ever decoded.
        with tf.control_dependencies([allowed]):
            contents = tf.identity(contents)
        return tf.ensure_shape(_branch(kind, [decoder for _, decoder in _FORMATS], contents), [None, None, 3])


def _resize(picture: tf.Tensor, shrinks: tf.Tensor, size: int) -> tf.Tensor:
    batch = picture if picture.shape.rank == 4 else picture[tf.newaxis]
    # For shrinking, averaging areas is as good as a wide bilinear kernel, and two to four times as fast.
    resized = tf.cond(
        shrinks,
        lambda: tf.image.resize(batch, [size, size], method="area"),
        lambda: tf.image.resize(batch, [size, size], method="bilinear", antialias=True),
    )
    return to_uint8(resized if picture.shape.rank == 4 else resized[0])


def _kind(contents: tf.Tensor) -> tf.Tensor:
    """Which of `_FORMATS`, by the first bytes; a file's name says nothing."""
    known = tf.stack(
        [
            _starts(contents, b"\xff\xd8\xff"),
            _starts(contents, b"\x89PNG\r\n\x1a\n"),
            _starts(contents, b"GIF8"),
            _starts(contents, b"BM"),
            _starts(contents, b"RIFF") & _is_webp(contents),
            tf.constant(True),
        ]
    )
    return tf.argmax(tf.cast(known, tf.int32), output_type=tf.int32)


def _starts(contents: tf.Tensor, magic: bytes) -> tf.Tensor:
    return tf.strings.substr(contents, 0, len(magic)) == magic


def _is_webp(contents: tf.Tensor) -> tf.Tensor:
    # Bytes 4 to 8 are a length. Cutting from the middle of too short a file would be an error.
    return tf.strings.substr(contents, 0, 12) == tf.strings.substr(contents, 0, 8) + b"WEBP"


def _branch(kind: tf.Tensor, readers: Sequence[Reader], contents: tf.Tensor) -> tf.Tensor:
    def bound(reader: Reader) -> Callable[[], tf.Tensor]:
        return lambda: reader(contents)

    return tf.switch_case(kind, [bound(reader) for reader in readers])


def _number(contents: tf.Tensor, at: int, length: int, order: str = "little") -> tf.Tensor:
    """`length` bytes from `at` as an int32."""
    enough = tf.debugging.Assert(
        tf.strings.length(contents) >= at + length, ["The file ends within its header"]
    )
    with tf.control_dependencies([enough]):
        raw = tf.io.decode_raw(tf.strings.substr(contents, at, length), tf.uint8)
    shifts = [8 * i for i in (range(length) if order == "little" else reversed(range(length)))]
    digits = tf.ensure_shape(tf.cast(raw, tf.int32), [length])
    return tf.reduce_sum(tf.bitwise.left_shift(digits, tf.constant(shifts, tf.int32)))


def _on_white(rgba: tf.Tensor) -> tf.Tensor:
    """uint8 [H, W, 4] -> uint8 [H, W, 3], what is transparent showing white."""

    def blended() -> tf.Tensor:
        alpha = tf.cast(rgba[..., 3:], tf.uint16)
        mixed = tf.cast(rgba[..., :3], tf.uint16) * alpha + (255 - alpha) * 255
        return tf.cast((mixed + 127) // 255, tf.uint8)

    return tf.cond(tf.reduce_all(rgba[..., 3] == 255), lambda: rgba[..., :3], blended)


def _jpeg_shape(contents: tf.Tensor) -> tf.Tensor:
    return tf.io.extract_jpeg_shape(contents)[:2]


def _jpeg(contents: tf.Tensor) -> tf.Tensor:
    # As exact as other programs decode, and no slower; the default is off by one here and there.
    return tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE")


def _png_shape(contents: tf.Tensor) -> tf.Tensor:
    return tf.stack([_number(contents, 20, 4, "big"), _number(contents, 16, 4, "big")])


def _png(contents: tf.Tensor) -> tf.Tensor:
    return _on_white(tf.io.decode_png(contents, channels=4))


def _gif_shape(contents: tf.Tensor) -> tf.Tensor:
    return tf.stack([_number(contents, 8, 2), _number(contents, 6, 2)])


def _gif(contents: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.DecodeImage(contents=contents, channels=3, expand_animations=False)


def _bmp_shape(contents: tf.Tensor) -> tf.Tensor:
    compression = _number(contents, 30, 4)
    plain = tf.debugging.Assert((compression == 0) | (compression == 3), ["Compressed BMP", compression])
    with tf.control_dependencies([plain]):
        # A negative height says that the rows run from the top.
        return tf.stack([tf.abs(_number(contents, 22, 4)), _number(contents, 18, 4)])


def _bmp(contents: tf.Tensor) -> tf.Tensor:
    stored = tf.io.decode_bmp(contents, channels=0)

    def looked_up() -> tf.Tensor:
        # TensorFlow gives the index; the palette (blue, green, red, unused) follows the header.
        start = 14 + _number(contents, 14, 4)
        entries = tf.io.decode_raw(
            tf.strings.substr(contents, start, _number(contents, 10, 4) - start), tf.uint8
        )
        palette = tf.reshape(entries[: tf.size(entries) // 4 * 4], [-1, 4])[:, 2::-1]
        return tf.gather(palette, tf.cast(stored[..., 0], tf.int32))

    return tf.cond(tf.shape(stored)[-1] == 1, looked_up, lambda: stored[..., :3])


def _bits(number: tf.Tensor, first: int) -> tf.Tensor:
    """The 14 bits of `number` from bit `first`: how WebP stores a side."""
    return tf.bitwise.bitwise_and(tf.bitwise.right_shift(number, first), 0x3FFF)


def _webp_shape(contents: tf.Tensor) -> tf.Tensor:
    chunk = tf.strings.substr(contents, 12, 4)
    lossless, extended = chunk == b"VP8L", chunk == b"VP8X"
    # TensorFlow 2.21 corrupts its heap on animated WebP: never let one through.
    still = tf.debugging.Assert(~(extended & (_number(contents, 20, 1) // 2 % 2 == 1)), ["Animated WebP"])
    with tf.control_dependencies([still]):
        packed = _number(contents, 21, 4)
    return tf.case(
        [
            (lossless, lambda: tf.stack([_bits(packed, 14) + 1, _bits(packed, 0) + 1])),
            (extended, lambda: tf.stack([_number(contents, 27, 3) + 1, _number(contents, 24, 3) + 1])),
        ],
        default=lambda: tf.stack([_bits(_number(contents, 28, 2), 0), _bits(_number(contents, 26, 2), 0)]),
    )


def _webp(contents: tf.Tensor) -> tf.Tensor:
    stored = tf.raw_ops.DecodeImage(contents=contents, channels=0, expand_animations=False)
    return tf.cond(tf.shape(stored)[-1] == 4, lambda: _on_white(stored), lambda: stored[..., :3])


def _unknown(contents: tf.Tensor) -> tf.Tensor:
    # Never true, but computed: a constant would be folded away together with the check.
    known = tf.strings.length(contents) < 0
    refused = tf.debugging.Assert(known, ["Not a JPEG, PNG, GIF, BMP or WebP image"])
    with tf.control_dependencies([refused]):
        return tf.cast(tf.stack([known, known]), tf.int32)


_FORMATS: Sequence[tuple[Reader, Reader]] = (
    (_jpeg_shape, _jpeg),
    (_png_shape, _png),
    (_gif_shape, _gif),
    (_bmp_shape, _bmp),
    (_webp_shape, _webp),
    (_unknown, _png),
)
"""How to read the height and width from the header, and how to decode; in the order of `_kind`."""
