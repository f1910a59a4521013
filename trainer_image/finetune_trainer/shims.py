"""What Keras 3 gets wrong, or does too slowly, under a strategy; one class or function for each, with its reason.

Every shim has a canary test in tests/trainer/test_shims.py that fails when it is no longer needed.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf


@dataclass(eq=False)
class StepContext:
    """What a layer needs to draw this step's random numbers, the same for any number of workers."""

    seed: int
    step: tf.Tensor
    """Global step, int64 scalar."""
    first_lane: tf.Tensor
    """First row of the global batch on this replica, int32 scalar."""
    num_lanes: int
    """Rows of the global batch."""
    learning_rate: tf.Tensor


_current = threading.local()
"""Replicas of one process are traced in threads of their own."""

_entered: list[StepContext] = []
"""Of all threads: what replicas do together, as Keras' weight decay, is traced in a thread without a context."""


@contextmanager
def step_context(context: StepContext) -> Iterator[None]:
    """Make `context` the current one while a step is traced."""
    _current.value = context
    _entered.append(context)
    try:
        yield
    finally:
        _current.value = None
        _entered.remove(context)


def current_learning_rate() -> Any:
    """The learning rate of the step being traced; optimizers take it as their callable.

    It is the same for all replicas, so in a thread that is none of theirs any replica's will do.
    """
    context: StepContext | None = getattr(_current, "value", None)
    if context is None and _entered:
        context = _entered[-1]
    return 0.0 if context is None else context.learning_rate


class LaneDropout(keras.layers.Layer):  # type: ignore[misc]
    """Dropout and stochastic depth whose mask is a function of (seed, step, layer, row of the global batch).

    Keras draws from a per-process generator: two workers would drop other units than one worker does, and a
    resumed run others than the uninterrupted one. `noise_shape` as in keras.layers.Dropout.
    """

    def __init__(self, rate: float, noise_shape: tuple[int | None, ...] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate
        self.noise_shape = noise_shape
        digest = hashlib.sha256(self.name.encode()).digest()
        self.salt = int.from_bytes(digest[:4], "big") & 0x7FFFFFFF

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Inputs [rows, ...] unchanged outside training; else kept with probability 1 - rate and scaled."""
        context: StepContext | None = getattr(_current, "value", None)
        if not training or self.rate == 0 or context is None:
            return inputs
        rows = tf.shape(inputs)[0]
        rest = self.noise_shape[1:] if self.noise_shape else inputs.shape[1:]
        shape = [context.num_lanes] + [
            int(given if given is not None else size)
            for given, size in zip(rest, inputs.shape[1:], strict=True)
        ]
        seed = tf.stack([tf.constant(context.seed ^ self.salt, tf.int64), context.step])
        uniform = tf.random.stateless_uniform(shape, seed)[context.first_lane : context.first_lane + rows]
        keep = tf.cast(uniform >= self.rate, inputs.dtype) / (1.0 - self.rate)
        return inputs * keep


class BatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Keras' layer, computed by TensorFlow's fused operation, and with statistics that are right under a strategy.

    Keras 3 computes mean, variance and normalisation as separate operations (measured: 234-261 ms against
    170-179 ms a step of MobileNetV2) and lets each replica keep its own moving statistics (keras #20568).
    `mode`: Frozen (inference statistics, nothing learns), Sync (statistics of the global batch, mean and square
    in one all-reduce), Local (this replica's batch; moving statistics are averaged before each save).
    """

    mode = "Frozen"

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        """Inputs [rows, height, width, channels] or [rows, channels], normalised."""
        learn = bool(training) and bool(self.trainable) and self.mode != "Frozen"
        if len(inputs.shape) != 4:
            return super().call(inputs, training=learn, mask=mask)
        if not learn:
            return self._fused(inputs, self.moving_mean, self.moving_variance)
        if self.mode == "Local":
            return self._local(inputs)
        return self._synchronised(inputs)

    def _scale_and_offset(self) -> tuple[tf.Tensor, tf.Tensor]:
        width = self.moving_mean.shape
        gamma = tf.convert_to_tensor(self.gamma) if self.scale else tf.ones(width)
        beta = tf.convert_to_tensor(self.beta) if self.center else tf.zeros(width)
        return gamma, beta

    def _fused(self, inputs: tf.Tensor, mean: Any, variance: Any) -> tf.Tensor:
        gamma, beta = self._scale_and_offset()
        outputs, _, _ = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            gamma,
            beta,
            mean=tf.convert_to_tensor(mean),
            variance=tf.convert_to_tensor(variance),
            epsilon=self.epsilon,
            is_training=False,
        )
        return outputs

    def _local(self, inputs: tf.Tensor) -> tf.Tensor:
        gamma, beta = self._scale_and_offset()
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, gamma, beta, epsilon=self.epsilon, is_training=True
        )
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
        # The operation returns the unbiased variance; Keras' moving variance is the biased one.
        self._move(mean, variance * (count - 1.0) / count)
        return outputs

    def _synchronised(self, inputs: tf.Tensor) -> tf.Tensor:
        local = tf.concat(
            [tf.reduce_mean(inputs, [0, 1, 2]), tf.reduce_mean(tf.square(inputs), [0, 1, 2])], axis=0
        )
        context = tf.distribute.get_replica_context()
        mean, square = tf.split(context.all_reduce(tf.distribute.ReduceOp.MEAN, local), 2)
        variance = tf.nn.relu(square - tf.square(mean))
        self._move(tf.stop_gradient(mean), tf.stop_gradient(variance))
        gamma, beta = self._scale_and_offset()
        return tf.nn.batch_normalization(inputs, mean, variance, beta, gamma, self.epsilon)

    def _move(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        keep = self.momentum
        self.moving_mean.assign(self.moving_mean * keep + mean * (1.0 - keep))
        self.moving_variance.assign(self.moving_variance * keep + variance * (1.0 - keep))


def clone_layer(layer: Any) -> Any:
    """A fresh layer of the same configuration; dropout and BatchNormalization are replaced by ours."""
    config = layer.get_config()
    kind = type(layer).__name__
    if kind == "Dropout":
        return LaneDropout(layer.rate, noise_shape=layer.noise_shape, name=layer.name)
    if kind == "StochasticDepth":
        return LaneDropout(layer.drop_path_rate, noise_shape=_per_row(layer), name=layer.name)
    if isinstance(layer, keras.layers.BatchNormalization):
        return BatchNormalization.from_config(config)
    return layer.__class__.from_config(config)


def without_own_reduction(optimizer: Any) -> Any:
    """Make the optimizer's all-reduce of gradients the identity.

    Ours are reduced once, explicitly, before the finite check and clipping; Keras would clip each worker's own
    gradients and then sum (wrong for more than one worker), or sum ours a second time.
    """
    optimizer._all_reduce_sum_gradients = list
    return optimizer


def _per_row(layer: Any) -> tuple[int | None, ...]:
    rank = len(layer.input.shape)
    return (None,) + (1,) * (rank - 1)
