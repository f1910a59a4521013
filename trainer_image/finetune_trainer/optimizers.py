"""Optimizers and learning rates of a stage."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from finetune_api.plan import ResolvedStage
from finetune_trainer import shims, stopping
from finetune_trainer.state import Arrays


def create(stage: ResolvedStage, variables: list[Any]) -> Any:
    """The stage's Keras optimizer, built on `variables`; its learning rate is read from the step's context.

    Clipping is not among its arguments: it happens on the reduced gradients, before the update.
    """
    rate = shims.current_learning_rate
    decay = stage.weight_decay or None
    optimizer = {
        "SGD": lambda: keras.optimizers.SGD(rate, momentum=stage.momentum, weight_decay=decay),
        "RMSprop": lambda: keras.optimizers.RMSprop(rate, momentum=stage.momentum, weight_decay=decay),
        "Adam": lambda: keras.optimizers.Adam(rate, weight_decay=decay),
        "AdamW": lambda: keras.optimizers.AdamW(rate, weight_decay=decay or 0.0),
        "Lion": lambda: keras.optimizers.Lion(rate, weight_decay=decay),
    }[stage.optimizer]()
    if decay:
        # Decaying biases and normalisation only hurts (He et al. 2019, arXiv 1812.01187, section 3.1).
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    optimizer.build(variables)
    return shims.without_own_reduction(optimizer)


def slots(optimizer: Any) -> Arrays:
    """What it remembers of earlier steps."""
    return {f"{i:04d}": variable.value.numpy() for i, variable in enumerate(_kept(optimizer))}


def restore(optimizer: Any, kept: Arrays) -> None:
    """The inverse of `slots`; nothing where nothing was kept."""
    for variable, name in zip(_kept(optimizer), sorted(kept), strict=False):
        variable.assign(kept[name])


def _kept(optimizer: Any) -> list[Any]:
    """Variables that carry state; the learning rate is a function of the step."""
    return [variable for variable in optimizer.variables if "learning_rate" not in variable.path]


def learning_rates(
    stage: ResolvedStage, steps_per_epoch: int, first_step: int, steps: int
) -> NDArray[np.float32]:
    """Learning rate of each of `steps` steps from `first_step` on, counted from the start of the stage.

    What only the run can say is not in it: how often a plateau has lowered the rate (`plateau_factor`).
    """
    rates = [
        stage.learning_rate * _factor(stage, steps_per_epoch, step)
        for step in range(first_step, first_step + steps)
    ]
    return np.asarray(rates, np.float32)


def _factor(stage: ResolvedStage, steps_per_epoch: int, step: int) -> float:
    warmup = min(stage.warmup_epochs, stage.epochs) * steps_per_epoch
    if step < warmup:
        return (step + 1) / warmup
    if stage.lr_schedule == "Cosine":
        done = (step - warmup) / max(1, stage.epochs * steps_per_epoch - warmup)
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
    drop = stage.rate_drop
    if stage.lr_schedule == "Step" and drop is not None:
        return float(drop.factor ** (step // steps_per_epoch // drop.epochs))
    return 1.0


def plateau_factor(stage: ResolvedStage, history: Sequence[Mapping[str, Any]]) -> float:
    """What the plateaus among this stage's epochs so far make of the learning rate.

    As Keras' ReduceLROnPlateau without a minimum of gain, cool-down or lower bound.
    """
    drop = stage.rate_drop
    if drop is None or drop.metric is None:
        return 1.0
    best, waited, falls = None, 0, 0
    for figures in history:
        if figures["stage"] != stage.index or figures.get(drop.metric) is None:
            continue
        best, waited = stopping.next_wait(drop.metric, float(figures[drop.metric]), best, waited)
        if waited == drop.epochs:
            falls, waited = falls + 1, 0
    return float(drop.factor**falls)
