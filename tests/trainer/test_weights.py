"""What a backbone starts from, and what is refused."""

import hashlib
import os
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from finetune_api.errors import BadData, BadJob, MissingInput
from finetune_api.plan import ResolvedJob
from finetune_store.storage import open_store
from finetune_trainer import backbone, graph, weights
from networks import enliven, images, lively


def job(**fields):
    """As much of a resolved job as weights depend on."""
    defaults = {
        "backbone": "MobileNetV2",
        "weights": "none",
        "weights_sha256": None,
        "image_size": 32,
        "alpha": 1.0,
    }
    return ResolvedJob.model_construct(**{**defaults, **fields})


def saved(model, path):
    """Save the weights of a model; their SHA-256."""
    model.save_weights(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_no_weights_leave_the_random_ones_that_the_seed_decides(tmp_path):
    models = [backbone.build("MobileNetV2", 32, seed=7) for _ in range(2)]
    digests = [weights.load_initial(model, job(), open_store, tmp_path) for model in models]
    assert digests[0] == digests[1] == weights.digest(weights.to_arrays(models[0]))


def test_a_file_of_weights_is_fetched_checked_and_loaded(tmp_path):
    trained = lively("MobileNetV2", 32, seed=1)
    sha256 = saved(trained, tmp_path / "flowers.weights.h5")
    wanted = job(weights=f"file://{tmp_path}/flowers.weights.h5", weights_sha256=sha256)
    model = backbone.build("MobileNetV2", 32, seed=2)

    digest = weights.load_initial(model, wanted, open_store, tmp_path / "scratch")

    assert digest == weights.digest(weights.to_arrays(trained))
    (tmp_path / "flowers.weights.h5").unlink()
    again = backbone.build("MobileNetV2", 32, seed=3)
    assert weights.load_initial(again, wanted, open_store, tmp_path / "scratch") == digest


def test_a_file_with_another_checksum_is_refused(tmp_path):
    model = backbone.build("MobileNetV2", 32)
    sha256 = saved(model, tmp_path / "a.weights.h5")
    wanted = job(weights=f"{tmp_path}/a.weights.h5", weights_sha256="0" * 64)
    with pytest.raises(BadData, match=sha256) as raised:
        weights.load_initial(model, wanted, open_store, tmp_path / "scratch")
    assert raised.value.reason == "WeightsChecksum"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: backbone.build("MobileNet", 32), id="another network"),
        pytest.param(lambda: backbone.build("MobileNetV2", 32, alpha=0.5), id="another width"),
        pytest.param(lambda: keras.applications.MobileNetV2(weights=None, classes=3), id="with its top"),
    ],
)
def test_weights_of_another_architecture_are_refused_and_nothing_is_loaded(make, tmp_path):
    sha256 = saved(make(), tmp_path / "a.weights.h5")
    model = backbone.build("MobileNetV2", 32)
    before = weights.digest(weights.to_arrays(model))
    wanted = job(weights=f"{tmp_path}/a.weights.h5", weights_sha256=sha256)
    with pytest.raises(BadData, match="another network") as raised:
        weights.load_initial(model, wanted, open_store, tmp_path / "scratch")
    assert raised.value.reason == "WeightsMismatch"
    assert weights.digest(weights.to_arrays(model)) == before


def test_a_file_that_is_no_weights_file_is_refused(tmp_path):
    (tmp_path / "a.weights.h5").write_bytes(b"not HDF5")
    sha256 = hashlib.sha256(b"not HDF5").hexdigest()
    wanted = job(weights=f"{tmp_path}/a.weights.h5", weights_sha256=sha256)
    with pytest.raises(BadData) as raised:
        weights.load_initial(backbone.build("MobileNetV2", 32), wanted, open_store, tmp_path / "scratch")
    assert raised.value.reason == "WeightsUnreadable"


def test_a_file_that_is_not_there_is_missing(tmp_path):
    wanted = job(weights=f"{tmp_path}/a.weights.h5", weights_sha256="0" * 64)
    with pytest.raises(MissingInput):
        weights.load_initial(backbone.build("MobileNetV2", 32), wanted, open_store, tmp_path / "scratch")


@pytest.mark.parametrize(
    ("name", "alpha"),
    [
        pytest.param("EfficientNetLite4", 1.0, id="never published as a package"),
        pytest.param("MobileNetV2", 0.6, id="a width that was not trained"),
    ],
)
def test_imagenet_weights_that_do_not_exist_are_refused(name, alpha):
    with pytest.raises(BadJob) as raised:
        weights.load_imagenet(backbone.build(name, 32, alpha), name, 32, alpha)
    assert raised.value.reason == "NoImageNetWeights"


def test_weights_that_cannot_be_downloaded_are_missing_with_the_place_to_put_them(monkeypatch, tmp_path):
    # Nothing listens on port 9 of this machine.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(keras.src.backend.config, "_KERAS_DIR", str(tmp_path))
    with pytest.raises(MissingInput) as raised:
        weights.load_imagenet(backbone.build("MobileNetV2", 96), "MobileNetV2", 96)
    assert raised.value.reason == "ImageNetWeightsMissing"
    assert str(tmp_path / "models") in str(raised.value)
    assert "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5" in str(raised.value)


def test_imagenet_weights_are_found_in_a_folder_that_cannot_be_written(monkeypatch, tmp_path):
    """Such as one in an image. Root may write anywhere, so the answer is put into the mouth of the system."""
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5"
    (tmp_path / "models").mkdir()
    seeded = backbone.build("MobileNetV2", 96, 0.35, seed=4)
    with h5py.File(tmp_path / "models" / name, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, seeded)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(keras.src.backend.config, "_KERAS_DIR", str(tmp_path))
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and access(path, mode))
    model = backbone.build("MobileNetV2", 96, 0.35)
    try:
        weights.load_imagenet(model, "MobileNetV2", 96, 0.35)
    finally:
        Path("/tmp/.keras/models", name).unlink(missing_ok=True)
    assert weights.digest(weights.to_arrays(model)) == weights.digest(weights.to_arrays(seeded))


def test_efficientnet_with_imagenet_weights_computes_what_keras_does_with_its_extra_rescaling(
    monkeypatch, tmp_path
):
    """Keras' own loader runs here, on a file of ours in place of the one it would download."""
    file = tmp_path / "efficientnetb0_notop.weights.h5"
    monkeypatch.setattr(keras.src.utils.file_utils, "get_file", lambda *_, **__: str(file))
    untrained = backbone.build("EfficientNetB0", 64, seed=5)
    normalization = untrained.get_layer("normalization")
    normalization.adapt_mean.assign([0.485, 0.456, 0.406])
    normalization.adapt_variance.assign([0.229, 0.224, 0.225])
    untrained.save_weights(file)
    theirs = keras.applications.EfficientNetB0(False, weights="imagenet", input_shape=(64, 64, 3))
    assert len(theirs.layers) == len(untrained.layers) + 1
    enliven(theirs, images(64, count=8, seed=1))
    theirs.save_weights(file)

    model = backbone.build("EfficientNetB0", 64)
    weights.load_imagenet(model, "EfficientNetB0", 64)

    expected = theirs(images(64), training=False).numpy()
    assert expected.std() > 0.1
    close = 1e-4 * np.abs(expected).max()
    np.testing.assert_allclose(model(images(64), training=False), expected, atol=close)
    copy = backbone.build("EfficientNetB0", 64, seed=9)
    weights.from_arrays(copy, weights.to_arrays(model))
    np.testing.assert_allclose(copy(images(64), training=False), expected, atol=close)


def test_arrays_of_a_tail_are_named_as_in_the_whole_network():
    model = backbone.build("MobileNetV2", 64)
    everything = weights.to_arrays(model)
    trunk, tail = graph.split(model, graph.find_cut(model, 116))
    assert set(weights.to_arrays(trunk)) | set(weights.to_arrays(tail)) == set(everything)
    assert not set(weights.to_arrays(trunk)) & set(weights.to_arrays(tail))


@pytest.mark.parametrize("spoil", ["missing", "shape"])
def test_arrays_of_another_network_are_refused_and_nothing_is_set(spoil):
    model = backbone.build("MobileNetV2", 32)
    before = weights.to_arrays(model)
    arrays = {path: values + 1 for path, values in before.items()}
    last = model.weights[-1].path
    if spoil == "missing":
        del arrays[last]
    else:
        arrays[last] = arrays[last][:-1]
    with pytest.raises(BadData, match=last):
        weights.from_arrays(model, arrays)
    assert weights.digest(weights.to_arrays(model)) == weights.digest(before)


def test_the_digest_changes_with_one_bit_of_one_weight():
    arrays = weights.to_arrays(backbone.build("MobileNetV2", 32))
    before = weights.digest(arrays)
    path = next(iter(arrays))
    arrays[path].view(np.uint8).reshape(-1)[0] ^= 1
    assert weights.digest(arrays) != before
