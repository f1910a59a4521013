"""Feature caches on disk: memory-mapped arrays in a folder named by a digest of all that decides them.

A cache is whole or not there: it is written beside its final name and moved there when complete.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from finetune_api.errors import BadConfiguration
from finetune_trainer.images import CorruptImage, ImageOptions
from finetune_trainer.trunk import RowSpec

FORMAT = 1
_MARKER = "complete.json"

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Recipe:
    """All that decides what is in this worker's caches, but for the cut."""

    backbone: str
    """Name and variant."""
    weights: str
    """Digest of the frozen weights."""
    data: str
    """Digest of the data sets: ids, sizes, etags, split."""
    options: ImageOptions
    views: int
    train: Indices
    """This worker's training examples, ascending."""
    validation: Indices
    """This worker's validation examples, ascending."""

    def key(self, cut: str, dtype: str) -> str:
        """Name of the cache of one cut."""
        parts = [
            self.backbone,
            self.weights,
            self.data,
            asdict(self.options) | {"threads": 0},
            self.views,
            cut,
            dtype,
        ]
        versions = [FORMAT, tf.__version__, keras.__version__]
        digest = hashlib.sha256(json.dumps([*parts, *versions], sort_keys=True).encode())
        for own in (self.train, self.validation):
            digest.update(len(own).to_bytes(8, "big") + own.astype("<i8").tobytes())
        return digest.hexdigest()[:32]


@dataclass(frozen=True)
class CacheArrays:
    """The tensors of one cut: `train` [views, n, ...] each, `validation` [1, n, ...] each."""

    train: list[NDArray[Any]]
    validation: list[NDArray[Any]]
    corrupt: list[CorruptImage]

    @property
    def bytes(self) -> int:
        """On disk."""
        return sum(array.nbytes for array in (*self.train, *self.validation))


def find(folder: Path, key: str) -> CacheArrays | None:
    """The cache `key` if it is there, whole, and was written since this machine started."""
    try:
        marker = json.loads((folder / key / _MARKER).read_text())
    except FileNotFoundError:
        return None
    # Pages that were never flushed do not survive a power loss, and nothing in the file would tell.
    if marker["boot"] != _boot():
        return None
    corrupt = [CorruptImage(**image) for image in marker["corrupt"]]
    train, validation = (
        [_open(folder / key / f"{name}-{i}.npy") for i in range(marker["tensors"])]
        for name in ("train", "validation")
    )
    return CacheArrays(train, validation, corrupt)


def create(folder: Path, key: str, specs: Sequence[RowSpec], recipe: Recipe) -> CacheArrays:
    """New arrays to write into; BadConfiguration when the disk has no room for them."""
    part = folder / f"{key}.part"
    with _room_needed(folder):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        train = [
            _allocate(part / f"train-{i}.npy", (recipe.views, len(recipe.train), *shape), dtype)
            for i, (shape, dtype) in enumerate(specs)
        ]
        validation = [
            _allocate(part / f"validation-{i}.npy", (1, len(recipe.validation), *shape), dtype)
            for i, (shape, dtype) in enumerate(specs)
        ]
    return CacheArrays(train, validation, [])


def complete(folder: Path, key: str, corrupt: Sequence[CorruptImage], tensors: int) -> None:
    """Give a written cache its name; from now on `find` finds it."""
    part, final = folder / f"{key}.part", folder / key
    marker = {"boot": _boot(), "tensors": tensors, "corrupt": [asdict(image) for image in corrupt]}
    with _room_needed(folder):
        (part / _MARKER).write_text(json.dumps(marker))
        shutil.rmtree(final, ignore_errors=True)
        part.rename(final)


def _allocate(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if 0 in shape:
        np.save(path, np.empty(shape, dtype))
        return np.empty(shape, dtype)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    # A write to a mapped page without room on the disk kills the process: ask for the room now.
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _open(path: Path) -> NDArray[Any]:
    # An empty array cannot be mapped.
    array: NDArray[Any] = np.load(path, mmap_mode="r" if path.stat().st_size > 256 else None)
    return array


@contextmanager
def _room_needed(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        free = shutil.disk_usage(folder).free / 2**30
        raise BadConfiguration(
            "NoRoomForFeatureCache",
            f"The feature cache does not fit into {folder}: {free:.1f} GiB are free there",
            "room for featureCache.maxBytes on every worker's share",
            "give the scratch folder more room, lower featureCache.maxBytes or set its mode to Disabled",
        ) from error


def _boot() -> str:
    """Changes whenever the machine starts."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
