"""Exact evaluation: every validation example once, whatever the number of workers.

Each worker predicts its own examples; (position, probabilities) rows are gathered, padding is dropped by
position, and every metric is a pure function of the whole arrays.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.distribution import Gang

EVALUATION_BATCH = 64

Predict = Callable[[list[NDArray[Any]]], NDArray[np.float32]]
Rows = Callable[[NDArray[np.int64]], list[NDArray[Any]]]


def own_positions(count: int, owned: slice, num_lanes: int) -> NDArray[np.int64]:
    """Positions among `count` examples that a worker with the lanes `owned` predicts."""
    positions: NDArray[np.int64] = np.arange(count)
    lanes = positions % num_lanes
    own: NDArray[np.int64] = positions[(lanes >= owned.start) & (lanes < owned.stop)]
    return own


@dataclass(frozen=True)
class Split:
    """The validation examples as this worker sees them."""

    count: int
    """Of the whole split."""
    own: NDArray[np.int64]
    """Positions that this worker predicts."""
    most: int
    """The largest number of positions that any worker predicts."""
    rows: Rows
    """Features at the stage's cut of the examples at some positions."""


def probabilities(gang: Gang, predict: Predict, split: Split, num_classes: int) -> NDArray[np.float32]:
    """Probabilities [count, classes] in the order of the examples, equal on every worker."""
    own, count = split.own, split.count
    mine = _predict_in_batches(predict, split.rows, own, num_classes)
    padded = np.full((split.most, num_classes + 1), -1.0, np.float32)
    padded[: len(own), 0] = own
    padded[: len(own), 1:] = mine
    gathered = gang.all_gather(padded)
    real = gathered[gathered[:, 0] >= 0]
    result = np.empty((count, num_classes), np.float32)
    result[real[:, 0].astype(np.int64)] = real[:, 1:]
    return result


def _predict_in_batches(
    predict: Predict, rows: Rows, own: NDArray[np.int64], num_classes: int
) -> NDArray[np.float32]:
    parts = [np.empty((0, num_classes), np.float32)]
    for first in range(0, len(own), EVALUATION_BATCH):
        batch = own[first : first + EVALUATION_BATCH]
        # The last batch repeats its first row, so that one shape is traced.
        filled = np.concatenate([batch, np.repeat(batch[:1], EVALUATION_BATCH - len(batch))])
        parts.append(predict(rows(filled))[: len(batch)])
    return np.concatenate(parts)
