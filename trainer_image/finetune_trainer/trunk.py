"""The frozen part of a backbone, run once: pixels in, the tensors at the cuts of all cached stages out.

It lives outside any strategy and runs with training=False and no tape, always on the same number of rows (the
last ones padded), so that a row's values do not depend on how many are asked for or who asks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from finetune_trainer.graph import Cut
from finetune_trainer.inference import for_inference
from finetune_trainer.stage_model import pool

MICRO_BATCH = 32

RowSpec = tuple[tuple[int, ...], np.dtype[Any]]


@dataclass(frozen=True)
class FeatureCut:
    """What one stage reads instead of images."""

    cut: Cut
    pooling: str | None = None
    """Average | Max for a stage that trains the head alone: its features are pooled, [width]."""
    dtype: str = "native"
    """native | float16; pixels are always uint8."""

    @property
    def name(self) -> str:
        """The same for the same tensors of the same backbone."""
        if self.cut.at_pixels:
            return "pixels"
        return "+".join([*self.cut.names, *([self.pooling] if self.pooling else [])])

    def stored(self, native: np.dtype[Any]) -> np.dtype[Any]:
        """The dtype on disk of a tensor that the trunk gives as `native`."""
        return np.dtype(np.float16) if self.dtype == "float16" and native.kind == "f" else native


@dataclass(frozen=True)
class FrozenBackbone:
    """How to get the backbone whose lower part is the trunk."""

    build: Callable[[], Any]
    """Gives the whole keras model with its weights, built outside any strategy; not needed at the pixels."""
    preprocess: Callable[[Any], Any]
    """float32 RGB 0..255 -> what the model takes."""


class Trunk:
    """Runs images to one or several cuts, each a prefix of the next, in one pass."""

    def __init__(self, backbone: FrozenBackbone, cuts: Sequence[FeatureCut], image_size: int) -> None:
        self.cuts = list(cuts)
        self._size = image_size
        above_pixels = any(not cut.cut.at_pixels for cut in cuts)
        self._run: Any = _compiled(backbone, cuts, image_size) if above_pixels else None

    def specs(self) -> list[list[RowSpec]]:
        """For each cut, shape of a row and native dtype of each of its tensors."""
        pixels: list[RowSpec] = [((self._size, self._size, 3), np.dtype(np.uint8))]
        given = iter(self._run.structured_outputs if self._run is not None else [])
        return [
            pixels
            if cut.cut.at_pixels
            else [(tuple(part.shape[1:]), np.dtype(part.dtype.as_numpy_dtype)) for part in next(given)]
            for cut in self.cuts
        ]

    def __call__(self, images: NDArray[np.uint8]) -> list[list[NDArray[Any]]]:
        """Images [n, size, size, 3] -> for each cut its tensors, [n, ...] each, in their native dtype."""
        computed = iter(self._in_micro_batches(images) if self._run is not None else [])
        return [[images] if cut.cut.at_pixels else next(computed) for cut in self.cuts]

    def _in_micro_batches(self, images: NDArray[np.uint8]) -> list[list[NDArray[Any]]]:
        parts = []
        for first in range(0, len(images), MICRO_BATCH):
            rows = images[first : first + MICRO_BATCH]
            missing = MICRO_BATCH - len(rows)
            padded = np.pad(rows, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else rows
            outputs = self._run(tf.constant(padded))
            parts.append([[part.numpy()[: len(rows)] for part in tensors] for tensors in outputs])
        if len(parts) == 1:
            return parts[0]
        return [
            [np.concatenate(part) for part in zip(*same, strict=True)] for same in zip(*parts, strict=True)
        ]


def _compiled(backbone: FrozenBackbone, cuts: Sequence[FeatureCut], image_size: int) -> Any:
    """uint8 [MICRO_BATCH, size, size, 3] -> the tensors of each cut above the pixels, as one graph."""
    model = backbone.build()
    above = [cut for cut in cuts if not cut.cut.at_pixels]
    crossing = [model.operations[place].output for cut in above for place in cut.cut.positions]
    prefix = for_inference(keras.Model(model.inputs, crossing))

    def run(images: tf.Tensor) -> list[list[tf.Tensor]]:
        prepared = backbone.preprocess(tf.cast(images, tf.float32))
        flat = iter(tf.nest.flatten(prefix(prepared, training=False)))
        return [[_shown(next(flat), cut.pooling) for _ in cut.cut.positions] for cut in above]

    shape = [MICRO_BATCH, image_size, image_size, 3]
    traced = tf.function(run, autograph=False, input_signature=[tf.TensorSpec(shape, tf.uint8)])
    return traced.get_concrete_function()


def _shown(features: tf.Tensor, pooling: str | None) -> tf.Tensor:
    return features if pooling is None else pool(features, pooling)
