"""Several optimiser steps in one call: the only place where variables change.

One chunk is one call of one traced function; its length is a tensor, so nothing is traced twice. Gradients,
loss and counts travel in one all-reduce per step; everything after it is local on equal values.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from finetune_trainer import shims
from finetune_trainer.distribution import Gang
from finetune_trainer.losses import Loss
from finetune_trainer.stage_model import StageModel


@dataclass(frozen=True)
class Chunk:
    """The work of `n` steps on this worker: everything has n in front."""

    features: list[NDArray[Any]]
    """[n, rows of this worker, ...] for each tensor of the cut."""
    labels: NDArray[np.int32]
    """[n, rows]."""
    weights: NDArray[np.float32]
    """[n, rows]; 0 marks an empty place."""
    batch_weights: NDArray[np.float32]
    """[n]; the sum of weights over the global batch."""
    rates: NDArray[np.float32]
    """[n]; learning rates."""
    first_step: int
    """Global step of the first of them."""


@dataclass(frozen=True)
class ChunkResult:
    """Equal on every worker."""

    losses: NDArray[np.float32]
    """[n]; weighted mean loss of each global batch."""
    loss_sum: float
    correct: float
    weight: float
    finite: bool
    control: NDArray[np.float64]
    """The all-reduced control vector."""


class Steps:
    """The traced functions of one stage."""

    def __init__(
        self, gang: Gang, model: StageModel, optimizer: Any, loss: Loss, clip_norm: float | None, seed: int
    ) -> None:
        self._gang = gang
        self._model = model
        self._optimizer = optimizer
        self._loss = loss
        self._clip_norm = clip_norm
        self._seed = seed
        self._run: Any = None
        self._predict = tf.function(self._probabilities, reduce_retracing=True, autograph=False)

    def run(self, chunk: Chunk, control: NDArray[np.float64]) -> ChunkResult:
        """Train on `chunk`. Every worker must call this with the same number of steps."""
        if self._run is None:
            self._run = tf.function(
                self._chunk, input_signature=_signature(chunk, len(control)), autograph=False
            )
        with self._gang.peer_errors():
            losses, sums, reduced = self._run(
                [tf.constant(part) for part in chunk.features],
                (tf.constant(chunk.labels), tf.constant(chunk.weights)),
                tf.constant(chunk.batch_weights),
                tf.constant(chunk.rates),
                tf.constant(chunk.first_step, tf.int64),
                tf.constant(control, tf.float32),
            )
            loss_sum, correct, weight, bad = (float(value) for value in sums.numpy())
        return ChunkResult(
            losses.numpy(), loss_sum, correct, weight, bad == 0, np.asarray(reduced, np.float64)
        )

    def predict(self, features: list[NDArray[Any]]) -> NDArray[np.float32]:
        """Probabilities [rows, classes] of this worker's rows; no collective, so workers may call it unequally."""
        return np.asarray(self._predict([tf.constant(part) for part in features]))

    def _probabilities(self, features: list[tf.Tensor]) -> tf.Tensor:
        return tf.nn.softmax(self._model.logits(features, training=False))

    def _chunk(
        self,
        features: list[tf.Tensor],
        labels_and_weights: tuple[tf.Tensor, tf.Tensor],
        batch_weights: tf.Tensor,
        rates: tf.Tensor,
        first_step: tf.Tensor,
        control: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        labels, weights = labels_and_weights
        strategy = self._gang.strategy
        steps = tf.shape(labels)[0]

        def one(
            i: tf.Tensor, losses: tf.TensorArray, sums: tf.Tensor
        ) -> tuple[tf.Tensor, tf.TensorArray, tf.Tensor]:
            batch = ([part[i] for part in features], labels[i], weights[i])
            step = first_step + tf.cast(i, tf.int64)
            result = strategy.run(self._step, args=(batch, batch_weights[i], rates[i], step))
            row = strategy.experimental_local_results(result)[0]
            return i + 1, losses.write(i, row[0] / row[2]), sums + row

        start = (tf.constant(0), tf.TensorArray(tf.float32, size=steps), tf.zeros(4))
        _, losses, sums = tf.while_loop(lambda i, *_: i < steps, one, start, parallel_iterations=1)
        reduced = strategy.experimental_local_results(strategy.run(self._reduce_control, args=(control,)))[0]
        return losses.stack(), sums, reduced

    def _reduce_control(self, control: tf.Tensor) -> tf.Tensor:
        context = tf.distribute.get_replica_context()
        # The identity gives the value a device; the function's argument has none to reduce to.
        return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(control))

    def _step(
        self,
        batch: tuple[list[tf.Tensor], tf.Tensor, tf.Tensor],
        batch_weight: tf.Tensor,
        rate: tf.Tensor,
        step: tf.Tensor,
    ) -> tf.Tensor:
        """One step of one replica; returns [loss sum, correct, weight, non-finite] of the global batch."""
        context = tf.distribute.get_replica_context()
        first_row, rows, first_lane, num_lanes = self._place(context, batch[1])
        if rows < batch[1].shape[0]:
            batch = tf.nest.map_structure(lambda part: part[first_row : first_row + rows], batch)
        features, labels, weights = batch
        with shims.step_context(shims.StepContext(self._seed, step, first_lane, num_lanes, rate)):
            with tf.GradientTape() as tape:
                logits = self._model.logits(features, training=True)
                loss_sum = tf.reduce_sum(self._loss(labels, logits) * weights)
                loss = loss_sum / batch_weight
            variables = [variable.value for variable in self._model.trainable]
            gradients = tape.gradient(loss, variables)
            hits = tf.cast(tf.equal(tf.argmax(logits, -1, tf.int32), labels), tf.float32)
            counts = tf.stack([loss_sum, tf.reduce_sum(hits * weights), tf.reduce_sum(weights)])
            gradients, counts = _reduce_once(context, gradients, counts)
            norm = tf.linalg.global_norm(gradients)
            if self._clip_norm is not None:
                gradients, _ = tf.clip_by_global_norm(gradients, self._clip_norm, use_norm=norm)
            self._optimizer.apply(gradients, self._model.trainable)
        finite = tf.math.is_finite(norm) & tf.math.is_finite(counts[0])
        return tf.concat([counts, tf.cast(~finite, tf.float32)[None]], axis=0)

    def _place(self, context: Any, labels: tf.Tensor) -> tuple[tf.Tensor, int, tf.Tensor, int]:
        """The replica's first row among this worker's, how many it has, its first lane, the number of lanes."""
        local_replicas = self._gang.num_replicas // self._gang.num_workers
        rows = int(labels.shape[0]) // local_replicas
        replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
        num_lanes = int(labels.shape[0]) * self._gang.num_workers
        return (replica % local_replicas) * rows, rows, replica * rows, num_lanes


def _signature(chunk: Chunk, control: int) -> list[Any]:
    """The traced function's arguments; only the number of steps varies, so it is traced once."""
    return [
        [tf.TensorSpec([None, *part.shape[1:]], part.dtype) for part in chunk.features],
        (
            tf.TensorSpec([None, chunk.labels.shape[1]], tf.int32),
            tf.TensorSpec([None, chunk.weights.shape[1]], tf.float32),
        ),
        tf.TensorSpec([None], tf.float32),
        tf.TensorSpec([None], tf.float32),
        tf.TensorSpec([], tf.int64),
        tf.TensorSpec([control], tf.float32),
    ]


def _reduce_once(
    context: Any, gradients: list[tf.Tensor], counts: tf.Tensor
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Sum gradients and counts over replicas in a single collective."""
    shapes = [gradient.shape for gradient in gradients]
    flat = tf.concat([tf.reshape(part, [-1]) for part in [*gradients, counts]], axis=0)
    flat = context.all_reduce(tf.distribute.ReduceOp.SUM, flat)
    *parts, counts = tf.split(flat, [shape.num_elements() for shape in shapes] + [counts.shape[0]])
    return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)], counts
