"""Format and size of an image from its first bytes, without decoding any of it.

Asked before anything is decoded: a PNG of 400 kB may stand for 400 megapixels.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

Reader = Callable[[int, int], bytes]
"""(start, length) -> at most that many bytes of the file."""

_WEBP_ANIMATED = 0x02
_BMP_HEADERS = frozenset({40, 52, 56, 64, 108, 124})
_SEGMENTS = 500  # more than any camera or editor writes before the picture begins
_SIZED = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BASELINE_OR_PROGRESSIVE = frozenset({0xC0, 0xC1, 0xC2})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a file says about itself."""

    format: str
    """PNG, JPEG, GIF, BMP or WebP; by content, whatever the file is called."""
    width: int
    height: int
    """Pixels as stored, before any EXIF rotation."""
    exif_rotated: bool = False
    """Whether EXIF asks viewers to turn or flip it."""
    unsupported: str = ""
    """Why TensorFlow cannot decode this kind of the format; empty when it can."""


def image_header(first_bytes: bytes) -> ImageHeader | None:
    """Header of an image of which `first_bytes` hold enough; None when they are not those of an image."""
    return read_header(lambda start, length: first_bytes[start : start + length])


def read_header(read: Reader) -> ImageHeader | None:
    """Header of the image that `read` reads, a few bytes here and there; None when it is not an image."""
    magic = read(0, 32)
    for is_format, parse in _FORMATS:
        if is_format(magic):
            try:
                return parse(magic, read)
            except (struct.error, IndexError):
                return None  # it ends within its header
    return None


def _png(magic: bytes, _read: Reader) -> ImageHeader | None:
    width, height = struct.unpack_from(">II", magic, 16)
    return _sized("PNG", width, height) if magic[12:16] == b"IHDR" else None


def _gif(magic: bytes, _read: Reader) -> ImageHeader | None:
    return _sized("GIF", *struct.unpack_from("<HH", magic, 6))


def _bmp(_magic: bytes, read: Reader) -> ImageHeader | None:
    header_size, width, height, planes, bits, compression = struct.unpack("<IiiHHI", read(14, 20))
    if header_size not in _BMP_HEADERS or planes != 1:
        return None
    plain = bits in (8, 24, 32) and compression in (0, 3)
    unsupported = "" if plain else f"a BMP with {bits} bits a pixel, or compressed"
    return _sized("BMP", width, abs(height), unsupported=unsupported)


def _webp(magic: bytes, read: Reader) -> ImageHeader | None:
    kind, data = magic[12:16], read(20, 10)
    unsupported = ""
    if kind == b"VP8X":
        unsupported = "an animated WebP" if data[0] & _WEBP_ANIMATED else ""
        width, height = (1 + int.from_bytes(data[i : i + 3], "little") for i in (4, 7))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 1)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind != b"VP8 ":
        return None
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 6))
    return _sized("WebP", width, height, unsupported=unsupported)


def _jpeg(_magic: bytes, read: Reader) -> ImageHeader | None:
    """Walk the segments up to the one with the size, over thumbnails and colour profiles of any length."""
    position, rotated = 2, False
    for _ in range(_SEGMENTS):
        mark = read(position, 4)
        if mark[0] != 0xFF:
            return None
        if mark[1] == 0xFF or mark[1] in _WITHOUT_LENGTH:
            position += 1 if mark[1] == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", mark, 2)
        if mark[1] in _SIZED:
            return _jpeg_frame(mark[1], read(position + 4, 6), rotated)
        if mark[1] == 0xE1:
            rotated = rotated or _is_rotated(read(position + 4, min(length - 2, 4096)))
        position += 2 + length
    return None


def _jpeg_frame(marker: int, frame: bytes, rotated: bool) -> ImageHeader | None:
    precision, height, width, components = struct.unpack(">BHHB", frame)
    unsupported = ""
    if marker not in _BASELINE_OR_PROGRESSIVE or precision != 8:
        unsupported = "a lossless, arithmetic or 12-bit JPEG"
    elif components not in (1, 3, 4):
        unsupported = f"a JPEG with {components} colour components"
    return _sized("JPEG", width, height, rotated, unsupported)


def _is_rotated(segment: bytes) -> bool:
    """Whether an EXIF segment has an orientation (tag 0x0112) other than upright (1)."""
    if segment[:6] != b"Exif\0\0":
        return False
    tiff = segment[6:]
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return False
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, directory)
        entries = (struct.unpack_from(f"{order}HHIH", tiff, directory + 2 + 12 * i) for i in range(count))
        return any(tag == 0x0112 and 2 <= value <= 8 for tag, _kind, _number, value in entries)
    except struct.error:
        return False  # cut off or nonsense: viewers ignore it too


def _sized(
    format: str, width: int, height: int, rotated: bool = False, unsupported: str = ""
) -> ImageHeader | None:
    if width <= 0 or height <= 0:
        return None
    return ImageHeader(format, width, height, rotated, unsupported)


_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes, Reader], ImageHeader | None]], ...] = (
    (lambda magic: magic[:8] == b"\x89PNG\r\n\x1a\n", _png),
    (lambda magic: magic[:3] == b"\xff\xd8\xff", _jpeg),
    (lambda magic: magic[:6] in (b"GIF87a", b"GIF89a"), _gif),
    (lambda magic: magic[:2] == b"BM", _bmp),
    (lambda magic: magic[:4] == b"RIFF" and magic[8:12] == b"WEBP", _webp),
)
