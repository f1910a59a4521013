"""Real trainings for tests: real images, real processes, and what they leave behind."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from finetune_api.contract import CONTRACT_VERSION, ExitCode
from finetune_api.events import EVENT, ChunkEvent, EpochEvent, Event, JobFile, Phase, Role, TrainRequest
from finetune_cli import ports
from finetune_store.checkpoint import CheckpointStore
from finetune_store.run_folder import RunFolder
from finetune_store.storage import open_store
from finetune_trainer.state import RunState
from waiting import eventually

NAME, NAMESPACE, RUN = "digits", "default", "run"


@dataclass(frozen=True)
class Training:
    """A finished training."""

    codes: list[int]
    events: list[list[Event]]
    """Of each worker."""
    output: Path

    def of(self, kind: type[Any], worker: int = 0) -> list[Any]:
        """Events of one kind."""
        return [event for event in self.events[worker] if isinstance(event, kind)]

    @property
    def losses(self) -> list[float]:
        """Of each chunk."""
        chunks: list[ChunkEvent] = self.of(ChunkEvent)
        return [chunk.loss for chunk in chunks]

    @property
    def epochs(self) -> list[EpochEvent]:
        """Rows of metrics.csv."""
        return self.of(EpochEvent)

    def state(self) -> RunState:
        """Of the last checkpoint."""
        run = RunFolder(open_store(str(self.output)), NAMESPACE, NAME, RUN)
        store = CheckpointStore(run, self.output / "read", keep=100)
        newest = store.newest()
        assert newest is not None
        return RunState.from_checkpoint(*store.load(newest.id))


def write_digits(folder: Path, count: int, side: int = 96) -> Path:
    """`count` of scikit-learn's handwritten digits as `folder`/<digit>/<number>.png."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (scan, digit) in enumerate(zip(digits.images[:count], digits.target, strict=False)):
        file = folder / str(digit) / f"{number:04d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        grey = Image.fromarray(np.uint8(np.round(scan * (255.0 / 16.0))))
        grey.resize((side, side), Image.Resampling.BICUBIC).convert("RGB").save(file)
    return folder


def job(images: Path, output: Path, workers: int, **spec: Any) -> dict[str, Any]:
    """A FineTuneJob on EfficientNetLite0 with ImageNet weights at 96 pixels."""
    return {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "workers": workers,
            "model": {"backbone": "EfficientNetLite0", "weights": "imagenet", "imageSize": 96},
            "data": {"train": str(images), "validation": {"split": 0.2}, "augmentation": {"preset": "None"}},
            "globalBatchSize": 48,
            "output": {"uri": str(output)},
            **spec,
        },
    }


def train(
    document: Mapping[str, Any],
    folder: Path,
    *flags: str,
    checkpoint: str | None = None,
    role: Role = Role.TRAIN,
) -> Training:
    """Run the job's workers as processes until all have ended."""
    workers = document["spec"]["workers"]
    folder.mkdir(parents=True, exist_ok=True)
    job_file = folder / "job.json"
    file = JobFile(
        contract_version=CONTRACT_VERSION, namespace=NAMESPACE, name=NAME, run_id=RUN, job=dict(document)
    )
    job_file.write_text(file.model_dump_json(by_alias=True))
    addresses = [f"127.0.0.1:{port}" for port in ports.free_ports(workers, random.Random())]
    processes = []
    for index in range(1 if role is not Role.TRAIN else workers):
        request = TrainRequest(
            role=role,
            generation=1,
            job_path=str(job_file),
            index=index,
            addresses=addresses if role is Role.TRAIN else addresses[:1],
            checkpoint=checkpoint,
            scratch=str(folder / f"scratch-{index}"),
            threads=1,
        )
        (folder / f"request-{index}.json").write_text(request.model_dump_json(by_alias=True))
        processes.append(_start(folder, index, flags))
    try:
        codes = [_end(process, folder / f"events-{index}.jsonl") for index, process in enumerate(processes)]
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()
    events = [_events(folder / f"events-{index}.jsonl") for index in range(len(processes))]
    return Training(codes, events, Path(document["spec"]["output"]["uri"]))


def largest_difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    """The largest absolute difference between two sets of arrays of the same names."""
    assert ours.keys() == theirs.keys()
    return max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours)


def _end(process: subprocess.Popen[bytes], events: Path) -> int:
    """Its exit status. Who has a result and stays for the chief's sake is ended, as a supervisor does it."""
    eventually(
        lambda: process.poll() is not None or _stays(events), within=300.0, what=f"the end of {events}"
    )
    if process.poll() is not None:
        return process.returncode
    process.kill()
    process.wait()
    return ExitCode.OK


def _stays(events: Path) -> bool:
    """Whether a worker has told its result, and then that it waits for its peers."""
    _, result, after = (events.read_text() if events.exists() else "").rpartition('"event":"result"')
    return bool(result) and f'"phase":"{Phase.BARRIER}"' in after


def _start(folder: Path, index: int, flags: tuple[str, ...]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "ignore", "-m", "gang_member", f"{folder}/request-{index}.json"]
    with (folder / f"log-{index}.txt").open("wb") as log:
        return subprocess.Popen(
            [*command, f"{folder}/events-{index}.jsonl", *flags],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _events(file: Path) -> list[Event]:
    return [EVENT.validate_python(json.loads(line)) for line in file.read_text().splitlines()]
