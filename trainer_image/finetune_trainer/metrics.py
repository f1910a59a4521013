"""Metrics as pure functions of two arrays: what the evaluation gathered, and the labels."""

import numpy as np
from numpy.typing import NDArray

SMALLEST_PROBABILITY = 1e-7
"""Keeps the cross entropy of a confident mistake finite, as Keras does."""


def accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Share of rows [n, classes] whose largest probability is the label's [n]."""
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def cross_entropy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Mean of -log p(label) over rows [n, classes], in nats."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(np.mean(-np.log(np.clip(chosen, SMALLEST_PROBABILITY, 1.0))))


def evaluation(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """Everything a row of metrics.csv says of the validation split."""
    return {
        "val_loss": cross_entropy(probabilities, labels),
        "val_accuracy": accuracy(probabilities, labels),
    }
