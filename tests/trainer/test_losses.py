"""What is minimised: compared with Keras' and scikit-learn's words for the same."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from finetune_api.plan import Plan, ResolvedJob
from finetune_trainer import losses
from finetune_trainer.losses import Loss

CLASSES = 4


def rows(count: int = 50) -> tuple[Any, Any]:
    draw = np.random.default_rng(0)
    return draw.integers(0, CLASSES, count).astype(np.int32), 3 * draw.normal(size=(count, CLASSES)).astype(
        "f4"
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_that_of_keras(smoothing: float) -> None:
    labels, logits = rows()
    theirs = keras.losses.CategoricalCrossentropy(True, label_smoothing=smoothing, reduction=None)
    ours = Loss(smoothing)(tf.constant(labels), tf.constant(logits))
    np.testing.assert_allclose(ours, theirs(np.eye(CLASSES)[labels], logits), rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_is_that_of_keras(gamma: float, smoothing: float) -> None:
    labels, logits = rows()
    theirs = keras.losses.CategoricalFocalCrossentropy(
        alpha=1.0, gamma=gamma, from_logits=True, label_smoothing=smoothing, reduction=None
    )
    ours = Loss(smoothing, gamma)(tf.constant(labels), tf.constant(logits))
    np.testing.assert_allclose(ours, theirs(np.eye(CLASSES)[labels], logits), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_loss_has_a_gradient_where_nothing_is_left_to_learn_and_where_all_is(gamma: float) -> None:
    logits = tf.constant([[200.0, 0.0, 0.0, 0.0], [-200.0, 0.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        found = Loss(0.0, gamma)(tf.constant([0, 0]), logits)
    assert np.isfinite(found).all()
    gradient = tape.gradient(found, logits).numpy()
    assert np.isfinite(gradient).all()
    assert np.abs(gradient[0]).max() < 1e-6 < np.abs(gradient[1]).max()


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    counts = [90, 9, 1]
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=np.repeat(np.arange(3), counts))
    np.testing.assert_allclose(losses.balanced(counts), theirs, rtol=1e-6)


def test_every_class_counts_as_much_as_every_other() -> None:
    labels = np.repeat(np.arange(CLASSES), [40, 6, 3, 1]).astype(np.int32)
    weighted = Loss(class_weights=losses.balanced([40, 6, 3, 1]))
    found = weighted(tf.constant(labels), tf.zeros((len(labels), CLASSES))).numpy()
    np.testing.assert_allclose(np.bincount(labels, found), np.log(CLASSES) * len(labels) / CLASSES, rtol=1e-5)


def test_a_class_without_a_single_image_breaks_nothing() -> None:
    assert np.isfinite(losses.balanced([10, 0])).all()


def test_classes_weigh_alike_unless_asked() -> None:
    plan = Plan.model_construct(resolved=ResolvedJob.model_construct(), class_counts=[9, 1])
    assert losses.class_weights(plan) is None
    asked = plan.model_copy(update={"resolved": ResolvedJob.model_construct(class_weights="Balanced")})
    np.testing.assert_allclose(losses.class_weights(asked), [5 / 9, 5])
