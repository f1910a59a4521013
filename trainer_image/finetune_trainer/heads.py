"""The classifier on top of the backbone: its layers, the names of its weights, and what it starts from."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from finetune_trainer import shims

KERNEL, BIAS = "head/kernel", "head/bias"
"""Of the output layer; the one layer of a linear head."""


def build(width: int, hidden: Sequence[int], num_classes: int, dropout: float) -> Any:
    """Keras model: features [rows, width] -> logits [rows, classes] in float32.

    ReLU layers of `hidden` units, then dropout, then the output layer.
    """
    inputs = keras.Input((width,))
    values = inputs
    for units, name in zip(hidden, _layers(hidden), strict=False):
        values = keras.layers.Dense(units, activation="relu", name=name)(values)
    values = shims.LaneDropout(dropout, name="head_dropout")(values)
    return keras.Model(inputs, keras.layers.Dense(num_classes, dtype="float32", name="head")(values))


def names(hidden: Sequence[int]) -> list[str]:
    """What the weights of `build`'s model are called in checkpoints, in its order."""
    return [f"{layer}/{part}" for layer in _layers(hidden) for part in ("kernel", "bias")]


def initial(width: int, hidden: Sequence[int], num_classes: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """The head that an unsolved first stage starts from: Glorot uniform by `seed`, the same on every worker."""
    draw = np.random.default_rng(seed)
    found = {}
    for layer, (rows, columns) in zip(_layers(hidden), pairwise([width, *hidden, num_classes]), strict=True):
        limit = float(np.sqrt(6.0 / (rows + columns)))
        found[f"{layer}/kernel"] = draw.uniform(-limit, limit, (rows, columns)).astype(np.float32)
        found[f"{layer}/bias"] = np.zeros(columns, np.float32)
    return found


def _layers(hidden: Sequence[int]) -> list[str]:
    return [*(f"head_hidden{place}" for place in range(1, len(hidden) + 1)), "head"]
