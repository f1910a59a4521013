"""A linear head on pooled features, solved to convergence instead of trained: L-BFGS along a regularisation path.

On small data plain Adam on the head loses several points to this (docs/adr). The objective is the mean
cross entropy plus strength/2 x |weights|^2 on standardised features; scipy's L-BFGS-B runs on every worker
alike, fed with the all-reduced loss and gradient in float64, so all workers take the same path.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.optimize import minimize

Float = NDArray[np.float64]
Reduce = Callable[[Float], Float]

STRONGEST, WEAKEST = 1.0, 1e-4
SMALLEST_SCALE = 0.1
"""Of a feature, in terms of the features' root mean square deviation."""
ROWS_PER_BLOCK = 8192
BYTES_HELD = 1 << 30
"""Standardised features up to this size are kept; larger ones are standardised again for each evaluation."""
MAX_ITERATIONS = 200
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Head:
    """Weights of the head on features as they are (standardisation folded in)."""

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]


@dataclass(frozen=True)
class Problem:
    """This worker's share of the data: features [n, width], labels [n], weights [n]; sums run over all workers."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    weights: NDArray[np.float32]
    num_classes: int
    label_smoothing: float
    reduce: Reduce
    tick: Callable[[], None]


def strengths(points: int) -> list[float]:
    """The regularisation path, strongest first so that each solution is a warm start for the next."""
    if points == 1:
        return [float(np.sqrt(STRONGEST * WEAKEST))]
    return [float(s) for s in np.geomspace(STRONGEST, WEAKEST, points)]


@dataclass
class Solver:
    """Walks the path; `start` is the standardised solution of the point before, for a resumed run."""

    problem: Problem
    start: Float | None = None

    def __post_init__(self) -> None:
        self.mean, self.scale, self.total = _standardisation(self.problem)
        self._objective = _objective(self.problem, self.mean, self.scale)
        width = self.problem.features.shape[1]
        if self.start is None:
            self.start = np.zeros((width + 1) * self.problem.num_classes)

    def solve(self, strength: float) -> tuple[Head, float]:
        """The head at one point of the path and its mean cross entropy on the training data."""
        width, classes = self.problem.features.shape[1], self.problem.num_classes

        def value_and_gradient(theta: Float) -> tuple[float, Float]:
            self.problem.tick()
            sums = self.problem.reduce(self._objective(theta)) / self.total
            kernel = theta[: width * classes]
            gradient = sums[1:].copy()
            gradient[: width * classes] += strength * kernel
            return float(sums[0] + 0.5 * strength * kernel @ kernel), gradient

        solution = minimize(
            value_and_gradient,
            self.start,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": MAX_ITERATIONS, "gtol": TOLERANCE, "ftol": 1e-12},
        )
        self.start = np.asarray(solution.x, np.float64)
        penalty = 0.5 * strength * float(np.sum(self.start[: width * classes] ** 2))
        return self._fold(self.start), float(solution.fun) - penalty

    def _fold(self, theta: Float) -> Head:
        width, classes = self.problem.features.shape[1], self.problem.num_classes
        kernel = theta[: width * classes].reshape(width, classes) / self.scale[:, None]
        bias = theta[width * classes :] - self.mean @ kernel
        return Head(kernel.astype(np.float32), bias.astype(np.float32))


def _blocks(problem: Problem) -> Iterator[slice]:
    for first in range(0, len(problem.labels), ROWS_PER_BLOCK):
        yield slice(first, first + ROWS_PER_BLOCK)


def _standardisation(problem: Problem) -> tuple[Float, Float, float]:
    """Mean and standard deviation of each feature, and the sum of weights, over all workers."""
    width = problem.features.shape[1]
    sums = np.zeros(2 * width + 1)
    for block in _blocks(problem):
        rows = problem.features[block].astype(np.float64)
        weights = problem.weights[block].astype(np.float64)
        sums[:width] += weights @ rows
        sums[width:-1] += weights @ rows**2
        sums[-1] += weights.sum()
    sums = problem.reduce(sums)
    mean = sums[:width] / sums[-1]
    variance = np.maximum(sums[width:-1] / sums[-1] - mean**2, 0.0)
    # A feature that hardly varies says hardly anything here, and may vary on an image to come: scaled up to the others
    # it gets a weight of thousands.
    least = SMALLEST_SCALE * np.sqrt(variance.mean())
    return mean, np.maximum(np.sqrt(variance), least if least > 0 else 1.0), float(sums[-1])


def _objective(problem: Problem, mean: Float, scale: Float) -> Callable[[Float], Float]:
    """This worker's [sum of losses, gradient...] at standardised parameters [(width + 1) * classes]."""
    width, classes, smoothing = problem.features.shape[1], problem.num_classes, problem.label_smoothing
    mean_tensor, scale_tensor = tf.constant(mean), tf.constant(scale)

    def standardised(rows: tf.Tensor) -> tf.Tensor:
        return (tf.cast(rows, tf.float64) - mean_tensor) / scale_tensor

    def block_sums(rows: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, theta: tf.Tensor) -> tf.Tensor:
        if rows.dtype != tf.float64:
            rows = standardised(rows)
        weights = tf.cast(weights, tf.float64)
        kernel = tf.reshape(theta[: width * classes], (width, classes))
        logits = rows @ kernel + theta[width * classes :]
        targets = tf.one_hot(labels, classes, dtype=tf.float64) * (1.0 - smoothing) + smoothing / classes
        losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
        error = (tf.nn.softmax(logits) - targets) * weights[:, None]
        gradient = tf.reshape(tf.matmul(rows, error, transpose_a=True), [-1])
        return tf.concat(
            [tf.reduce_sum(losses * weights)[None], gradient, tf.reduce_sum(error, axis=0)], axis=0
        )

    traced = tf.function(block_sums, reduce_retracing=True, autograph=False)
    held = problem.features.size * 8 <= BYTES_HELD
    tensors = [
        (
            standardised(problem.features[block]) if held else tf.constant(problem.features[block]),
            tf.constant(problem.labels[block]),
            tf.constant(problem.weights[block]),
        )
        for block in _blocks(problem)
    ]

    def sums(theta: Float) -> Float:
        at = tf.constant(theta)
        total = np.zeros(1 + len(theta))
        for rows, labels, weights in tensors:
            total += traced(rows, labels, weights, at).numpy()
        return total

    return sums
