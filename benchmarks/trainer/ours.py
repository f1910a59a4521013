"""Side B: the same stage as a FineTuneJob through `finetune run`, timed by the events in worker 0's log."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.trainer import initial
from benchmarks.trainer.settings import FIRST_TRAINED, Run, Settings
from finetune_api.events import (
    EVENT,
    EpochEvent,
    Event,
    FirstStepEvent,
    PhaseEvent,
)

LIMIT_SECONDS = 1800
UNFREEZE: dict[str, dict[str, object]] = {
    "frozen": {"blocks": 0},
    "top": {"fromLayer": FIRST_TRAINED},
    "everything": {"all": True},
}
PARTS = {
    "Start": "joining the strategy, plan",
    "Data": "listing and inspecting images",
    "Features": "decoding, pass through the trunk",
    "Build": "building and tracing",
    "Step": "training steps",
    "Evaluate": "validation",
    "Save": "saving",
    "Barrier": "waiting for peers",
}


@dataclass(frozen=True)
class Seen:
    """An event with the wall clock when the supervisor read it."""

    at: float
    event: Event


def job(settings: Settings, output: Path) -> dict[str, object]:
    """The FineTuneJob that does what the tutorial's recipe does."""
    stage = {
        "name": settings.mode,
        "unfreeze": UNFREEZE[settings.mode],
        "epochs": settings.epochs,
        "learningRate": settings.learning_rate,
        "optimizer": {"name": "Adam"},
        "lrSchedule": {"kind": "Constant"},
        # tf_keras normalises by each replica's own batch: Local is the same thing.
        "batchNorm": "Local" if settings.mode == "everything" else "Frozen",
    }
    model = {
        "backbone": "MobileNetV2",
        "weights": settings.weights,
        "weightsSha256": initial.sha256(settings),
        "imageSize": settings.image_size,
    }
    spec = {
        "workers": settings.workers,
        "model": model,
        "data": {
            "train": settings.train,
            "validation": {"uri": settings.validation},
            "augmentation": {"preset": "None"},
        },
        "globalBatchSize": settings.global_batch_size,
        "seed": settings.seed,
        "stages": [stage],
        "output": {"uri": str(output), "select": "Last"},
    }
    metadata = {"name": f"bench-{settings.mode}"}
    return {"apiVersion": "finetune.dev/v1alpha1", "kind": "FineTuneJob", "metadata": metadata, "spec": spec}


def run(settings: Settings, folder: Path) -> Run:
    """Run the job from nothing: no cache, no checkpoint and no plan of an earlier run.

    Raises:
        RuntimeError: it failed; its output is in `folder`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file = folder / "job.yaml"
    file.write_text(yaml.safe_dump(job(settings, folder / "output"), sort_keys=False))
    environment = os.environ | {"FINETUNE_HOME": str(folder / "home"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    started = time.time()
    with (folder / "run.log").open("wb") as log:
        command = [sys.executable, "-m", "finetune_cli", "run", str(file)]
        code = subprocess.run(
            command, env=environment, stdout=log, stderr=log, timeout=LIMIT_SECONDS
        ).returncode
    ended = time.time()
    if code:
        raise RuntimeError(f"`finetune run` ended with {code}; see {folder / 'run.log'}")
    log_of_chief = next((folder / "home").glob("*/logs/worker-0.log"))
    return _measured(list(events(log_of_chief.read_text())), settings, started, ended)


def events(log: str) -> Iterator[Seen]:
    """The events in a supervisor's log: `<unix time> event {...}`, with generation and role of the process added."""
    for line in log.splitlines():
        match = re.match(r"^(\d+\.\d+) event (\{.*\})$", line)
        if match:
            fields = json.loads(match[2])
            added = {"role"} if fields["event"] == "epoch" else {"role", "generation"}
            event = EVENT.validate_python({name: fields[name] for name in fields.keys() - added})
            yield Seen(float(match[1]), event)


def _measured(seen: list[Seen], settings: Settings, started: float, ended: float) -> Run:
    began = _forked(seen)
    epochs = [(one.at - began, one.event) for one in seen if isinstance(one.event, EpochEvent)]
    last = epochs[-1][1]
    parts = where_time_went(seen, began, began + epochs[-1][0])
    ends = [at for at, _ in epochs]
    return Run(
        side="ours",
        mode=settings.mode,
        epoch_ends=ends,
        validation_seconds=parts.get(PARTS["Evaluate"], 0.0),
        process_seconds=ended - started,
        import_seconds=began - started,
        train_accuracy=last.accuracy,
        val_accuracy=last.val_accuracy or 0.0,
        parts=parts | {"one steady epoch": (ends[-1] - ends[0]) / max(1, len(ends) - 1)},
    )


def _forked(seen: list[Seen]) -> float:
    """When worker 0's training process came to life; TensorFlow and Keras were imported by then."""
    for one in seen:
        if isinstance(one.event, FirstStepEvent):
            return one.at - one.event.seconds
    return seen[0].at


def where_time_went(seen: list[Seen], began: float, ended: float) -> dict[str, float]:
    """Seconds by phase between the two times; what lies before the first phase counts to it."""
    phases = [
        (one.at, one.event.phase) for one in seen if isinstance(one.event, PhaseEvent) and one.at < ended
    ]
    starts = [began, *(at for at, _ in phases[1:]), ended]
    parts: dict[str, float] = {}
    for (_, phase), start, end in zip(phases, starts[:-1], starts[1:], strict=True):
        name = PARTS.get(phase.value, phase.value)
        parts[name] = parts.get(name, 0.0) + end - start
    return parts
