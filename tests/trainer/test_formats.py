"""LiteRT files answer like the trained model; one that does not is left out, and what is said of it is true."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import jobs
import odd_images
import small_networks
from finetune_api import schedule
from finetune_api.dataset import Example
from finetune_api.plan import Facts, Plan
from finetune_store.storage import open_store
from finetune_trainer import export, formats, tflite, weights
from finetune_trainer.channel import Channel
from finetune_trainer.corpus import Corpus
from finetune_trainer.heads import BIAS, KERNEL
from finetune_trainer.questions import Questions

NAME, SIZE, ALPHA = small_networks.NAME, small_networks.SIZE, small_networks.ALPHA
CLASSES = ["cats", "dogs", "größe ☀"]
COUNT = 24
ALL = ("Float32", "Float16", "Int8")


@pytest.fixture(scope="module")
def classifier() -> export.Classifier:
    whole = small_networks.calibrated_backbone()
    kernel = np.random.default_rng(0).normal(0, 0.04, (whole.output.shape[-1], len(CLASSES)))
    head = {KERNEL: kernel.astype(np.float32), BIAS: np.array([0.1, 0, -0.1], np.float32)}
    return export.assemble(plan().resolved, weights.to_arrays(whole) | head, len(CLASSES))


def plan(*quantizations: str, **output: float) -> Plan:
    asked = [{"kind": "TFLite", "quantization": quantization} for quantization in quantizations]
    model = {"model.backbone": NAME, "model.imageSize": SIZE, "model.alpha": ALPHA}
    job = jobs.resolved(
        {**model, "output.formats": [{"kind": "SavedModel"}, *asked]}
        | {f"output.{key}": value for key, value in output.items()}
    )
    facts = Facts(
        num_train=COUNT,
        num_validation=0,
        classes=CLASSES,
        class_counts=[COUNT // 3] * 3,
        dataset_digest="0" * 64,
        input_bytes=1,
        cut_bytes=[1] * len(job.stages),
        device="CPU",
        threads=1,
    )
    return schedule.plan(job, facts)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return small_networks.photographs(COUNT)


@pytest.fixture(scope="module")
def trained(classifier: export.Classifier, pixels: np.ndarray) -> np.ndarray:
    """The trained model's own answers."""
    return classifier.probabilities(classifier.features(tf.constant(pixels))).numpy()


@pytest.fixture(scope="module")
def files(classifier: export.Classifier, pixels: np.ndarray, tmp_path_factory) -> dict[str, bytes]:
    scratch = tmp_path_factory.mktemp("scratch")
    made = {kind: tflite.convert(classifier, kind, list(pixels), scratch) for kind in ALL}
    assert not list(scratch.iterdir()), "something is left in the scratch folder"
    return made


@pytest.fixture(scope="module")
def images(tmp_path_factory, trained: np.ndarray) -> Corpus:
    """The same pictures as files, one of which cannot be decoded; their labels are what the model says of them."""
    folder = tmp_path_factory.mktemp("images")
    for number in range(COUNT):
        (folder / f"{number:02}.png").write_bytes(
            odd_images.encoded(odd_images.picture(number, SIZE, SIZE), "PNG")
        )
    (folder / "99.jpg").write_bytes(odd_images.truncated())
    labels = [*trained.argmax(axis=1), 0]
    examples = [
        Example(path.name, int(label), 1, None)
        for path, label in zip(sorted(folder.iterdir()), labels, strict=True)
    ]
    store = open_store(str(folder))
    return Corpus(CLASSES, examples, [], store, store)


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Channel]:
    """To nobody; what is told stays in a file."""
    commands, ours = os.pipe()
    events = os.open(tmp_path / "events", os.O_WRONLY | os.O_CREAT)
    yield Channel(events, commands)
    os.close(events)
    del ours  # closing it would end this process, as a supervisor's death ends its training


def warnings_told(folder: Path) -> list[dict[str, str]]:
    events = [json.loads(line) for line in (folder / "events").read_text().splitlines()]
    return [event for event in events if event["event"] == "warning"]


@pytest.mark.parametrize(("kind", "likeness"), [("Float32", 0.999999), ("Float16", 0.999), ("Int8", 0.8)])
def test_a_file_answers_like_the_trained_model(files, trained, pixels, kind, likeness):
    """Integers do badly on random weights; test_s3_run has them on trained ones."""
    assert np.ptp(trained, axis=0).max() > 0.2, "the images are not told apart, so nothing is compared"
    answers = tflite.answers(files[kind], list(pixels))
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=0.02)
    assert np.corrcoef(answers.ravel(), trained.ravel())[0, 1] >= likeness
    if kind == "Float32":
        assert np.abs(answers - trained).max() <= 1e-4


def test_quantization_makes_the_file_smaller(files):
    whole = len(files["Float32"])
    assert len(files["Float16"]) < 0.6 * whole
    assert len(files["Int8"]) < 0.5 * whole


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_pixels_go_in_as_they_are(files, kind):
    file = tf.lite.Interpreter(model_content=files[kind])
    assert file.get_signature_list() == {
        "serving_default": {"inputs": ["image"], "outputs": ["probabilities"]}
    }
    (taken,), (given,) = file.get_input_details(), file.get_output_details()
    assert (taken["dtype"], taken["shape"].tolist()) == (np.uint8, [1, SIZE, SIZE, 3])
    assert taken["quantization"] in ((0.0, 0), (1.0, 0)), "a byte is not what it says"
    assert (given["dtype"], given["shape"].tolist()) == (np.float32, [1, len(CLASSES)])


def test_what_is_asked_for_is_written_and_measured(classifier, images, trained, channel, tmp_path):
    planned = plan("Float16", "Int8", maxAccuracyDrop=0.25)
    said = formats.write(classifier, planned, images, asked(trained), tmp_path / "model", channel)
    assert [form["file"] for form in said] == ["tflite/float16.tflite", "tflite/int8.tflite"]
    for form in said:
        content = (tmp_path / "model" / form["file"]).read_bytes()
        assert (form["kind"], form["images"], form["bytes"]) == ("TFLite", COUNT, len(content))
        assert form["accuracyDrop"] == 1 - form["accuracy"], "the trained model is always right about these"
    assert said[0]["accuracy"] == 1
    assert (tmp_path / "model/tflite/labels.txt").read_text().splitlines() == CLASSES
    assert warnings_told(tmp_path) == []


def test_one_that_loses_too_much_is_left_out_and_the_others_are_not(
    classifier, images, trained, channel, tmp_path
):
    # As if the trained model had been right where it was wrong: the file is what was trained, and so loses.
    others = np.roll(trained, 1, axis=1)
    (said,) = formats.write(
        classifier, plan("Float32"), relabelled(images, others), asked(others), tmp_path / "model", channel
    )
    assert (said["accuracy"], said["accuracyDrop"]) == (0, 1)
    assert said["refused"] == "has an accuracy of 0.0000 on 24 images, the trained model 1.0000"
    assert "file" not in said
    assert [path.name for path in (tmp_path / "model/tflite").iterdir()] == ["labels.txt"]
    (told,) = warnings_told(tmp_path)
    assert told["reason"] == "FormatRefused"
    assert told["message"].startswith("TFLite Float32 is not published: it has an accuracy of 0.0000")
    assert "raise output.maxAccuracyDrop (0.01)" in told["message"]


def test_one_that_cannot_be_converted_does_not_cost_the_model(classifier, images, trained, channel, tmp_path):
    odd = replace(classifier, preprocess=lambda found: tf.math.igamma(found, found))
    (said,) = formats.write(odd, plan("Float32"), images, asked(trained), tmp_path / "model", channel)
    assert said["refused"].startswith("cannot be made: ")
    assert "Igamma" in said["refused"]
    assert [told["reason"] for told in warnings_told(tmp_path)] == ["FormatRefused"]


def test_nothing_is_written_where_nothing_is_asked_for(classifier, images, trained, channel, tmp_path):
    assert formats.write(classifier, plan(), images, asked(trained), tmp_path / "model", channel) == []
    assert not (tmp_path / "model").exists()


def test_a_quantization_that_is_named_twice_is_made_once():
    assert plan("Int8", "Float32", "Int8").resolved.tflite == ["Int8", "Float32"]


def asked(answers: np.ndarray) -> Questions:
    return Questions(False, np.arange(COUNT), answers)


def relabelled(images: Corpus, answers: np.ndarray) -> Corpus:
    labels = [*answers.argmax(axis=1), 0]
    train = [replace(image, label=int(label)) for image, label in zip(images.train, labels, strict=True)]
    return replace(images, train=train)
