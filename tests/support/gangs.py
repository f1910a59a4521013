"""A gang of real supervisor processes in a folder, and what can be seen of it from outside."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar

from actor import Fault
from daemons import free_ports
from finetune_api.contract import CONTRACT_VERSION, Env
from finetune_api.events import TrainerReport
from finetune_api.progress import Progress
from finetune_store.run_folder import RunFolder
from finetune_store.storage import open_store
from waiting import eventually

ROOT = Path(__file__).parents[2]
ACTED = ("-m", "acted_supervisor")
REAL = ("-m", "finetune_supervisor")
T = TypeVar("T")


@dataclass
class Gang:
    """Supervisors by index; `spec` overrides fields of the job's spec."""

    folder: Path
    workers: int = 1
    epochs: int = 3
    faults: Sequence[Fault] = ()
    spec: dict[str, object] = field(default_factory=dict)
    module: Sequence[str] = ACTED
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ports = free_ports(2 * self.workers + 1)
        self.tensorflow, self.http = ports[: self.workers], ports[self.workers : -1]
        self.rendezvous = ports[-1]
        self.job.write_text(json.dumps(self.job_file()))
        (self.folder / "faults.json").write_text(json.dumps([asdict(fault) for fault in self.faults]))
        for index in range(self.workers):
            (self.folder / f"scratch-{index}").mkdir(exist_ok=True)

    @property
    def job(self) -> Path:
        """job.json."""
        return self.folder / "job.json"

    @property
    def run(self) -> RunFolder:
        """The run folder in the output storage."""
        return RunFolder(open_store(str(self.folder / "output")), "default", "actors", "run-1")

    def job_file(self) -> dict[str, object]:
        """A JobFile as JSON."""
        spec = {
            "workers": self.workers,
            "globalBatchSize": 12,
            "model": {"backbone": "MobileNetV2", "imageSize": 96, "weights": "none"},
            "data": {"train": str(self.folder / "images")},
            "stages": [
                {
                    "name": "head",
                    "unfreeze": {"blocks": 0},
                    "epochs": self.epochs,
                    "optimizer": {"name": "SGD"},
                }
            ],
            "output": {"uri": str(self.folder / "output")},
            **self.spec,
        }
        job = {"apiVersion": "finetune.dev/v1alpha1", "kind": "FineTuneJob", "metadata": {"name": "actors"}}
        identity = {"namespace": "default", "name": "actors", "runId": "run-1"}
        return {"contractVersion": CONTRACT_VERSION, **identity, "job": {**job, "spec": spec}}

    def environment(self, index: int, **overrides: str) -> dict[str, str]:
        """What a supervisor is started with."""
        ours: dict[str, str] = {
            Env.JOB: str(self.job),
            Env.INDEX: str(index),
            Env.ADDRESSES: ",".join(f"127.0.0.1:{port}" for port in self.tensorflow),
            Env.RENDEZVOUS: f"127.0.0.1:{self.rendezvous}",
            Env.HTTP: f"127.0.0.1:{self.http[index]}",
            Env.TOKEN: "a secret of this gang",
            Env.SCRATCH: str(self.folder / f"scratch-{index}"),
            Env.TERMINATION: str(self.termination(index)),
            Env.THREADS: "1",
        }
        paths = os.pathsep.join(str(ROOT / part) for part in ("operator", "trainer_image", "tests/support"))
        return {**os.environ, "PYTHONPATH": paths, **ours, **overrides}

    def start(self, *indices: int, **overrides: str) -> "Gang":
        """Starts these supervisors, or all; output goes to one log per index."""
        for index in indices or range(self.workers):
            with self.log_file(index).open("ab") as log:
                self.processes[index] = subprocess.Popen(
                    [sys.executable, *self.module],
                    env=self.environment(index, **overrides),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        return self

    def stop(self) -> None:
        """Kills what still runs."""
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()

    def exit_codes(self, within: float = 60.0) -> list[int]:
        """Exit codes of all supervisors, by index, once they have left."""
        end = time.monotonic() + within
        return [self.processes[index].wait(end - time.monotonic()) for index in sorted(self.processes)]

    def signal(self, index: int, number: signal.Signals) -> None:
        """Sends a signal to a supervisor."""
        self.processes[index].send_signal(number)

    def get(self, index: int, path: str) -> str:
        """The body of a page, or an empty text while the supervisor is not up."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http[index]}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except (OSError, HTTPException):  # the latter when it goes in the middle of its answer
            return ""

    def progress(self, index: int = 0) -> Progress:
        """GET /progress; as at the start while the supervisor is not up."""
        body = self.get(index, "/progress")
        return Progress.model_validate_json(body) if body else Progress()

    def reaches(self, step: int, generation: int = 1, within: float = 30.0) -> Progress:
        """The chief's progress once `generation` has done `step` steps."""

        def there() -> Progress | None:
            seen = self.progress()
            return seen if seen.generation >= generation and seen.global_step >= step else None

        return eventually(there, within, f"step {step} of generation {generation}\n{self.log(0)}")

    def report(self, index: int = 0) -> TrainerReport:
        """The termination report."""
        return TrainerReport.model_validate_json(self.termination(index).read_bytes())

    def termination(self, index: int) -> Path:
        """The termination file."""
        return self.folder / f"termination-{index}.json"

    def log_file(self, index: int) -> Path:
        """What the supervisor and its processes print."""
        return self.folder / f"worker-{index}.log"

    def log(self, index: int) -> str:
        """What has been printed so far."""
        return self.log_file(index).read_text() if self.log_file(index).exists() else ""

    def logged(self, index: int, text: str) -> float:
        """When the supervisor first logged a line with `text`, as Unix seconds."""
        return next(float(line.split()[0]) for line in self.log(index).splitlines() if text in line)

    def events(self, index: int, kind: str) -> list[dict[str, object]]:
        """Events of one kind in the log, each with the time at which the supervisor heard it."""
        lines = (line.partition(" event ") for line in self.log(index).splitlines() if " event {" in line)
        events = [{"time": float(when), **json.loads(said)} for when, _, said in lines]
        return [event for event in events if event["event"] == kind]


def children(pid: int) -> list[int]:
    """Ids of a process's children."""
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listing.read_text().split()]


def training_process(gang: Gang, index: int) -> int:
    """Id of a worker's training process: the child of the zygote."""
    (zygote,) = children(gang.processes[index].pid)
    return eventually(lambda: children(zygote))[0]
