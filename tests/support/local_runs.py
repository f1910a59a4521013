"""Builders for tests of the command line: views, events, job files, and `finetune` as a process."""

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from finetune_api.events import EpochEvent, TrainerReport
from finetune_api.progress import Progress
from finetune_api.reported import StageFacts
from finetune_api.v1alpha1 import FineTuneJobStatus
from finetune_cli.folder import LocalFolder
from finetune_cli.view import RunView

STARTED = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


def view(**changes: Any) -> RunView:
    """A run of two stages on two workers that has just been started."""
    stages = (
        StageFacts("head", epochs=2, learning_rate=0.0, trainable_parameters=12810, trains="the head alone"),
        StageFacts("finetune", 3, 0.001, 2_657_194, trains="above block5b_add"),
    )
    values = {"name": "digits", "namespace": "default", "backbone": "EfficientNetLite0", "workers": 2}
    return RunView(**{**values, "stages": stages, "started": STARTED, **changes})


def epoch(stage: int, number: int, val_accuracy: float | None = 0.5, **changes: Any) -> EpochEvent:
    """One finished epoch, `number` counted from 0."""
    values = {
        "stage": stage,
        "stage_name": ("head", "finetune")[stage],
        "epoch": number,
        "global_step": 10 * (number + 1),
        "loss": 0.25,
        "accuracy": 0.75,
        "val_loss": 0.5,
        "val_accuracy": val_accuracy,
        "learning_rate": 0.001,
        "seconds": 1.5,
    }
    return EpochEvent(**{**values, **changes})


def progress(**changes: Any) -> Progress:
    """Worker 0 in the first epoch of the first stage."""
    values = {
        "generation": 1,
        "phase": "Step",
        "stage": 0,
        "num_stages": 2,
        "stage_name": "head",
        "epoch": 1,
        "epochs": 2,
        "step": 3,
        "steps_per_epoch": 10,
        "global_step": 3,
        "percent": 6,
        "workers_ready": 2,
        "workers": 2,
    }
    return Progress(**{**values, **changes})


def published(uri: str = "/models/default/digits/model/1") -> TrainerReport:
    """What worker 0 leaves behind after the commit."""
    result = {"result": "Published", "model_uri": uri, "version": 1}
    return TrainerReport(exit_code=0, result=result)


def job(folder: Path, **spec: Any) -> dict[str, Any]:
    """A FineTuneJob that trains the images in `folder`/images with random weights."""
    return {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "small"},
        "spec": {
            "workers": 2,
            "model": {"backbone": "MobileNetV2", "weights": "none", "imageSize": 32, "alpha": 0.35},
            "data": {"train": str(folder / "images"), "validation": {"split": 0.25}},
            "globalBatchSize": 4,
            "schedule": "HeadOnly",
            "output": {"uri": str(folder / "models")},
            **spec,
        },
    }


@dataclass(frozen=True)
class Ended:
    """A `finetune` process that has ended."""

    code: int
    out: str
    err: str


def finetune(
    *arguments: str, home: Path, env: Mapping[str, str] | None = None, timeout: float = 120
) -> Ended:
    """Run the command as a process, its local folders below `home`; `env` goes over the environment."""
    ended = subprocess.run(
        [sys.executable, "-m", "finetune_cli", *arguments],
        env={**environment(home), **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def refused(ended: Ended, home: Path, code: int, *phrases: str) -> str:
    """Check everything that holds for any refusal; its reason."""
    assert ended.code == code, ended
    assert ended.err.startswith("error: ")
    assert ended.err.count("error: ") == 1
    assert "Traceback" not in ended.out + ended.err
    for phrase in phrases:
        assert phrase in ended.err
    (status_file,) = home.glob("*/**/status.yaml")
    status = FineTuneJobStatus.model_validate(yaml.safe_load(status_file.read_text()))
    report = TrainerReport.model_validate_json(LocalFolder(status_file.parent).termination(0).read_bytes())
    assert status.phase == "Failed"
    assert status.last_failure is not None
    assert (report.exit_code, status.last_failure.exit_code) == (code, code)
    assert report.reason == status.last_failure.reason
    assert report.message is not None
    assert report.reason is not None
    assert report.message in ended.err
    return report.reason


def environment(home: Path) -> dict[str, str]:
    """The environment of a `finetune` process; nothing of the user's own runs or credentials."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("FINETUNE_", "AWS_"))}
    paths = f"{ROOT / 'operator'}{os.pathsep}{ROOT / 'trainer_image'}"
    return {**ours, "FINETUNE_HOME": str(home), "PYTHONPATH": paths, "COLUMNS": "120"}


def png(width: int = 8, height: int = 8, grey: int = 128) -> bytes:
    """A grey PNG; made row by row, so that a huge one needs no memory."""
    packed = zlib.compressobj(9)
    row = b"\0" + bytes([grey]) * width
    body = b"".join(packed.compress(row) for _ in range(height)) + packed.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def write_images(folder: Path, classes: int = 2, each: int = 8) -> Path:
    """`folder`/images with `classes` classes of `each` grey images."""
    for label in range(classes):
        place = folder / "images" / f"class{label}"
        place.mkdir(parents=True)
        for number in range(each):
            (place / f"{number}.png").write_bytes(png(grey=(100 * label + 5 * number) % 256))
    return folder / "images"


def write_job(folder: Path, document: dict[str, Any]) -> Path:
    """`document` as a job file in `folder`."""
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    return path
