"""Before a model is published: loaded in a fresh process, it must answer what the evaluation answered."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from finetune_api.errors import GaveUp

BATCH = 32
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Expected:
    """What the trainer's own evaluation says about some encoded images, in their order."""

    classes: Sequence[str]
    probabilities: NDArray[np.float32]
    """[n, classes]"""
    labels: NDArray[np.int64]
    """[n], the true ones."""


@dataclass(frozen=True)
class Verified:
    """How an exported model did."""

    images: int
    largest_difference: float
    """Of a probability, against the evaluation's."""
    accuracy: float | None
    """Of the exported model; None without images."""


def verify(
    folder: Path, files: Iterable[tuple[str, bytes]], expected: Expected, tolerance: float = TOLERANCE
) -> Verified:
    """Load the SavedModel in `folder` and compare its probabilities for `files` (id, bytes) with `expected`.

    Raises GaveUp (reason ExportMismatch) when one differs by more than `tolerance`, or the class names do.
    """
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    done, largest, right = 0, 0.0, 0
    for batch in _batches(files):
        served = serve(image_bytes=tf.constant([contents for _, contents in batch]))
        rows = slice(done, done + len(batch))
        served_probabilities = served["probabilities"].numpy()
        _compare_classes(served["labels"].numpy()[0], expected.classes)
        differences = np.abs(served_probabilities - expected.probabilities[rows]).max(axis=1)
        _refuse(batch, differences, tolerance)
        largest = max(largest, float(differences.max()))
        right += int((served_probabilities.argmax(axis=1) == expected.labels[rows]).sum())
        done += len(batch)
    return Verified(done, largest, right / done if done else None)


def _batches(files: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    remaining = iter(files)
    while batch := list(islice(remaining, BATCH)):
        yield batch


def _compare_classes(served: NDArray[Any], classes: Sequence[str]) -> None:
    names = [name.decode() for name in served]
    if names != list(classes):
        raise _mismatch(f"its classes are {names[:10]}, not {list(classes)[:10]}")


def _refuse(batch: Sequence[tuple[str, bytes]], differences: NDArray[np.float32], tolerance: float) -> None:
    # Written so that a NaN is refused too.
    wrong = [
        name for (name, _), difference in zip(batch, differences, strict=True) if not difference <= tolerance
    ]
    if wrong:
        worst = float(np.max(differences))
        raise _mismatch(f"its probabilities for {', '.join(wrong[:10])} differ by up to {worst:.3g}")


def _mismatch(how: str) -> GaveUp:
    return GaveUp(
        "ExportMismatch",
        f"The exported model does not answer what the trained one did: {how}",
        "the evaluation's own answers to the same encoded images",
        "nothing was published; please report this with the job and the versions of TensorFlow and Keras",
    )
