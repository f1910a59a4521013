"""The stages of a schedule as people see them: what is trained, and how much of it. Pure."""

from collections.abc import Sequence
from itertools import pairwise

from finetune_api import backbones
from finetune_api.plan import ResolvedJob, ResolvedStage
from finetune_api.reported import StageFacts


def stage_facts(resolved: ResolvedJob, stage: ResolvedStage, num_classes: int | None) -> StageFacts:
    """One stage; without a number of classes its trainable parameters stay open."""
    return StageFacts(
        name=stage.name,
        epochs=1 if resolved.smoke_steps is not None else stage.epochs,
        learning_rate=stage.learning_rate,
        trainable_parameters=_trainable(resolved, stage, num_classes),
        trains=trains(resolved, stage),
    )


def trains(resolved: ResolvedJob, stage: ResolvedStage) -> str:
    """What a stage trains, besides the head: everything above a layer."""
    backbone = backbones.get(resolved.backbone)
    if stage.first_trainable >= backbone.num_layers:
        return "the head alone"
    if stage.first_trainable == 0:
        return "everything"
    boundary = backbone.boundary_below(stage.first_trainable)
    exact = boundary is not None and boundary.index + 1 == stage.first_trainable and boundary.layers
    return (
        f"above {' and '.join(boundary.layers)}"
        if boundary and exact
        else f"from layer {stage.first_trainable}"
    )


def _trainable(resolved: ResolvedJob, stage: ResolvedStage, num_classes: int | None) -> int | None:
    # The table has the figures of alpha 1; other widths have others.
    if num_classes is None or resolved.alpha != 1.0:
        return None
    backbone = backbones.get(resolved.backbone)
    in_backbone = backbone.trainable_parameters(
        stage.first_trainable, batch_norm=stage.batch_norm != "Frozen"
    )
    return in_backbone + head_parameters(backbone.feature_width, resolved.hidden, num_classes)


def head_parameters(width: int, hidden: Sequence[int], num_classes: int) -> int:
    """Weights of a head on `width` features: fully connected layers of `hidden` units, then the output layer."""
    return sum((rows + 1) * columns for rows, columns in pairwise([width, *hidden, num_classes]))
