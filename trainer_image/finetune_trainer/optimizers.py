"""Optimizers and learning rates of a stage."""

import math
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from finetune_api.plan import ResolvedStage
from finetune_trainer import shims


def create(stage: ResolvedStage, variables: list[Any]) -> Any:
    """The stage's Keras optimizer, built on `variables`; its learning rate is read from the step's context.

    Clipping is not among its arguments: it happens on the reduced gradients, before the update.
    """
    rate = shims.current_learning_rate
    decay = stage.weight_decay or None
    optimizer = {
        "SGD": lambda: keras.optimizers.SGD(rate, momentum=stage.momentum, weight_decay=decay),
        "Adam": lambda: keras.optimizers.Adam(rate, weight_decay=decay),
        "AdamW": lambda: keras.optimizers.AdamW(rate, weight_decay=decay or 0.0),
    }[stage.optimizer]()
    if decay:
        # Decaying biases and normalisation only hurts (He et al. 2019, arXiv 1812.01187, section 3.1).
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    optimizer.build(variables)
    return shims.without_own_reduction(optimizer)


def learning_rates(
    stage: ResolvedStage, steps_per_epoch: int, first_step: int, steps: int
) -> NDArray[np.float32]:
    """Learning rate of each of `steps` steps from `first_step` on, counted from the start of the stage."""
    total = stage.epochs * steps_per_epoch
    warmup = min(stage.warmup_epochs, stage.epochs) * steps_per_epoch
    rates = [
        stage.learning_rate * _factor(stage.lr_schedule, step, int(warmup), total)
        for step in range(first_step, first_step + steps)
    ]
    return np.asarray(rates, np.float32)


def _factor(kind: str, step: int, warmup: int, total: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    if kind == "Constant":
        return 1.0
    done = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
