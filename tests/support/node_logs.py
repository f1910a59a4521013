"""What the workers of a job on real nodes say, read from the nodes' log files while they are written."""

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

_EVENT = re.compile(r"^\S+ std(?:out|err) F (\d+\.\d+) (.*)$")
_EVERY = 0.1


@dataclass(frozen=True)
class Line:
    """One line of a supervisor, with the wall clock time at which it was written."""

    at: float
    pod: str
    text: str
    event: dict[str, Any]
    """What the training process said; empty if this is something else."""

    @property
    def worker(self) -> int:
        """Index of the pod."""
        return int(self.pod.rsplit("-", 2)[-2])


class Logs:
    """Follows every log of a namespace's pods; one that is deleted with its pod has been read before."""

    def __init__(self, nodes: list[Path], namespace: str) -> None:
        self._nodes, self._namespace = nodes, namespace
        self._files: dict[Path, TextIO] = {}
        self._lines: list[Line] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True, name=f"logs of {namespace}")

    def __enter__(self) -> "Logs":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for file in self._files.values():
            file.close()

    @property
    def lines(self) -> list[Line]:
        """So far, in the order of time."""
        return sorted(self._lines, key=lambda line: line.at)

    def events(self, kind: str, worker: int = 0, after: float = 0.0) -> list[Line]:
        """Events of one kind that a worker has told since a time."""
        return [
            line
            for line in self.lines
            if line.worker == worker and line.at > after and line.event.get("event") == kind
        ]

    def tail(self, count: int = 40) -> str:
        """The last lines of everybody, for a message."""
        return "\n".join(f"{line.at:.2f} {line.pod} {line.text[:300]}" for line in self.lines[-count:])

    def _follow(self) -> None:
        while not self._over.wait(_EVERY):
            self._take()
        self._take()

    def _take(self) -> None:
        for path in self._found():
            if path not in self._files:
                self._files[path] = path.open(errors="replace")
        for path, file in self._files.items():
            self._lines += list(_read(path, file))

    def _found(self) -> Iterator[Path]:
        for node in self._nodes:
            yield from node.glob(f"logs/{self._namespace}_*/trainer/*.log")


def _read(path: Path, file: TextIO) -> Iterator[Line]:
    pod = path.parent.parent.name.split("_")[1]
    while True:
        place = file.tell()
        line = file.readline()
        if not line.endswith("\n"):
            file.seek(place)
            return
        if said := _EVENT.match(line.rstrip("\n")):
            text = said[2]
            event = json.loads(text.removeprefix("event ")) if text.startswith("event ") else {}
            yield Line(float(said[1]), pod, text, event)
