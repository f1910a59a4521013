"""Backbones that show mistakes: random weights, but activations of the size that trained ones have."""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from finetune_trainer import backbone


def images(size: int, count: int = 2, seed: int = 0) -> NDArray[np.float32]:
    """Random pixels, [count,size,size,3] of 0..255."""
    return np.random.default_rng(seed).uniform(0, 255, (count, size, size, 3)).astype(np.float32)


def lively(name: str, size: int, seed: int = 0) -> Any:
    """A backbone with random weights, enlivened."""
    model = backbone.build(name, size, seed=seed)
    enliven(model, backbone.preprocess(name)(images(size, count=8, seed=1)))
    return model


def enliven(model: Any, inputs: Any) -> None:
    """Fit the BatchNormalization statistics to what flows through the network when it sees `inputs`.

    With fresh statistics the output of a random network fades to nothing, and any two of them look equal.
    """
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(inputs, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
