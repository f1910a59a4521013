"""The API server's audit log, read as it grows: who wrote what, and when the last pod was created."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

WRITES = ("create", "update", "patch", "delete", "deletecollection")


@dataclass
class Tally:
    """What was seen of the log so far; `read` goes on from there."""

    log: Path
    since: int
    """Byte of the log to begin at."""
    pods_created: int = 0
    last_pod: float = 0.0
    """When the newest pod was created, as a Unix time."""
    quiet_since: float = 0.0
    """When the last write was answered, Leases apart, as a Unix time."""
    writes: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    leases: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    """Everything but watches and Leases."""

    def read(self) -> "Tally":
        """Takes in what was added since."""
        for event in self._new():
            self._count(event)
        return self

    def _new(self) -> Iterator[dict[str, Any]]:
        with self.log.open("rb") as file:
            file.seek(self.since)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self.since += len(line)
                yield json.loads(line)

    def _count(self, event: dict[str, Any]) -> None:
        what, who = event.get("objectRef", {}), client(event)
        if event["stage"] != "ResponseComplete" or event["verb"] == "watch":
            return
        if what.get("resource") == "leases":
            self.leases[who] += event["verb"] in WRITES
            return
        self.requests[who] += 1
        if event["verb"] not in WRITES:
            return
        self.writes[who] += 1
        self.quiet_since = moment(event["stageTimestamp"])
        self.events[who] += what.get("resource") == "events"
        if event["verb"] == "create" and _is_pod(what) and succeeded(event):
            self.pods_created += 1
            self.last_pod = max(self.last_pod, moment(event["stageTimestamp"]))


def _is_pod(what: dict[str, Any]) -> bool:
    """Not a binding or an eviction, which are created below a pod."""
    return what.get("resource") == "pods" and not what.get("subresource")


def client(event: dict[str, Any]) -> str:
    """Who asked: the last part of the user's name, such as job-controller."""
    return str(event["user"]["username"]).rpartition(":")[2]


def succeeded(event: dict[str, Any]) -> bool:
    """Whether the API server said yes."""
    return int(event.get("responseStatus", {}).get("code", 500)) < 300


def moment(stamp: str) -> float:
    """A time of the log as a Unix time."""
    return datetime.fromisoformat(stamp).timestamp()
