"""The operator as a real process against a control plane, forked from a parent that has imported it already."""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Queue
from typing import Any

from waiting import PATIENCE

NURSERY = Path(__file__).with_name("operator_nursery.py")


class Operator:
    """One operator process; `with` stops it."""

    def __init__(self, pid: int, folder: Path, ended: "Queue[int]") -> None:
        self.pid = pid
        self.folder = folder
        self._ended = ended
        self._status: int | None = None
        self._log = folder / "log"

    def __enter__(self) -> "Operator":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        """Where it serves /metrics, /healthz and /readyz."""
        serving = self.until_logged(lambda line: line.get("message") == "serving")
        return f"http://{serving['host']}:{serving['port']}"

    @property
    def logs(self) -> list[dict[str, Any]]:
        """What it logged so far; text that is no JSON under `text`."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [_parsed(line) for line in lines]

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._status is None and self._ended.empty()

    def until_logged(
        self, found: Callable[[dict[str, Any]], bool], within: float = PATIENCE
    ) -> dict[str, Any]:
        """The first line of the log that is it; AssertionError after `within` seconds or when it ended."""
        deadline = time.monotonic() + within
        while True:
            is_over = not self.running or time.monotonic() > deadline
            if hit := next(filter(found, self.logs), None):
                return hit
            assert not is_over, f"not logged by {self.pid}: {self.logs[-20:]}"
            time.sleep(0.02)

    def until_synced(self, within: float = PATIENCE) -> "Operator":
        """Waits until it has seen the whole world and acts."""
        self.until_logged(lambda line: line.get("message") == "synced", within)
        return self

    def stop(self, within: float = PATIENCE) -> int:
        """SIGTERM; returns the exit status."""
        self._signal(signal.SIGTERM)
        return self.wait(within)

    def kill(self) -> None:
        """SIGKILL; nothing is left when it returns."""
        self._signal(signal.SIGKILL)
        self.wait()

    def freeze(self) -> None:
        """SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def wait(self, within: float = PATIENCE) -> int:
        """The exit status once it has ended, minus the signal that ended it; raises queue.Empty."""
        if self._status is None:
            self._status = self._ended.get(timeout=within)
        return self._status

    def _signal(self, number: int) -> None:
        if self.running:
            os.kill(self.pid, number)


class Nursery:
    """The parent of all operators of this test process."""

    def __init__(self) -> None:
        command = [sys.executable, str(NURSERY)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._started: Queue[int] = Queue()
        self._ends: dict[int, Queue[int]] = {}
        self._one_at_a_time = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="finetune-operators-")
        self._count = 0
        self._listener = threading.Thread(target=self._listen, daemon=True, name="nursery")
        self._listener.start()
        atexit.register(self.close)

    def start(self, arguments: list[str], environment: Mapping[str, str], folder: Path) -> Operator:
        """Forks an operator; its output goes to `folder`/log."""
        request = {"arguments": arguments, "environment": dict(environment), "log": str(folder / "log")}
        with self._one_at_a_time:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            pid = self._started.get(timeout=PATIENCE)
            return Operator(pid, folder, self._ends[pid])

    def folder(self) -> Path:
        """A new folder, kept until this process ends."""
        with self._one_at_a_time:
            self._count += 1
            folder = Path(self._folder.name) / str(self._count)
        folder.mkdir()
        return folder

    def close(self) -> None:
        """Kills every operator."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._listener.join(PATIENCE)
        self._folder.cleanup()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as said_by_nursery:
            for line in said_by_nursery:
                said = json.loads(line)
                if pid := said.get("started"):
                    self._ends[pid] = Queue()
                    self._started.put(pid)
                elif pid := said.get("ended"):
                    self._ends[pid].put(said["status"])


_nursery: list[Nursery] = []
_making = threading.Lock()


def start(
    kubeconfig: Path | None,
    config: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    synced: bool = True,
) -> Operator:
    """An operator process that acts, or is about to when `synced` is False.

    Args:
        kubeconfig: whose permissions it has.
        config: its settings as in the file; HTTP is on a free port of loopback unless said otherwise.
        environment: POD_NAMESPACE and POD_NAME, perhaps.
        synced: wait until it has seen the whole world.
    """
    with _making:
        if not _nursery:
            _nursery.append(Nursery())
    folder = _nursery[0].folder()
    settings = {"http": {"host": "127.0.0.1", "port": 0}, **(config or {})}
    (folder / "config.yaml").write_text(json.dumps(settings))
    arguments = ["--config", str(folder / "config.yaml")]
    arguments += ["--kubeconfig", str(kubeconfig)] if kubeconfig else []
    default = {"POD_NAMESPACE": "default", "POD_NAME": f"operator-{folder.name}"}
    operator = _nursery[0].start(arguments, default | dict(environment or {}), folder)
    return operator.until_synced() if synced else operator


def _parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {"text": line}
    return found if isinstance(found, dict) else {"text": line}
