"""Real networks, small, with statistics that make their features worth comparing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import odd_images
from finetune_trainer import backbone

NAME, SIZE, ALPHA = "MobileNetV2", 64, 0.35


def photographs(count: int, size: int = SIZE, first: int = 0) -> NDArray[np.uint8]:
    """[count, size, size, 3], all different."""
    return np.stack([np.asarray(odd_images.picture(first + i, size, size)) for i in range(count)])


def calibrated_backbone(name: str = NAME, alpha: float = ALPHA) -> Any:
    """Random weights with moving statistics that fit them: without, every feature would be nearly zero."""
    model = backbone.build(name, SIZE, alpha, seed=3)
    norms = [layer for layer in model.layers if hasattr(layer, "moving_mean")]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(backbone.preprocess(name)(photographs(32, first=500).astype(np.float32)), training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    return model
