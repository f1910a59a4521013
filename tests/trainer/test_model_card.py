"""The model card says what a reader needs, and nothing in it breaks its tables."""

import pytest

import jobs
from finetune_api import schedule
from finetune_api.events import EpochEvent
from finetune_api.plan import Facts
from finetune_trainer import model_card

DETAILS = {
    "name": "flowers",
    "namespace": "team-a",
    "metrics": {"val_accuracy": 0.98765, "val_loss": 0.1},
    "bestStage": "finetune",
    "bestEpoch": 3,
    "weightsSha256": "ab" * 32,
    "datasetDigest": "cd" * 32,
    "verifiedImages": 256,
    "formats": [{"kind": "SavedModel"}],
    "tensorflow": "2.21.0",
}


def plan(classes: list[str], changes=None):
    job = jobs.resolved(changes)
    facts = Facts(
        num_train=1000,
        num_validation=100,
        classes=classes,
        class_counts=[1000 // len(classes)] * len(classes),
        dataset_digest="cd" * 32,
        input_bytes=10**7,
        cut_bytes=[5120] * len(job.stages),
        device="CPU",
        threads=2,
    )
    return schedule.plan(job, facts)


def epoch(stage: int, number: int, accuracy: float | None) -> EpochEvent:
    return EpochEvent(
        stage=stage,
        stage_name="any",
        epoch=number,
        global_step=number,
        loss=0.5,
        accuracy=0.9,
        val_accuracy=accuracy,
        learning_rate=0.001,
        seconds=1.0,
    )


def test_how_it_was_trained_is_told() -> None:
    stage = jobs.TOP | {
        "optimizer": {"name": "Lion"},
        "lrSchedule": {"kind": "Plateau"},
        "loss": {"focalGamma": 2, "labelSmoothing": 0.1},
    }
    changes = {"stages": [stage], "data.classWeights": "Balanced", "model.head": {"hidden": [256, 64]}}
    told = model_card.render(plan(["daisy", "rose"], changes), [], DETAILS)
    assert "| Lion | 1e-05, Plateau | focal, gamma 2, labels smoothed by 0.1 |" in told
    assert "hidden layers of 256, 64 units" in told
    assert "inverse of their share" in told


def test_other_formats_are_told_with_what_they_cost() -> None:
    made = {"kind": "TFLite", "quantization": "Float16", "file": "tflite/float16.tflite", "bytes": 12345}
    left = {"kind": "TFLite", "quantization": "Int8", "refused": "has an accuracy of 0.5000 on 4 images"}
    measured = {"accuracy": 0.75, "accuracyDrop": 0.0, "images": 4}
    forms = [
        {"kind": "SavedModel"},
        made | measured,
        left | measured | {"accuracy": 0.5, "accuracyDrop": 0.25},
    ]
    told = model_card.render(plan(["daisy", "rose"]), [], DETAILS | {"formats": forms})
    assert "| Float16 | `tflite/float16.tflite` | 12,345 | 0.7500 | 0.0000 |" in told
    assert "| Int8 | left out: it has an accuracy of 0.5000 on 4 images | - | 0.5000 | 0.2500 |" in told
    assert 'Interpreter("model/VERSION/tflite/float16.tflite")' in told
    assert "uint8 [1, 224, 224, 3]" in told


def test_the_card_of_a_saved_model_alone_says_nothing_of_others(card) -> None:
    assert "TFLite" not in card


@pytest.fixture
def card():
    rows = [epoch(0, 0, 0.91), epoch(0, 1, 0.93), epoch(1, 0, 0.95), epoch(1, 1, 0.98765)]
    return model_card.render(plan(["daisy", "rose"]), rows, DETAILS)


@pytest.mark.parametrize(
    "said",
    [
        "# flowers",
        "Tells 2 classes of images apart. Fine-tuned from MobileNetV2.",
        'tf.saved_model.load("model/VERSION")',
        "| val_accuracy | 0.9877 |",
        "From stage `finetune`, epoch 4.",
        "asked about 256 encoded images",
        "| daisy | 500 |",
        "10% of each class set aside by hash",
        "| 0.9300 |",
        "| initial weights | `imagenet` |",
        "EXIF rotation is **not** applied",
        "team-a/flowers, TensorFlow 2.21.0",
    ],
)
def test_the_card_says(card, said):
    assert said in card


def test_a_model_without_validation_has_a_card():
    job = {"data.validation": {"none": True}, "output.select": "Last"}
    details = DETAILS | {"metrics": {"accuracy": 0.5}, "bestStage": None, "bestEpoch": None}
    card = model_card.render(plan(["a", "b"], job), [epoch(0, 0, None)], details)
    assert "From stage" not in card
    assert "| accuracy | 0.5000 |" in card


def test_a_class_may_be_called_anything():
    card = model_card.render(plan(["a | b\n## c", "größe ☀"]), [], DETAILS)
    assert "| a \\| b ## c | 500 |" in card
    assert "| größe ☀ | 500 |" in card


def test_a_thousand_classes_do_not_make_a_thousand_lines():
    card = model_card.render(plan([f"class {i}" for i in range(1000)]), [], DETAILS)
    assert "and 950 more" in card
    assert card.count("\n") < 150
