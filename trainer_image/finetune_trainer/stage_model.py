"""The trained part of one stage: tail and head, built inside the strategy's scope.

The frozen part (the trunk) is not here: its outputs arrive as features. So a frozen layer is bit-identical by
construction, and a head stage holds nothing but a Dense layer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from finetune_api.plan import Plan, ResolvedStage
from finetune_trainer import backbone, graph, heads, shims
from finetune_trainer import weights as weights_module
from finetune_trainer.distribution import Gang
from finetune_trainer.state import Arrays


@dataclass
class StageModel:
    """Tail (None in a head stage) and head, with the names their weights have in checkpoints."""

    tail: Any
    head: Any
    preprocess: Callable[[tf.Tensor], tf.Tensor] | None
    """Given when the features are pixels: uint8 -> the backbone's input."""
    pooling: str
    names: list[str]
    weights: list[Any]
    trainable: list[Any]
    moving: list[Any]
    """Moving statistics that each replica keeps for itself (batchNorm Local), to be averaged."""
    _means: Callable[[], list[NDArray[np.float32]]] | None = None

    def logits(self, features: list[tf.Tensor], *, training: bool) -> tf.Tensor:
        """Features of the stage's cut, [rows, ...] each -> logits [rows, classes]."""
        hidden: Any = features if len(features) > 1 else features[0]
        if self.preprocess is not None:
            hidden = self.preprocess(tf.cast(hidden, tf.float32))
        elif not isinstance(hidden, list):
            hidden = tf.cast(hidden, tf.float32)
        else:
            hidden = [tf.cast(part, tf.float32) for part in hidden]
        if self.tail is not None:
            hidden = pool(self.tail(hidden, training=training), self.pooling)
        return self.head(hidden, training=training)

    def assign(self, arrays: Arrays) -> None:
        """Set every weight that `arrays` names."""
        for name, weight in zip(self.names, self.weights, strict=True):
            if name in arrays:
                weight.assign(arrays[name])
        if self.tail is not None:
            weights_module.settle(self.tail)

    def arrays(self) -> Arrays:
        """Every weight that training may have changed, by name."""
        learned = {id(weight) for weight in self.trainable}
        moved = {id(weight) for weight in self._statistics()}
        return {
            name: weight.value.numpy()
            for name, weight in zip(self.names, self.weights, strict=True)
            if id(weight) in learned or id(weight) in moved
        }

    def average_moving_statistics(self, gang: Gang) -> None:
        """Give every replica the mean of what the replicas have; needed before each save and evaluation."""
        if gang.num_replicas == 1 or not self.moving:
            return
        if self._means is None:
            self._means = gang.averager([weight.value for weight in self.moving])
        for weight, mean in zip(self.moving, self._means(), strict=True):
            weight.assign(mean)

    def _statistics(self) -> list[Any]:
        if self.tail is None:
            return []
        return [
            statistic
            for layer in self.tail.layers
            if isinstance(layer, shims.BatchNormalization) and layer.trainable and layer.mode != "Frozen"
            for statistic in (layer.moving_mean, layer.moving_variance)
        ]


def pool(features: tf.Tensor, pooling: str) -> tf.Tensor:
    """[rows, height, width, channels] -> [rows, channels]; Average or Max over space."""
    reduce = tf.reduce_mean if pooling == "Average" else tf.reduce_max
    return reduce(features, axis=[1, 2])


def build(plan: Plan, stage: ResolvedStage, cut_at: int, gang: Gang) -> StageModel:
    """The model of `stage` on features cut below layer `cut_at`; weights are whatever the initialisers made."""
    job = plan.resolved
    skeleton = graph.skeleton(job.backbone, job.image_size, job.alpha)
    cut = graph.find_cut(skeleton, cut_at)
    _, tail_skeleton = graph.split(skeleton, cut)
    with gang.strategy.scope():
        tail, names = None, []
        if tail_skeleton is not None:
            names = [weight.path for weight in tail_skeleton.weights]
            tail = keras.models.clone_model(tail_skeleton, clone_function=shims.clone_layer)
            _set_trainable(tail, skeleton, stage)
        width = int(skeleton.output.shape[-1])
        head = heads.build(width, job.hidden, len(plan.classes), job.dropout)
    weights = (list(tail.weights) if tail is not None else []) + list(head.weights)
    trainable = (list(tail.trainable_weights) if tail is not None else []) + list(head.trainable_weights)
    model = StageModel(
        tail=tail,
        head=head,
        preprocess=backbone.preprocess(job.backbone) if cut.at_pixels else None,
        pooling=job.pooling,
        names=[*names, *heads.names(job.hidden)],
        weights=weights,
        trainable=trainable,
        moving=[],
    )
    if stage.batch_norm == "Local":
        model.moving = model._statistics()
    return model


def _set_trainable(tail: Any, skeleton: Any, stage: ResolvedStage) -> None:
    """Freeze what the stage does not unfreeze, and set BatchNormalization's mode; in this one place only."""
    frozen = {layer.name for layer in skeleton.layers[: stage.first_trainable]}
    for layer in tail.layers:
        is_norm = isinstance(layer, shims.BatchNormalization)
        if is_norm:
            layer.mode = stage.batch_norm
        layer.trainable = layer.name not in frozen and not (is_norm and stage.batch_norm == "Frozen")
