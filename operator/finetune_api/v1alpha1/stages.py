"""`spec.stages`: what is trained, in which order and how."""

from typing import Annotated, Any, Literal

from pydantic import Field

from finetune_api.v1alpha1.fields import Name, Presence, Word
from finetune_api.v1alpha1.schema import Model, Rule, exactly_one

MAX_STAGES = 16


class Unfreeze(Model):
    """Where training begins in the backbone: exactly one way of saying it."""

    blocks: Annotated[int, Field(ge=0, le=1024)] | None = None
    """How many blocks from the top: residual, inception or dense units, as `finetune backbones NAME` lists
    them. 0 trains the head alone."""
    from_layer: Word | None = None
    """Name of the lowest layer that is trained, such as block6a_expand_conv."""
    from_layer_index: Annotated[int, Field(ge=0, le=10_000)] | None = None
    """The same by number in the backbone's layers: 249 freezes layers[:249]."""
    all: Presence | None = None
    """Trains everything."""

    rules = (exactly_one("blocks", "fromLayer", "fromLayerIndex", "all"),)


class Optimizer(Model):
    """How weights follow the gradient."""

    name: Literal["SGD", "RMSprop", "Adam", "AdamW", "Lion", "LBFGS"]
    """LBFGS solves a linear head to convergence and needs no rate; the others take steps."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Of SGD (default 0.9) and RMSprop (default 0)."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Decoupled decay per unit of learning rate, such as 0.0001. Default 0."""
    clip_norm: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    """Largest global norm of the gradient over all workers, such as 1.0. Default: none."""

    rules = (
        Rule(
            "only SGD and RMSprop have momentum: remove it",
            lambda o: o.momentum is None or o.name in ("SGD", "RMSprop"),
            "!has(self.momentum) || self.name in ['SGD', 'RMSprop']",
            "momentum",
        ),
        Rule(
            "LBFGS tries regularisation strengths itself: remove weightDecay and clipNorm",
            lambda o: o.name != "LBFGS" or (o.weight_decay == 0 and o.clip_norm is None),
            "self.name != 'LBFGS' || (self.weightDecay == 0.0 && !has(self.clipNorm))",
        ),
    )


MetricName = Literal["accuracy", "loss", "val_accuracy", "val_loss"]


class LrSchedule(Model):
    """How the learning rate moves within a stage."""

    kind: Literal["Constant", "Cosine", "Step", "Plateau"] = "Cosine"
    """Cosine falls to zero over the stage, Step by `factor` every `everyEpochs`, Plateau by `factor` when
    `metric` no longer gets better. Default Cosine."""
    warmup_epochs: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Epochs of linear rise from zero, fewer than the stage's epochs. Default 1 for Cosine in a stage of
    several epochs, otherwise 0."""
    factor: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Of Step and Plateau: what the rate is multiplied with each time, such as 0.5. Default 0.1."""
    every_epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Of Step: epochs between two falls. Default a third of the stage's epochs."""
    metric: MetricName | None = None
    """Of Plateau: which figure has to get better. Default val_loss, without validation loss."""
    patience: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Of Plateau: epochs without getting better before the rate falls. Default 2."""

    rules = (
        Rule(
            "only Step and Plateau have a factor: remove it",
            lambda s: s.factor is None or s.kind in ("Step", "Plateau"),
            "!has(self.factor) || self.kind in ['Step', 'Plateau']",
            "factor",
        ),
        Rule(
            "only Step has everyEpochs: remove it",
            lambda s: s.every_epochs is None or s.kind == "Step",
            "!has(self.everyEpochs) || self.kind == 'Step'",
            "everyEpochs",
        ),
        Rule(
            "only Plateau has a metric: remove it",
            lambda s: s.metric is None or s.kind == "Plateau",
            "!has(self.metric) || self.kind == 'Plateau'",
            "metric",
        ),
        Rule(
            "only Plateau has patience: remove it",
            lambda s: s.patience is None or s.kind == "Plateau",
            "!has(self.patience) || self.kind == 'Plateau'",
            "patience",
        ),
    )


class Loss(Model):
    """What is minimised."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each label spread over all classes, such as 0.1. Default 0."""
    focal_gamma: Annotated[float, Field(gt=0, le=10)] | None = None
    """Focusing of the focal loss, such as 2: examples that are already told apart count less. Default:
    cross-entropy."""


class Ema(Model):
    """A moving average of the weights, judged and exported instead of them."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """Weight of the past in each step. Default 0.999."""


class EarlyStopping(Model):
    """Ends the stage when it no longer gets better."""

    metric: MetricName = "val_accuracy"
    """Which figure has to get better. Default val_accuracy."""
    patience: Annotated[int, Field(ge=1, le=1000)] = 3
    """Epochs without getting better before the stage ends. Default 3."""
    min_delta: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """What counts as better. Default 0: anything."""


class StopWhen(Model):
    """Ends the stage as soon as it is good enough."""

    metric: MetricName = "val_accuracy"
    """Which figure has to pass the bound. Default val_accuracy."""
    above: Annotated[float, Field(ge=-1_000_000, le=1_000_000)] | None = None
    """Ends the stage when the metric is above this, such as 0.98."""
    below: Annotated[float, Field(ge=-1_000_000, le=1_000_000)] | None = None
    """Ends the stage when the metric is below this, such as 0.05."""

    rules = (exactly_one("above", "below"),)


def _is_solved(stage: Any) -> bool:
    return stage.optimizer is not None and stage.optimizer.name == "LBFGS"


_CEL_SOLVED = "has(self.optimizer) && self.optimizer.name == 'LBFGS'"


class Stage(Model):
    """One part of the schedule: what is trained and how."""

    name: Name
    """Unique in the job; shown in status, metrics and logs. Such as head."""
    unfreeze: Unfreeze
    """Where training begins in the backbone; what lies below stays bit for bit as it is."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Passes over the training images; for LBFGS the number of regularisation strengths tried (one without
    validation). Default 5 for LBFGS, otherwise 10."""
    learning_rate: Annotated[float, Field(gt=0, le=100)] | None = None
    """Peak learning rate, such as 0.0001. Default: for a head alone 0.001 (SGD 0.01, Lion 0.0001), for a
    part of the backbone a tenth of that."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the learning rate from each block to the one below it, such as 0.9. Default 1: off."""
    optimizer: Optimizer | None = None
    """How weights follow the gradient. Default LBFGS for a linear head alone (with the focal loss Adam),
    otherwise Adam."""
    lr_schedule: LrSchedule | None = None
    """How the learning rate moves. Default {kind: Cosine}."""
    loss: Loss = Loss()
    """What is minimised."""
    batch_norm: Literal["Frozen", "Sync", "Local"] = "Frozen"
    """BatchNormalization of trained layers. Frozen keeps the pretrained statistics. Sync takes them over the
    global batch. Local takes each worker's own, so the result then depends on their number. Default
    Frozen."""
    ema: Ema | None = None
    """A moving average of the weights."""
    early_stopping: EarlyStopping | None = None
    """Ends the stage when it no longer gets better."""
    stop_when: StopWhen | None = None
    """Ends the stage as soon as it is good enough."""

    rules = (
        Rule(
            "LBFGS has no learning rate: remove learningRate and lrSchedule, or choose SGD, Adam or AdamW",
            lambda s: not _is_solved(s) or (s.learning_rate is None and s.lr_schedule is None),
            f"!({_CEL_SOLVED}) || (!has(self.learningRate) && !has(self.lrSchedule))",
            "optimizer",
        ),
        Rule(
            "LBFGS solves a head alone: set unfreeze to {blocks: 0}, or choose SGD, Adam or AdamW",
            lambda s: not _is_solved(s) or s.unfreeze.blocks == 0,
            f"!({_CEL_SOLVED}) || (has(self.unfreeze.blocks) && self.unfreeze.blocks == 0)",
            "optimizer",
        ),
        Rule(
            "LBFGS minimises cross-entropy: remove loss.focalGamma, or choose SGD, Adam or AdamW",
            lambda s: not _is_solved(s) or s.loss.focal_gamma is None,
            f"!({_CEL_SOLVED}) || !has(self.loss.focalGamma)",
            "loss",
        ),
        Rule(
            "warmupEpochs must be smaller than epochs",
            lambda s: s.lr_schedule is None or (s.lr_schedule.warmup_epochs or 0) < (s.epochs or 10),
            "!has(self.lrSchedule) || !has(self.lrSchedule.warmupEpochs)"
            " || self.lrSchedule.warmupEpochs < (has(self.epochs) ? self.epochs : 10)",
            "lrSchedule",
        ),
    )
