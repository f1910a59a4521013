"""A `finetune run` that is alive: what its workers say while they run, and ways to hurt them."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

import local_runs
from finetune_api.contract import Env

Seen = TypeVar("Seen")
SECONDS_BETWEEN_LOOKS = 0.01


@dataclass(frozen=True)
class Said:
    """One event of a worker's log, with the wall clock time at which its supervisor heard it."""

    at: float
    event: dict[str, Any]

    @property
    def generation(self) -> int:
        """Which training process said it."""
        return int(self.event["generation"])


@dataclass(frozen=True)
class Lost:
    """A training process ended, as its supervisor noticed."""

    at: float
    generation: int
    how: str


class LiveRun:
    """`finetune run` of `document` as a process; everything it keeps is below `folder`."""

    def __init__(self, document: dict[str, Any], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.home = folder / "home"
        self._folder = folder
        self.document = document
        self._logs: dict[Path, _Log] = {}
        job = folder / "job.yaml"
        job.write_text(yaml.safe_dump(document))
        self._output = (folder / "output.txt").open("a")
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "finetune_cli", "run", str(job)],
            env={**local_runs.environment(self.home), "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> "LiveRun":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=60)
        self._output.close()

    @property
    def printed(self) -> str:
        """What the command has printed."""
        return (self._folder / "output.txt").read_text()

    def end(self, within: float) -> int:
        """The command's exit status."""
        return self.process.wait(timeout=within)

    def said(self, worker: int, kind: str) -> list[Said]:
        """Events of one kind that a worker's log has so far."""
        return [said for log in self._read(worker) for said in log.said if said.event["event"] == kind]

    def lost(self, worker: int) -> list[Lost]:
        """Ends of training processes on one worker."""
        return [lost for log in self._read(worker) for lost in log.lost]

    def wait(self, look: Callable[[], Seen | None], what: str, within: float = 90.0) -> Seen:
        """The first thing that `look` sees."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if (seen := look()) is not None:
                return seen
            assert self.process.poll() is None, f"ended while waiting for {what}: {self.printed}"
            threading.Event().wait(SECONDS_BETWEEN_LOOKS)
        raise AssertionError(f"no {what} within {within} s: {self.printed}\n{self.logs()}")

    def logs(self) -> str:
        """The last lines of the workers' logs."""
        files = sorted(self.home.glob("*/logs/worker-*.log"))
        return "\n".join(f"{file.name}:\n" + "\n".join(file.read_text().splitlines()[-15:]) for file in files)

    def supervisor(self, worker: int) -> int:
        """Process id of a worker's supervisor."""
        return self.wait(lambda: self._supervisor(worker), f"supervisor {worker}")

    def trainer(self, worker: int) -> int:
        """Process id of a worker's training process: the child of its zygote."""

        def look() -> int | None:
            supervisor = self._supervisor(worker)
            zygotes = _children(supervisor) if supervisor else []
            trainers = [child for zygote in zygotes for child in _children(zygote)]
            return trainers[0] if trainers else None

        return self.wait(look, f"training process of worker {worker}")

    def _supervisor(self, worker: int) -> int | None:
        wanted = f"{Env.INDEX}={worker}".encode()
        for child in _children(self.process.pid):
            try:
                environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if wanted in environment:
                return child
        return None

    def _read(self, worker: int) -> list["_Log"]:
        files = sorted(self.home.glob(f"*/logs/worker-{worker}.log"))
        logs = [self._logs.setdefault(file, _Log(file)) for file in files]
        for log in logs:
            log.read()
        return logs


class _Log:
    """A worker's log, which grows. Each line is read once: whoever looks often takes time from the training."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read_bytes = 0
        self.said: list[Said] = []
        self.lost: list[Lost] = []

    def read(self) -> None:
        """Take in the lines that have come since."""
        with self._file.open("rb") as file:
            file.seek(self._read_bytes)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            stamp, _, text = line.partition(" ")
            if stamp.replace(".", "", 1).isdigit():
                self._take(float(stamp), text)

    def _take(self, at: float, text: str) -> None:
        if text.startswith("event "):
            self.said.append(Said(at, json.loads(text.removeprefix("event "))))
        if text.startswith("generation ") and " ended here: " in text:
            head, how = text.split(" ended here: ", 1)
            self.lost.append(Lost(at, int(head.removeprefix("generation ")), how))


def hurt(process: int, how: signal.Signals) -> float:
    """Send a signal; the wall clock time at which it was sent."""
    os.kill(process, how)
    return time.time()


def _children(process: int) -> list[int]:
    found: list[int] = []
    try:
        for task in Path(f"/proc/{process}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    except OSError:
        return found
    return sorted(found)
