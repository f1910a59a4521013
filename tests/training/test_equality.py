"""Any number of workers gives the same run, and a feature cache changes nothing but the time."""

from pathlib import Path
from typing import Any

import pytest

import trainings
from finetune_api.events import CacheEvent
from trainings import Training

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("keras_home")]

# Gentle enough that rounding is not amplified: an activation that crosses zero in one run and not in the other
# changes a gradient by a finite amount, and momentum makes much of it.
STAGES: list[dict[str, Any]] = [
    {
        "name": "finetune",
        "unfreeze": {"blocks": 2},
        "epochs": 3,
        "learningRate": 0.05,
        "optimizer": {"name": "SGD", "momentum": 0.0, "clipNorm": 1.0},
        "lrSchedule": {"kind": "Constant"},
    }
]


def document(digits: Path, output: Path, workers: int, **spec: Any) -> dict[str, Any]:
    """Head and two top blocks, augmentation and dropout on."""
    return trainings.job(
        digits,
        output,
        workers,
        **{
            "model": {
                "backbone": "EfficientNetLite0",
                "weights": "imagenet",
                "imageSize": 96,
                "head": {"dropout": 0.2},
            },
            "data": {
                "train": str(digits),
                "validation": {"split": 0.2},
                "augmentation": {"preset": "Light", "views": 2},
            },
            "stages": STAGES,
            **spec,
        },
    )


@pytest.fixture(scope="module")
def alone(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """The run on one worker, cached."""
    folder = tmp_path_factory.mktemp("alone")
    return trainings.train(document(digits, folder / "models", 1), folder, "--step-by-step")


def test_the_loss_is_at_least_halved(alone: Training) -> None:
    assert alone.codes == [0]
    assert alone.losses[-1] < alone.losses[0] / 2


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_change_nothing(alone: Training, digits: Path, tmp_path: Path, workers: int) -> None:
    together = trainings.train(document(digits, tmp_path / "models", workers), tmp_path, "--step-by-step")
    assert together.codes == [0] * workers
    assert together.losses == pytest.approx(alone.losses, abs=1e-4)
    assert trainings.largest_difference(together.state().weights, alone.state().weights) < 1e-4
    assert [e.val_accuracy for e in together.epochs] == pytest.approx([e.val_accuracy for e in alone.epochs])


def test_nor_with_another_loss_and_every_worker_reports_the_same(digits: Path, tmp_path: Path) -> None:
    stages = [{**STAGES[0], "epochs": 1, "learningRate": 0.01, "loss": {"focalGamma": 2}}]
    data = {"train": str(digits), "validation": {"split": 0.2}, "classWeights": "Balanced"}

    def train(workers: int) -> Training:
        spec = document(digits, tmp_path / f"models-{workers}", workers, stages=stages, data=data)
        return trainings.train(spec, tmp_path / str(workers), "--step-by-step")

    one, two = train(1), train(2)
    losses = [[chunk.loss for chunk in two.of(trainings.ChunkEvent, worker)] for worker in (0, 1)]
    assert losses[0] == losses[1] == pytest.approx(one.losses, abs=1e-4)


def test_the_cache_changes_nothing(alone: Training, digits: Path, tmp_path: Path) -> None:
    spec = {"featureCache": {"mode": "Disabled"}}
    live = trainings.train(document(digits, tmp_path / "models", 1, **spec), tmp_path, "--step-by-step")
    assert live.losses == pytest.approx(alone.losses, abs=1e-6)


def test_a_rounded_cache_changes_next_to_nothing(tmp_path: Path) -> None:
    # Every digit, half of them to judge by: one image more or less is 0.11 points.
    images = trainings.write_digits(tmp_path / "images", 1797)
    spec = {
        "data": {"train": str(images), "validation": {"split": 0.5}, "augmentation": {"preset": "None"}},
        "stages": [{**STAGES[0], "epochs": 1, "learningRate": 0.02}],
    }
    # Room for float16 only: 1,797 images and the cut's 3 x 3 x 192 numbers want 12.4 MB as float32.
    rounded, exact = (
        trainings.train(
            document(
                images, folder / "models", 1, featureCache={"mode": "Enabled", "maxBytes": room}, **spec
            ),
            folder,
            "--step-by-step",
        )
        for folder, room in ((tmp_path / "rounded", "8Mi"), (tmp_path / "exact", "1Gi"))
    )
    (cache,) = rounded.of(CacheEvent)
    assert cache.bytes < 8 * 2**20
    assert rounded.losses == pytest.approx(exact.losses, rel=1e-3)
    assert rounded.epochs[-1].val_accuracy == pytest.approx(exact.epochs[-1].val_accuracy, abs=0.002)


@pytest.mark.parametrize("batch_norm", ["Sync", "Local"])
def test_statistics_of_two_workers_are_those_of_one(digits: Path, tmp_path: Path, batch_norm: str) -> None:
    stages = [{**STAGES[0], "epochs": 1, "batchNorm": batch_norm}]
    one, two = (
        trainings.train(document(digits, tmp_path / str(n) / "models", n, stages=stages), tmp_path / str(n))
        for n in (1, 2)
    )
    ours, theirs = two.state().weights, one.state().weights
    # Local normalises by half a batch: near, where Sync is the same.
    within = 1e-3 if batch_norm == "Sync" else 0.5
    for name in (name for name in theirs if name.endswith("moving_variance")):
        assert (ours[name] >= 0).all()
        assert ours[name] == pytest.approx(theirs[name], rel=within, abs=1e-3)
