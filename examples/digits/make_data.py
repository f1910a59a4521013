"""Writes scikit-learn's 1,797 handwritten digits as a folder tree of PNG files, one folder per class.

python make_data.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

SIDE = 96
"""Pixels; the scans are 8 x 8."""
BRIGHTEST = 16.0


def write(folder: Path) -> int:
    """One RGB PNG per scan, `folder`/<digit>/<number>.png, unless it is there; the number of images."""
    digits = load_digits()
    for number, (scan, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        file = folder / str(digit) / f"{number:04d}.png"
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            enlarged(scan).save(file)
    return len(digits.target)


def enlarged(scan: np.ndarray) -> Image.Image:
    """An 8 x 8 scan with values 0..16 as a SIDE x SIDE picture."""
    grey = Image.fromarray(np.uint8(np.round(scan * (255.0 / BRIGHTEST))))
    return grey.resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(f"{write(Path(sys.argv[1]))} images in {sys.argv[1]}")
