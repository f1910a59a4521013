"""The pictures that both sides read: textures with a stripe pattern per class, as JPEG files."""

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = 5
WIDTH, HEIGHT = 320, 240


def write_images(root: Path, count: int, seed: int) -> Path:
    """Fill `root`/classK/ with `count` JPEG files of 320×240, dealt over five classes; kept when whole.

    The same count and seed give the same pictures.
    """
    whole = root / ".whole"
    if whole.exists():
        return root
    random = np.random.default_rng(seed)
    for index in range(count):
        label = index % CLASSES
        folder = root / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        _picture(label, random).save(folder / f"{index:05d}.jpg", quality=90)
    whole.touch()
    return root


def _picture(label: int, random: np.random.Generator) -> Image.Image:
    """Coloured noise at two scales, with stripes whose distance is the class."""
    blobs = random.integers(64, 192, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(blobs).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float32)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    frequency = (label + 1) * 0.05
    stripes = 60 * np.sin(columns * frequency + rows * frequency / 2 + random.uniform(0, 2 * np.pi))
    noise = random.normal(0, 8, (HEIGHT, WIDTH, 3))
    return Image.fromarray(np.clip(pixels + stripes[..., None] + noise, 0, 255).astype(np.uint8))
