"""A backbone made fast for inference is still the same function."""

import keras
import numpy as np
import pytest

from finetune_trainer import backbone
from finetune_trainer.inference import for_inference


def with_random_statistics(model):
    """Scales, offsets and moving statistics that all matter."""
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights(
                [
                    generator.uniform(0.5, 1.5, weight.shape)
                    if "variance" in weight.path or "gamma" in weight.path
                    else generator.normal(0, 0.2, weight.shape)
                    for weight in layer.weights
                ]
            )
    return model


def outputs(model, images):
    results = model(images, training=False)
    return [result.numpy() for result in (results if isinstance(results, list) else [results])]


def assert_same(model, size: int, tolerance: float = 1e-5):
    images = np.random.default_rng(1).normal(0, 1, (2, size, size, 3)).astype(np.float32)
    for fast, plain in zip(outputs(for_inference(model), images), outputs(model, images), strict=True):
        assert np.abs(plain).max() > 0
        assert np.abs(fast - plain).max() <= tolerance * np.abs(plain).max()


def norms(model) -> int:
    return sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)


@pytest.mark.parametrize(
    ("name", "size", "left"),
    [
        ("MobileNetV2", 64, 0),
        ("EfficientNetLite0", 64, 0),
        ("InceptionV3", 75, 0),
        pytest.param("DenseNet121", 32, 62, marks=pytest.mark.slow),
        pytest.param("Xception", 71, 0, marks=pytest.mark.slow),
        pytest.param("NASNetMobile", 32, 4, marks=pytest.mark.slow),
        pytest.param("ConvNeXtTiny", 32, 0, marks=pytest.mark.slow),
    ],
)
def test_a_backbone_stays_the_same_function(name, size, left):
    model = with_random_statistics(backbone.build(name, size))
    assert_same(model, size)
    assert norms(for_inference(model)) == left


def test_every_kind_of_convolution_folds_rightly():
    inputs = keras.Input((16, 16, 3))
    hidden = keras.layers.Conv2D(8, 3, padding="same", bias_initializer="random_normal")(inputs)
    hidden = keras.layers.BatchNormalization(scale=False)(hidden)
    hidden = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)(hidden)
    hidden = keras.layers.BatchNormalization(center=False)(hidden)
    hidden = keras.layers.Conv2D(8, 3, groups=4, strides=2)(hidden)
    hidden = keras.layers.BatchNormalization(epsilon=0.1)(hidden)
    hidden = keras.layers.SeparableConv2D(6, 3, depth_multiplier=2, bias_initializer="random_normal")(hidden)
    hidden = keras.layers.BatchNormalization()(hidden)
    model = with_random_statistics(keras.Model(inputs, hidden))
    assert_same(model, 16)
    assert norms(for_inference(model)) == 0


def test_a_convolution_that_others_read_too_is_left_alone():
    inputs = keras.Input((16, 16, 3))
    convolved = keras.layers.Conv2D(4, 3)(inputs)
    normalised = keras.layers.BatchNormalization()(convolved)
    both = with_random_statistics(keras.Model(inputs, keras.layers.Add()([convolved, normalised])))
    shown = with_random_statistics(keras.Model(inputs, [convolved, normalised]))
    active = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    last = with_random_statistics(keras.Model(inputs, keras.layers.BatchNormalization()(active)))
    for model in (both, shown, last):
        assert_same(model, 16)
        assert norms(for_inference(model)) == 1


def test_the_model_itself_is_not_changed():
    model = with_random_statistics(backbone.build("MobileNetV2", 32, 0.35))
    before = [weight.copy() for weight in model.get_weights()]
    fast = for_inference(model)
    fast.set_weights([weight * 0 for weight in fast.get_weights()])
    kept = {layer.name for layer in model.layers if layer in fast.layers and layer.weights}
    assert not kept, "every layer with weights of MobileNetV2 is folded"
    for weight, original in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, original)
