"""Images as people really have them: each file, and the pixels it stands for by Pillow's decoder."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 70, 50


@dataclass(frozen=True)
class OddImage:
    """One file, and what must come out of it."""

    name: str
    contents: bytes
    pixels: NDArray[np.uint8]
    """[HEIGHT, WIDTH, 3]"""


def picture(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> Any:
    """Smooth colours that differ with `seed`."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Any, kind: str, **options: Any) -> bytes:
    """The image as a file of `kind`."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def on_white(image: Any) -> NDArray[np.uint8]:
    """What an image with transparency shows on white paper."""
    rgba = np.asarray(image.convert("RGBA")).astype(np.uint32)
    mixed = rgba[..., :3] * rgba[..., 3:] + 255 * (255 - rgba[..., 3:])
    return ((mixed + 127) // 255).astype(np.uint8)


def decodable() -> list[OddImage]:
    """Eleven of the twelve."""
    rgb = picture()
    grey = rgb.convert("L")
    transparent = rgb.copy()
    transparent.putalpha(
        Image.fromarray(np.linspace(0, 255, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint8))
    )
    palette = encoded(rgb.quantize(16), "PNG", transparency=3)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    cmyk = encoded(rgb.convert("CMYK"), "JPEG", quality=95)
    turned = Image.Exif()
    turned[0x0112] = 6
    rotated = encoded(rgb, "JPEG", quality=95, exif=turned)
    gif = encoded(rgb, "GIF", save_all=True, append_images=[picture(1)])
    jpeg = encoded(rgb, "JPEG", quality=95)
    return [
        OddImage("alpha.png", encoded(transparent, "PNG"), on_white(transparent)),
        OddImage("palette-with-transparency.png", palette, on_white(_opened(palette))),
        OddImage("grey.png", encoded(grey, "PNG"), np.asarray(grey.convert("RGB"))),
        OddImage(
            "grey-and-alpha.png",
            encoded(transparent.convert("LA"), "PNG"),
            on_white(transparent.convert("LA")),
        ),
        OddImage("sixteen-bit.png", encoded(deep, "PNG"), np.asarray(grey.convert("RGB"))),
        OddImage("cmyk.jpg", cmyk, np.asarray(_opened(cmyk).convert("RGB"))),
        OddImage("exif-rotated.jpg", rotated, np.asarray(_opened(rotated))),
        OddImage("animated.gif", gif, np.asarray(_opened(gif).convert("RGB"))),
        OddImage("UPPER.JPG", jpeg, np.asarray(_opened(jpeg))),
        OddImage("größe ☀ 画像.png", encoded(rgb, "PNG"), np.asarray(rgb)),
        OddImage("really-a-png.jpg", encoded(rgb, "PNG"), np.asarray(rgb)),
    ]


def truncated() -> bytes:
    """The twelfth: a JPEG of which the second half is missing."""
    whole = encoded(picture(), "JPEG", quality=95)
    return whole[: len(whole) // 2]


def _opened(contents: bytes) -> Any:
    return Image.open(io.BytesIO(contents))
