"""What a job says of rates, augmentation and classes, and what is filled in."""

from typing import Any

import pytest

import jobs

TOP = jobs.TOP


@pytest.mark.parametrize(
    ("lr_schedule", "epochs", "expected"),
    [
        ({"kind": "Cosine"}, 9, None),
        ({"kind": "Step"}, 9, (0.1, 3, None)),
        ({"kind": "Step"}, 2, (0.1, 1, None)),
        ({"kind": "Step", "factor": 0.5, "everyEpochs": 4}, 9, (0.5, 4, None)),
        ({"kind": "Plateau"}, 9, (0.1, 2, "val_loss")),
        ({"kind": "Plateau", "metric": "accuracy", "patience": 5}, 9, (0.1, 5, "accuracy")),
    ],
)
def test_when_a_rate_falls(
    lr_schedule: dict[str, Any], epochs: int, expected: tuple[float, int, str | None] | None
) -> None:
    (found,) = jobs.resolved({"stages": [TOP | {"epochs": epochs, "lrSchedule": lr_schedule}]}).stages
    drop = found.rate_drop
    assert (drop and (drop.factor, drop.epochs, drop.metric)) == expected
    assert found.warmup_epochs == int(lr_schedule["kind"] == "Cosine")


def test_a_plateau_without_validation_is_one_of_the_training_loss() -> None:
    changes = {"data.validation": {"none": True}, "output.select": "Last"}
    job = jobs.resolved(changes | {"stages": [TOP | {"lrSchedule": {"kind": "Plateau"}}]})
    assert job.stages[0].rate_drop
    assert job.stages[0].rate_drop.metric == "loss"


@pytest.mark.parametrize(
    ("augmentation", "name", "changes"),
    [
        ({"preset": "None"}, "None", set()),
        ({}, "Light", {"Flip", "Shift", "Zoom", "Brightness", "Contrast"}),
        (
            {"preset": "Strong"},
            "Strong",
            {"Flip", "Shift", "Zoom", "Rotate", "Brightness", "Contrast", "Saturation", "Erase"},
        ),
        ({"preset": "None", "transforms": [{"name": "Rotate", "amount": 0.5}]}, "Custom", {"Rotate"}),
    ],
)
def test_an_augmentation_is_its_transforms(
    augmentation: dict[str, Any], name: str, changes: set[str]
) -> None:
    job = jobs.resolved({"data.augmentation": augmentation})
    assert (job.augmentation, set(job.transforms)) == (name, changes)
    assert job.views == (4 if changes else 1)


def test_class_weights_are_kept() -> None:
    assert jobs.resolved({}).class_weights == "None"
    assert jobs.resolved({"data.classWeights": "Balanced"}).class_weights == "Balanced"
