"""Each shim does what it is for; and a canary for each, which fails when Keras no longer needs it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from finetune_trainer import shims

SHAPE = (6, 5, 5, 3)


def images(seed: int = 0) -> Any:
    return tf.constant(np.random.default_rng(seed).normal(1.0, 2.0, SHAPE).astype(np.float32))


def context(step: int = 0, first_lane: int = 0, lanes: int = SHAPE[0]) -> shims.StepContext:
    return shims.StepContext(7, tf.constant(step, tf.int64), tf.constant(first_lane), lanes, tf.constant(0.1))


def normalised(layer: Any, rows: Any) -> Any:
    layer.build(SHAPE)
    layer.moving_mean.assign([0.5, 1.0, 1.5])
    layer.moving_variance.assign([1.0, 2.0, 3.0])
    return layer(rows, training=True)


def test_frozen_normalisation_is_that_of_keras_in_inference() -> None:
    ours = normalised(shims.BatchNormalization(), images())
    theirs = keras.layers.BatchNormalization(trainable=False)
    np.testing.assert_allclose(ours, normalised(theirs, images()), atol=1e-5)


@pytest.mark.parametrize("mode", ["Local", "Sync"])
def test_learning_normalisation_is_that_of_keras_on_one_replica(mode: str) -> None:
    ours, theirs = shims.BatchNormalization(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)
    ours.mode = mode
    np.testing.assert_allclose(normalised(ours, images()), normalised(theirs, images()), atol=1e-4)
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, atol=1e-5)
    np.testing.assert_allclose(ours.moving_variance, theirs.moving_variance, atol=1e-4)


def test_canary_keras_normalisation_is_still_not_fused() -> None:
    layer = keras.layers.BatchNormalization()
    layer.build(SHAPE)
    graph = tf.function(lambda rows: layer(rows, training=True)).get_concrete_function(images()).graph
    kinds = {operation.type for operation in graph.get_operations()}
    assert not any("FusedBatchNorm" in kind for kind in kinds), (
        "Keras is fused now: drop BatchNormalization's shim"
    )


def test_dropout_of_a_share_is_that_share_of_the_dropout() -> None:
    layer = shims.LaneDropout(0.5, name="drop")
    rows = tf.ones((12, 8))
    with shims.step_context(context(lanes=12)):
        whole = layer(rows, training=True)
    with shims.step_context(context(first_lane=4, lanes=12)):
        share = layer(rows[4:8], training=True)
    np.testing.assert_array_equal(whole[4:8], share)
    assert 0 < np.count_nonzero(whole) < 12 * 8


def test_dropout_is_another_at_each_step_and_layer() -> None:
    rows = tf.ones((12, 8))

    def mask(name: str, step: int) -> Any:
        with shims.step_context(context(step=step, lanes=12)):
            return shims.LaneDropout(0.5, name=name)(rows, training=True).numpy()

    assert (mask("a", 0) == mask("a", 0)).all()
    assert (mask("a", 0) != mask("a", 1)).any()
    assert (mask("a", 0) != mask("b", 0)).any()


def test_dropout_does_nothing_outside_training() -> None:
    rows = tf.ones((4, 8))
    with shims.step_context(context(lanes=4)):
        assert (shims.LaneDropout(0.5)(rows, training=False) == rows).numpy().all()


def test_canary_keras_dropout_still_draws_from_a_state() -> None:
    layer = keras.layers.Dropout(0.5, seed=1)
    first, second = layer(tf.ones((4, 64)), training=True), layer(tf.ones((4, 64)), training=True)
    assert (first != second).numpy().any(), "Keras' dropout is a function now: look at LaneDropout again"


def test_canary_keras_optimizers_still_reduce_gradients_themselves() -> None:
    optimizer = keras.optimizers.SGD(0.1)
    assert callable(optimizer._all_reduce_sum_gradients)
    pairs = [(tf.ones(2), tf.Variable(tf.ones(2)))]
    assert shims.without_own_reduction(optimizer)._all_reduce_sum_gradients(pairs) == pairs


def test_stochastic_depth_and_dropout_are_replaced_when_a_layer_is_cloned() -> None:
    kinds = [
        type(shims.clone_layer(layer))
        for layer in (keras.layers.Dropout(0.1), keras.layers.BatchNormalization(), keras.layers.ReLU())
    ]
    assert kinds == [shims.LaneDropout, shims.BatchNormalization, keras.layers.ReLU]


def test_a_thread_without_a_step_has_the_learning_rate_of_the_replicas() -> None:
    # Keras decays weights in the strategy's own thread, where a learning rate of 0 would be no decay at all.
    with ThreadPoolExecutor(1) as other:
        with shims.step_context(context()):
            assert float(other.submit(shims.current_learning_rate).result()) == pytest.approx(0.1)
        assert other.submit(shims.current_learning_rate).result() == 0.0
