"""The generated table says what Keras' graphs say, and answers what the schedule asks."""

import gzip
import importlib
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from finetune_api import backbones
from finetune_api.errors import BadJob
from finetune_trainer import backbone, efficientnet_lite, generate_backbones, graph
from finetune_trainer.architectures import ARCHITECTURES
from networks import images

IN_KERAS = sorted(set(ARCHITECTURES) - set(efficientnet_lite.VARIANTS))


@pytest.fixture(scope="module")
def written():
    rows = json.loads(generate_backbones.TABLE.read_text())
    return rows, json.loads(gzip.decompress(generate_backbones.LAYERS.read_bytes()))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_table_is_what_the_graph_says(name, written):
    rows, listings = written
    row, listing = generate_backbones.describe(ARCHITECTURES[name])
    graph.skeleton.cache_clear()
    assert json.loads(json.dumps(row)) == rows[name]
    assert listing == listings[name]


def test_the_table_has_all_of_keras_applications_and_five_lite_networks():
    in_keras = {n for n in dir(keras.applications) if callable(getattr(keras.applications, n))}
    assert len(in_keras) == 40
    assert set(backbones.NAMES) == in_keras | set(efficientnet_lite.VARIANTS)


@pytest.mark.parametrize("name", IN_KERAS)
def test_one_pixel_less_than_the_minimum_is_refused_by_keras(name):
    size = backbones.get(name).min_size - 1
    with pytest.raises(ValueError, match="at least"):
        ARCHITECTURES[name].construct(size)


# MobileNetV3 is left out: Keras does not check its size, and would go on to download weights.
@pytest.mark.parametrize("name", [name for name in IN_KERAS if not name.startswith("MobileNetV3")])
def test_the_default_size_is_the_one_imagenet_weights_were_trained_on(name):
    size = backbones.get(name).default_size
    with pytest.raises(ValueError, match=rf"should be \({size}, {size}, 3\)"):
        getattr(keras.applications, name)(weights="imagenet", input_shape=(size + 7, size + 7, 3))


@pytest.mark.parametrize("name", IN_KERAS)
def test_pixels_are_prepared_as_keras_prepares_them(name):
    module = importlib.import_module(getattr(keras.applications, name).__module__)
    pixels = images(8)
    ours = tf.function(backbone.preprocess(name))(tf.constant(pixels))
    np.testing.assert_allclose(ours, module.preprocess_input(pixels.copy()), atol=1e-4)


@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small"])
def test_other_widths_than_the_published_have_no_imagenet_weights(name):
    alphas = backbones.get(name).alphas
    with pytest.raises(ValueError, match="alpha"):
        getattr(keras.applications, name)(
            alpha=min(alphas) + 0.07, weights="imagenet", include_top=False, input_shape=(224, 224, 3)
        )


def test_two_blocks_of_inception_v3_are_the_layers_from_249():
    model = backbones.get("InceptionV3")
    assert model.first_trainable_for_blocks(2) == 249 == model.index_of_layer("mixed8") + 1
    assert model.cut_shape(249, 299) == ((8, 8, 1280),)
    assert model.trainable_parameters(249) == 11_108_352
    assert model.compute_below(249) == pytest.approx(0.876, abs=5e-4)


def test_no_blocks_leave_the_head_alone_and_store_one_vector_per_image():
    model = backbones.get("MobileNetV2")
    assert model.first_trainable_for_blocks(0) == model.num_layers == 154
    assert model.cut_shape(154, 96) == ((1280,),)
    assert model.trainable_parameters(154) == 0
    assert model.compute_below(154) == 1


def test_everything_trained_stores_the_image_itself():
    model = backbones.get("MobileNetV2")
    assert model.cut_shape(0, 96) == ((96, 96, 3),)
    assert model.compute_below(0) == 0
    assert model.trainable_parameters(0, batch_norm=True) == 2_223_872
    assert model.trainable_parameters(0) < 2_223_872


@pytest.mark.parametrize("size", [96, 160, 224])
def test_shapes_at_another_size_are_those_of_the_graph(size):
    model = backbones.get("MobileNetV2")
    skeleton = graph.skeleton("MobileNetV2", size)
    for boundary in model.boundaries:
        index = boundary.index + 1
        assert model.cut_shape(index, size) == graph.find_cut(skeleton, index).shapes


@pytest.mark.parametrize(
    ("ask", "reason", "said"),
    [
        pytest.param(lambda: backbones.get("resnet5"), "UnknownBackbone", "ResNet50", id="nearly"),
        pytest.param(lambda: backbones.get("ViT"), "UnknownBackbone", "finetune backbones", id="none such"),
        pytest.param(
            lambda: backbones.get("InceptionV3").index_of_layer("mixd8"), "UnknownLayer", "mixed8", id="layer"
        ),
        pytest.param(
            lambda: backbones.get("VGG16").first_trainable_for_blocks(6),
            "TooManyBlocks",
            "0 to 5",
            id="blocks",
        ),
    ],
)
def test_a_wrong_name_or_number_is_answered_with_the_nearest_right_one(ask, reason, said):
    with pytest.raises(BadJob, match=said) as raised:
        ask()
    assert raised.value.reason == reason
