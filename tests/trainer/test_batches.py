"""Batches prepared ahead: in order, of every size, and an error where one is."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from finetune_trainer import batches

STEPS, LANES, WIDTH = 5, 4, 3


def epoch() -> batches.EpochOrder:
    examples = np.arange(STEPS * LANES).reshape(STEPS, LANES)
    return batches.EpochOrder(examples, np.ones_like(examples, np.float32), examples.astype(np.int32))


def rows(examples: NDArray[np.int64]) -> list[NDArray[Any]]:
    return [np.repeat(examples[:, np.newaxis], WIDTH, axis=1)]


STEP_BYTES = LANES * WIDTH * np.dtype(np.int64).itemsize


@pytest.mark.parametrize(
    "bytes_ahead",
    [
        pytest.param(STEP_BYTES * 100, id="small steps, far ahead"),
        pytest.param(STEP_BYTES * 3, id="one more than the least"),
        pytest.param(STEP_BYTES * 2, id="just as many as are begun with"),
        pytest.param(1, id="a step larger than the bound"),
    ],
)
def test_steps_of_any_size_come_in_order(monkeypatch: pytest.MonkeyPatch, bytes_ahead: int) -> None:
    monkeypatch.setattr(batches, "BYTES_AHEAD", bytes_ahead)
    feed = batches.Batches(rows, epoch(), slice(0, LANES), 0)
    taken = [feed.take(count) for count in (1, 2, 2)]
    feed.close()
    found = np.concatenate([part.features[0][..., 0] for part in taken])
    np.testing.assert_array_equal(found, epoch().examples)


def test_an_error_of_the_source_reaches_the_training_thread() -> None:
    def broken(_: NDArray[np.int64]) -> list[NDArray[Any]]:
        raise OSError("gone")

    feed = batches.Batches(broken, epoch(), slice(0, LANES), 0)
    with pytest.raises(OSError, match="gone"):
        feed.take(1)
