"""Where a stage's training loop gets its rows: from a cache that one pass wrote, or computed on the way.

One pass reads and decodes each image of this worker once, runs each view of it through the trunk once, and
writes the tensors at the cuts of all cached stages; validation images ride along. Nothing is held in memory
but a few micro-batches, and no other worker is asked for anything.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from finetune_api.errors import BadData
from finetune_trainer import cache_files
from finetune_trainer.cache_files import CacheArrays, Recipe
from finetune_trainer.images import VALIDATION, CorruptImage, Images, Indices, Loaded, ahead
from finetune_trainer.trunk import MICRO_BATCH, FeatureCut, FrozenBackbone, Trunk

__all__ = [
    "VALIDATION",
    "Caches",
    "FeatureSource",
    "LiveSource",
    "MemmapSource",
    "build_caches",
    "refuse_corrupt",
]

NAMED = 10
Tick = Callable[[int, int], None]


class FeatureSource(Protocol):
    """Rows of the tensors at one cut."""

    def rows(self, view: int, examples: Indices) -> list[NDArray[Any]]:
        """The tensors of these examples, [n, ...] each: training images, or with view VALIDATION the others.

        Rows of corrupt images are zero.
        """


@dataclass(frozen=True)
class MemmapSource:
    """Rows from a cache; only this worker's own examples are there."""

    recipe: Recipe
    arrays: CacheArrays

    def rows(self, view: int, examples: Indices) -> list[NDArray[Any]]:
        """As FeatureSource.rows, in the cache's dtype; a view beyond those cached is an IndexError."""
        if view == VALIDATION:
            place = _places(self.recipe.validation, examples)
            return [array[0][place] for array in self.arrays.validation]
        place = _places(self.recipe.train, examples)
        return [array[view][place] for array in self.arrays.train]


class LiveSource:
    """Rows computed when asked for: decoded, augmented and run through the trunk each time."""

    def __init__(self, images: Images, trunk: Trunk) -> None:
        """`trunk` has exactly the cut of the stage."""
        (self._cut,) = trunk.cuts
        self._images = images
        self._trunk = trunk

    def rows(self, view: int, examples: Indices) -> list[NDArray[Any]]:
        """As FeatureSource.rows."""
        loaded = self._images.augmented(self._images.load(view, examples), view)
        (tensors,) = self._trunk(loaded.pixels)
        return [_stored(part, self._cut, loaded.corrupt) for part in tensors]


@dataclass(frozen=True)
class Caches:
    """What one pass has written, or an earlier generation's."""

    sources: list[MemmapSource]
    """In the order of the cuts asked for."""
    corrupt: list[CorruptImage]
    """This worker's images that do not decode: they get weight 0."""
    hit: bool
    """Whether nothing had to be computed."""
    bytes: int


def build_caches(
    recipe: Recipe,
    cuts: Sequence[FeatureCut],
    images: Images,
    folder: Path,
    backbone: FrozenBackbone,
    tick: Tick,
) -> Caches:
    """Find the caches of `cuts` in `folder`, or write those that are missing in one pass.

    Without cuts the images are only decoded, so that the corrupt ones are known. `tick(done, total)` counts
    views of images. Raises BadConfiguration when the disk is too small, and what reading an image raises.
    """
    wanted: dict[str, FeatureCut | None] = {recipe.key(cut.name, cut.dtype): cut for cut in cuts}
    wanted = wanted or {recipe.key("none", ""): None}
    missing = {key: cut for key, cut in wanted.items() if cache_files.find(folder, key) is None}
    if missing:
        trunk = Trunk(backbone, [cut for cut in missing.values() if cut is not None], images.options.size)
        _Pass(recipe, images, trunk, tick).write(folder, list(missing))
    found = {key: cache_files.find(folder, key) for key in wanted}
    arrays = {key: cache for key, cache in found.items() if cache is not None}
    corrupt = {image for cache in arrays.values() for image in cache.corrupt}
    return Caches(
        sources=[MemmapSource(recipe, arrays[recipe.key(cut.name, cut.dtype)]) for cut in cuts],
        corrupt=sorted(corrupt),
        hit=not missing,
        bytes=sum(cache.bytes for cache in arrays.values()),
    )


def refuse_corrupt(corrupt: Sequence[CorruptImage], num_images: int, limit: float) -> None:
    """Raise BadData when more than `limit` of all images, of every worker, do not decode."""
    if len(corrupt) <= limit * num_images:
        return
    names = "; ".join(f"{image.id} ({image.why})" for image in sorted(corrupt)[:NAMED])
    more = f" and {len(corrupt) - NAMED} more" if len(corrupt) > NAMED else ""
    raise BadData(
        "CorruptImages",
        f"{len(corrupt)} of {num_images} images do not decode: {names}{more}",
        f"at most {limit:.2%} (data.maxCorruptFraction)",
        "repair or remove these files, or raise data.maxCorruptFraction",
    )


@dataclass(frozen=True)
class _Pass:
    """One run over this worker's images."""

    recipe: Recipe
    images: Images
    trunk: Trunk
    tick: Tick

    def write(self, folder: Path, keys: Sequence[str]) -> None:
        """Write the caches `keys`, one for each of the trunk's cuts; without cuts, only what is corrupt."""
        specs = [
            [(shape, cut.stored(dtype)) for shape, dtype in parts]
            for cut, parts in zip(self.trunk.cuts, self.trunk.specs(), strict=True)
        ] or [[]]
        caches = [
            cache_files.create(folder, key, spec, self.recipe) for key, spec in zip(keys, specs, strict=True)
        ]
        self._run(caches)
        corrupt = self.images.corrupt
        for key, spec in zip(keys, specs, strict=True):
            cache_files.complete(folder, key, corrupt, len(spec))

    def _run(self, caches: Sequence[CacheArrays]) -> None:
        views = self.recipe.views if self.trunk.cuts else 1
        total = len(self.recipe.train) * views + len(self.recipe.validation)
        done = 0
        for loaded in self._views(views):
            for cut, cache, tensors in zip(self.trunk.cuts, caches, self.trunk(loaded.pixels), strict=False):
                _write(cut, cache, loaded, tensors, self.recipe)
            done += len(loaded.examples)
            self.tick(done, total)

    def _views(self, views: int) -> Iterator[Loaded]:
        """Every micro-batch of every view, prepared while the one before runs through the trunk."""
        with (
            ThreadPoolExecutor(2, thread_name_prefix="decode") as loading,
            ThreadPoolExecutor(1) as augmenting,
        ):
            loaded = ahead(lambda group: self.images.load(*group), _groups(self.recipe), loading)
            shown = (
                (batch, view)
                for batch in loaded
                for view in ([VALIDATION] if batch.view == VALIDATION else range(views))
            )
            yield from ahead(lambda pair: self.images.augmented(*pair), shown, augmenting)


def _groups(recipe: Recipe) -> Iterator[tuple[int, Indices]]:
    for view, own in ((0, recipe.train), (VALIDATION, recipe.validation)):
        for first in range(0, len(own), MICRO_BATCH):
            yield view, own[first : first + MICRO_BATCH]


def _write(
    cut: FeatureCut, cache: CacheArrays, loaded: Loaded, tensors: Sequence[NDArray[Any]], recipe: Recipe
) -> None:
    is_validation = loaded.view == VALIDATION
    view, own = (0, recipe.validation) if is_validation else (loaded.view, recipe.train)
    # A micro-batch is a run of own examples, so its places are too.
    first = int(np.searchsorted(own, loaded.examples[0]))
    for array, part in zip(cache.validation if is_validation else cache.train, tensors, strict=True):
        array[view, first : first + len(part)] = _stored(part, cut, loaded.corrupt)


def _stored(part: NDArray[Any], cut: FeatureCut, corrupt: Indices) -> NDArray[Any]:
    """A tensor as a cache keeps it: corrupt rows zero, float16 without infinities."""
    dtype = cut.stored(part.dtype)
    if dtype != part.dtype:
        largest = float(np.finfo(dtype).max)
        part = np.clip(part, -largest, largest).astype(dtype)
    if len(corrupt):
        part = part.copy()
        part[corrupt] = 0
    return part


def _places(own: Indices, examples: Indices) -> Indices:
    """Where `examples` are among this worker's own, which are ascending."""
    place = np.searchsorted(own, examples)
    if len(examples) and (not len(own) or (own[np.minimum(place, len(own) - 1)] != examples).any()):
        raise KeyError("an example of another worker's lanes")
    return place
