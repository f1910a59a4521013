"""The SavedModel answers what the trainer computes, in a process that knows nothing but TensorFlow."""

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

import jobs
import odd_images
import small_networks
from finetune_api.errors import GaveUp
from finetune_trainer import backbone, export, graph, heads, verify, weights
from finetune_trainer.heads import BIAS, KERNEL
from finetune_trainer.images import VALIDATION, ImageFiles, ImageOptions, Images
from finetune_trainer.trunk import FeatureCut, FrozenBackbone, Trunk

NAME, SIZE, ALPHA = small_networks.NAME, small_networks.SIZE, small_networks.ALPHA
CLASSES = ["cats", "dogs", "größe ☀"]
ODD = odd_images.decodable()
LABELS = np.arange(len(ODD)) % len(CLASSES)
JOB = jobs.resolved(
    {"model.backbone": NAME, "model.imageSize": SIZE, "model.alpha": ALPHA, "model.head.dropout": 0.5}
)
SERVE = """
import json, pathlib, sys
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
contents = [path.read_bytes() for path in sorted(pathlib.Path(sys.argv[2]).iterdir())]
answer = model.signatures["serving_default"](image_bytes=tf.constant(contents))
features = model.signatures["extract_features"](image_bytes=tf.constant(contents))["features"]
print(json.dumps({
    "probabilities": answer["probabilities"].numpy().tolist(),
    "labels": [[name.decode() for name in row] for row in answer["labels"].numpy()],
    "label": [name.decode() for name in answer["label"].numpy()],
    "score": answer["score"].numpy().tolist(),
    "features": features.numpy().tolist(),
    "ours": [name for name in sys.modules if name.split(".")[0].startswith("finetune")],
}))
"""


@pytest.fixture(scope="module")
def whole():
    return small_networks.calibrated_backbone()


@pytest.fixture(scope="module")
def arrays(whole):
    generator = np.random.default_rng(0)
    kernel = generator.normal(0, 0.4, (whole.output.shape[-1], len(CLASSES))).astype(np.float32)
    return weights.to_arrays(whole) | {KERNEL: kernel, BIAS: np.array([0.1, 0, -0.1], np.float32)}


@pytest.fixture(scope="module")
def evaluated(whole, arrays):
    """Features and probabilities of the odd images, computed as the trainer evaluates: from its own rows."""
    files = ImageFiles([odd.name for odd in ODD], {odd.name: odd.contents for odd in ODD}.__getitem__)
    images = Images(files, files, ImageOptions(SIZE, JOB.max_pixels, JOB.transforms, seed=1))
    skeleton = graph.skeleton(NAME, SIZE, ALPHA)
    cut = FeatureCut(graph.find_cut(skeleton, len(skeleton.layers)), pooling="Average")
    trunk = Trunk(FrozenBackbone(lambda: whole, backbone.preprocess(NAME)), [cut], SIZE)
    ((features,),) = trunk(images.load(VALIDATION, np.arange(len(ODD))).pixels)
    logits = features @ arrays[KERNEL] + arrays[BIAS]
    return features, tf.nn.softmax(logits).numpy()


@pytest.fixture(scope="module")
def classifier(arrays):
    return export.assemble(JOB, arrays, len(CLASSES))


@pytest.fixture(scope="module")
def printed():
    """What exporting says on standard output; filled by `saved`."""
    return io.StringIO()


@pytest.fixture(scope="module")
def saved(classifier, printed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "model"
    with contextlib.redirect_stdout(printed):
        export.export(classifier, CLASSES, folder)
    return folder


@pytest.fixture(scope="module")
def served(saved, tmp_path_factory):
    """What a fresh process answers to the odd images, in the order of ODD."""
    folder = tmp_path_factory.mktemp("images")
    for i, odd in enumerate(ODD):
        (folder / f"{i:02} {odd.name}").write_bytes(odd.contents)
    command = [sys.executable, "-c", SERVE, str(saved), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def loaded(saved):
    return tf.saved_model.load(str(saved))


def expected(probabilities) -> verify.Expected:
    return verify.Expected(CLASSES, probabilities, LABELS)


def files():
    return ((odd.name, odd.contents) for odd in ODD)


@pytest.mark.parametrize("row", range(len(ODD)), ids=[odd.name for odd in ODD])
def test_an_odd_image_gets_the_trainer_s_probabilities(served, evaluated, row):
    assert np.abs(np.array(served["probabilities"][row]) - evaluated[1][row]).max() <= 1e-4


def test_the_odd_images_are_told_apart(evaluated):
    """Or the comparison above would say nothing."""
    assert np.ptp(evaluated[1], axis=0).max() > 0.05


def test_features_are_the_trainer_s(served, evaluated):
    np.testing.assert_allclose(served["features"], evaluated[0], atol=1e-4 * np.abs(evaluated[0]).max())


def test_labels_and_score_say_what_the_probabilities_say(served):
    probabilities = np.array(served["probabilities"])
    assert served["labels"] == [CLASSES] * len(ODD)
    assert served["label"] == [CLASSES[i] for i in probabilities.argmax(axis=1)]
    np.testing.assert_allclose(served["score"], probabilities.max(axis=1))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_serving_needs_nothing_of_ours(served):
    assert served["ours"] == []


def test_a_truncated_image_is_refused_not_guessed(loaded):
    with pytest.raises(tf.errors.InvalidArgumentError, match="Invalid JPEG"):
        loaded.signatures["serving_default"](image_bytes=tf.constant([odd_images.truncated()]))


def test_pixels_of_any_size_are_answered_like_files(loaded, evaluated):
    for row, odd in enumerate(ODD[:3]):
        answer = loaded.signatures["predict_pixels"](images=tf.constant(odd.pixels[np.newaxis]))
        assert np.abs(answer["probabilities"].numpy()[0] - evaluated[1][row]).max() <= 1e-4


def test_every_weight_is_written_once(saved, arrays):
    stored = sum(path.stat().st_size for path in (saved / "variables").iterdir())
    assert stored < 1.2 * sum(array.nbytes for array in arrays.values())


def test_export_says_nothing(saved, printed):
    assert printed.getvalue() == ""


def test_the_right_model_is_verified(saved, evaluated):
    found = verify.verify(saved, files(), expected(evaluated[1]))
    assert found.images == len(ODD)
    assert found.largest_difference <= 1e-4
    assert found.accuracy == (evaluated[1].argmax(axis=1) == LABELS).mean()


def test_no_images_verify_that_the_model_loads(saved, evaluated):
    assert verify.verify(saved, [], expected(evaluated[1][:0])).accuracy is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"preprocess": lambda images: images / 255.0}, id="another scale of the pixels"),
        pytest.param({"pooling": "Max"}, id="another pooling"),
    ],
)
def test_a_wrong_export_is_refused(classifier, evaluated, tmp_path, change):
    export.export(replace(classifier, **change), CLASSES, tmp_path / "model")
    with pytest.raises(GaveUp, match="does not answer what the trained one did") as refused:
        verify.verify(tmp_path / "model", files(), expected(evaluated[1]))
    assert refused.value.reason == "ExportMismatch"


def test_classes_in_another_order_are_refused(saved, evaluated):
    with pytest.raises(GaveUp, match="its classes are"):
        verify.verify(saved, files(), replace(expected(evaluated[1]), classes=CLASSES[::-1]))


def test_weights_that_are_not_finite_are_refused(saved, evaluated):
    with pytest.raises(GaveUp, match=r"alpha\.png"):
        verify.verify(saved, files(), expected(np.full_like(evaluated[1], np.nan)))


def test_weights_of_another_model_are_not_assembled(arrays):
    with pytest.raises(KeyError):
        export.assemble(JOB, {KERNEL: arrays[KERNEL]}, len(CLASSES))


def test_a_head_with_hidden_layers_goes_with_its_model(whole, arrays, evaluated, tmp_path):
    width = whole.output.shape[-1]
    job = JOB.model_copy(update={"hidden": [16]})
    head = heads.initial(width, [16], len(CLASSES), seed=4)
    built = export.assemble(job, arrays | head, len(CLASSES))
    export.export(built, CLASSES, tmp_path)
    answer = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](
        image_bytes=tf.constant([odd.contents for odd in ODD])
    )
    inner = np.maximum(evaluated[0] @ head["head_hidden1/kernel"], 0)
    np.testing.assert_allclose(answer["probabilities"], tf.nn.softmax(inner @ head["head/kernel"]), atol=1e-4)
