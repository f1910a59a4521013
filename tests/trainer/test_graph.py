"""Trunk and tail together are the whole network, wherever it is cut."""

import keras
import numpy as np
import pytest

from finetune_trainer import backbone, graph, heads, shims
from finetune_trainer.architectures import ARCHITECTURES
from networks import images, lively

# The smallest images on which each network still has several positions at its top.
SIZES = {
    "DenseNet121": 64,
    "EfficientNetB0": 64,
    "EfficientNetLite0": 64,
    "InceptionV3": 75,
    "MobileNetV2": 64,
    "NASNetMobile": 64,
    "ResNet50": 64,
}
# Two more whose boundaries have automatic names.
NAMED_BY_KERAS = {"ConvNeXtTiny": 64, "Xception": 71}


@pytest.mark.slow
@pytest.mark.parametrize("name", SIZES)
def test_trunk_and_tail_equal_the_whole_network_at_every_boundary(name):
    size = SIZES[name]
    model = lively(name, size)
    pixels = backbone.preprocess(name)(images(size))
    expected = model(pixels, training=False).numpy()
    assert expected.std() > 0.1

    cuts = graph.boundaries(model, ARCHITECTURES[name].family)
    for cut in cuts:
        trunk, tail = graph.split(model, cut)
        features = trunk(pixels, training=False)
        np.testing.assert_allclose(tail(features, training=False), expected, atol=1e-4, err_msg=str(cut))
        assert {id(v) for v in trunk.variables} | {id(v) for v in tail.variables} == {
            id(v) for v in model.variables
        }


@pytest.mark.parametrize("name", SIZES | NAMED_BY_KERAS)
def test_boundaries_are_the_same_on_a_second_build(name):
    size = (SIZES | NAMED_BY_KERAS)[name]
    family = ARCHITECTURES[name].family
    graph.skeleton.cache_clear()
    first = graph.skeleton(name, size)
    names = [layer.name for layer in first.layers]

    keras.layers.Add()([keras.Input((2,)), keras.Input((2,))])  # moves Keras' name counters on
    graph.skeleton.cache_clear()
    second = graph.skeleton(name, size)

    assert second is not first
    assert [layer.name for layer in second.layers] == names
    assert graph.boundaries(second, family) == graph.boundaries(first, family)


@pytest.mark.parametrize("name", SIZES | NAMED_BY_KERAS)
def test_training_from_just_above_a_boundary_cuts_there(name):
    model = graph.skeleton(name, (SIZES | NAMED_BY_KERAS)[name])
    for cut in graph.boundaries(model, ARCHITECTURES[name].family):
        assert graph.find_cut(model, cut.layers_below) == cut


def test_a_real_build_has_the_names_and_paths_of_its_skeleton():
    skeleton, model = graph.skeleton("Xception", 71), backbone.build("Xception", 71)
    assert [layer.name for layer in model.layers] == [layer.name for layer in skeleton.layers]
    assert [weight.path for weight in model.weights] == [weight.path for weight in skeleton.weights]


def test_layer_249_of_inception_v3_is_the_first_above_mixed8_and_two_blocks_from_the_top():
    model = graph.skeleton("InceptionV3", 299)
    cut = graph.find_cut(model, 249)
    assert cut == graph.boundaries(model, ARCHITECTURES["InceptionV3"].family)[-2]
    assert (cut.names, cut.shapes, cut.layers_below) == (("mixed8",), ((8, 8, 1280),), 249)


def test_nasnet_is_cut_through_the_outputs_of_two_cells():
    model = graph.skeleton("NASNetMobile", 224)
    cut = graph.boundaries(model, ARCHITECTURES["NASNetMobile"].family)[-1]
    assert cut.names == ("normal_concat_10", "normal_concat_11")


def test_a_stage_that_begins_inside_a_block_is_cut_below_it_and_keeps_the_rest_frozen():
    model = graph.skeleton("MobileNetV2", 64)
    names = [layer.name for layer in model.layers]
    cut = graph.find_cut(model, names.index("block_15_depthwise"))
    assert cut.names == ("block_14_add",)
    assert graph.frozen_in_tail(model, cut, names.index("block_15_depthwise")) == {
        "block_15_expand",
        "block_15_expand_BN",
        "block_15_expand_relu",
    }


def test_a_head_stage_is_cut_at_the_output_and_has_no_tail():
    model = graph.skeleton("MobileNetV2", 64)
    cut = graph.find_cut(model, len(model.layers))
    assert cut.names == ("out_relu",)
    trunk, tail = graph.split(model, cut)
    assert trunk.output.shape == model.output.shape
    assert tail is None


@pytest.mark.parametrize(
    ("name", "first_trainable"),
    [
        pytest.param("MobileNetV2", 0, id="everything trains"),
        pytest.param("MobileNetV2", 1, id="only the input lies below"),
        pytest.param("EfficientNetB0", 3, id="only rescaling and normalization lie below"),
    ],
)
def test_with_nothing_that_learns_below_the_cut_is_at_the_pixels(name, first_trainable):
    model = graph.skeleton(name, 64)
    cut = graph.find_cut(model, first_trainable)
    assert cut.at_pixels
    assert graph.split(model, cut) == (None, model)


def test_a_skeleton_holds_no_numbers():
    model = graph.skeleton("ConvNeXtXLarge", 224)
    assert model.count_params() == 348_147_968
    assert all(variable._value is None for variable in model.variables)


def test_a_skeleton_gets_no_numbers_when_another_model_is_built():
    model = graph.skeleton("EfficientNetLite0", 67)
    heads.build(8, [], 2, dropout=0.1)
    assert all(variable._value is None for variable in model.variables)


def test_canary_keras_still_gives_numbers_to_what_was_built_without():
    with keras.StatelessScope(initialize_variables=False):
        without = keras.layers.Dense(1)
        without.build((None, 2))
    assert without.kernel._value is None
    shims.LaneDropout(0.5)(keras.Input((2,)))
    assert without.kernel._value is not None


def test_fresh_names_leave_the_counters_outside_alone():
    before = keras.layers.Dense(1).name
    with graph.fresh_names():
        assert keras.layers.Dense(1).name == "dense"
    after = keras.layers.Dense(1).name
    assert after not in ("dense", before)


def test_the_seed_decides_the_random_weights():
    same = [
        backbone.build("MobileNetV2", 32, seed=s).get_layer("Conv1").kernel.value.numpy() for s in (1, 1, 2)
    ]
    np.testing.assert_array_equal(same[0], same[1])
    assert not np.array_equal(same[0], same[2])
