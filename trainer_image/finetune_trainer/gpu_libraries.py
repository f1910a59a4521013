"""Opens the CUDA libraries that TensorFlow's wheel does not find by itself. Imports no TensorFlow.

TensorFlow 2.21 opens them from libtensorflow_framework, whose search path names the folder of every NVIDIA wheel
but cuSOLVER's: with one missing it uses no GPU at all. A library that is open already is found by its name.
"""

import ctypes
import importlib.util
from collections.abc import Callable
from pathlib import Path

NOT_FOUND = ("cusolver/lib/libcusolver.so.*",)
"""Below the folder `nvidia` of the installed packages."""


def open_missing(open_library: Callable[[str], object] = ctypes.CDLL) -> list[Path]:
    """Open them where they are installed; which ones. What cannot be opened is left to TensorFlow to report."""
    opened = []
    for library in _installed():
        try:
            open_library(str(library))
        except OSError:
            continue
        opened.append(library)
    return opened


def _installed() -> list[Path]:
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or ()]
    return [
        library for folder in folders for pattern in NOT_FOUND for library in sorted(folder.glob(pattern))
    ]
