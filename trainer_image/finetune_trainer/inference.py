"""A frozen backbone made fast: BatchNormalization folded into the convolution before it, fused elsewhere.

With fixed statistics, normalising is scaling and shifting each channel, which a convolution can do by itself.
Measured on one core (batch 32 of 96 pixels): MobileNetV2 93 ms as Keras runs it, 79 ms fused, 67 ms folded.
"""

from collections import Counter
from typing import Any

import keras
import numpy as np

from finetune_trainer import shims

_FOLDABLE = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D")


class _PassThrough(keras.layers.Layer):  # type: ignore[misc]
    """Stands where a BatchNormalization was folded away."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        del training, mask
        return inputs


def for_inference(model: Any) -> Any:
    """The same function as `model` run with training=False, up to rounding, for weights that stay as they are.

    Layers that need no change are shared with `model`.
    """
    folded = _folds(model)
    norms = {norm.name for norm in folded.values()}

    def replaced(layer: Any) -> Any:
        if layer.name in folded:
            return layer.__class__.from_config(layer.get_config() | {"use_bias": True})
        if layer.name in norms:
            return _PassThrough(name=layer.name)
        return shims.clone_layer(layer) if isinstance(layer, keras.layers.BatchNormalization) else layer

    fast = keras.models.clone_model(model, clone_function=replaced)
    for layer, original in zip(fast.layers, model.layers, strict=True):
        if original.name in folded:
            layer.set_weights(_folded_weights(original, folded[original.name]))
        elif layer is not original:
            layer.set_weights([] if original.name in norms else original.get_weights())
    return fast


def _folds(model: Any) -> dict[str, Any]:
    """By name of a convolution, the BatchNormalization that alone reads it."""
    read = Counter(id(tensor) for operation in model.operations for tensor in _inputs(operation))
    read.update(id(tensor) for tensor in model.outputs)
    found = {}
    for operation in model.operations:
        if not isinstance(operation, keras.layers.BatchNormalization):
            continue
        (tensor,) = _inputs(operation)
        source = tensor._keras_history.operation
        if type(source).__name__ in _FOLDABLE and read[id(tensor)] == 1 and _is_linear(source):
            found[source.name] = operation
    return found


def _inputs(operation: Any) -> list[Any]:
    """The tensors that an operation reads in the model it was first built for."""
    return list(operation._inbound_nodes[0].arguments.keras_tensors)


def _is_linear(convolution: Any) -> bool:
    return convolution.activation is keras.activations.linear and convolution.data_format == "channels_last"


def _folded_weights(convolution: Any, norm: Any) -> list[Any]:
    """Kernels and bias of the convolution that computes both, in double precision until the end."""
    *kernels, bias = convolution.get_weights() + ([] if convolution.use_bias else [np.zeros(1)])
    channels = norm.moving_mean.shape[0]
    gamma = _values(norm.gamma) if norm.scale else np.ones(channels)
    beta = _values(norm.beta) if norm.center else np.zeros(channels)
    scale = gamma / np.sqrt(_values(norm.moving_variance) + norm.epsilon)
    shift = beta + (bias - _values(norm.moving_mean)) * scale
    # A depthwise kernel ends in [channels in, multiplier], any other in [channels in, channels out].
    ends = kernels[-1].shape[-2:] if type(convolution).__name__ == "DepthwiseConv2D" else (1, channels)
    kernels[-1] = kernels[-1] * scale.reshape(ends)
    return [weights.astype(np.float32) for weights in (*kernels, shift)]


def _values(variable: Any) -> Any:
    return variable.value.numpy().astype(np.float64)
