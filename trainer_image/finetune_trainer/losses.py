"""What a stage minimises: cross-entropy, as its classes and its difficult examples are weighed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from finetune_api.plan import Plan, ResolvedStage


@dataclass(frozen=True)
class Loss:
    """The loss of each example from its label and logits."""

    label_smoothing: float = 0.0
    focal_gamma: float | None = None
    """Exponent of the focal loss (Lin et al. 2017, arXiv 1708.02002); None is cross-entropy."""
    class_weights: NDArray[np.float32] | None = None
    """[classes]; None weighs all alike."""

    def __call__(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Losses [rows] of labels [rows] and logits [rows, classes]."""
        classes = logits.shape[-1]
        targets = tf.one_hot(labels, classes) * (1.0 - self.label_smoothing) + self.label_smoothing / classes
        losses = self._unweighted(targets, logits)
        return losses if self.class_weights is None else losses * tf.gather(self.class_weights, labels)

    def _unweighted(self, targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        if self.focal_gamma is None:
            return tf.nn.softmax_cross_entropy_with_logits(targets, logits)
        logs = tf.nn.log_softmax(logits)
        # At zero the gradient of a power below 1 is infinite.
        wrong = tf.maximum(1.0 - tf.exp(logs), 1e-7)
        return -tf.reduce_sum(targets * wrong**self.focal_gamma * logs, axis=-1)


def of_stage(plan: Plan, stage: ResolvedStage) -> Loss:
    """The loss that `stage` asks for, on the plan's classes."""
    return Loss(stage.label_smoothing, stage.focal_gamma, class_weights(plan))


def class_weights(plan: Plan) -> NDArray[np.float32] | None:
    """The weight of each class as the job asks for them: [classes], or None where all weigh alike."""
    return balanced(plan.class_counts) if plan.resolved.class_weights == "Balanced" else None


def balanced(counts: Sequence[int]) -> NDArray[np.float32]:
    """Weights with which every class counts as much as every other, and all examples as much as before.

    The formula of scikit-learn's `compute_class_weight("balanced")`: examples / (classes x examples of the class).
    """
    sizes = np.maximum(np.asarray(counts, np.float64), 1.0)
    return np.asarray(sum(counts) / (len(counts) * sizes), np.float32)
