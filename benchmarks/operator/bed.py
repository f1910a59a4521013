"""A control plane of its own for each run, and what both sides do on it: apply from a script, and wait."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import control_plane
from api_client import Access, Api, Body, path
from benchmarks.operator.audit import Tally
from benchmarks.operator.settings import EXIT_AFTER, NAMESPACES, READY_AFTER, WORKERS, Cell, Limits
from control_plane import ControlPlane
from control_plane_commands import Options

NODES = 60
THREADS = 8
"""Connections of the script that applies."""
SLOWEST_JOB_SECONDS = 2.0
"""A run that takes longer than this per job, and a minute, is stuck."""
QUIET_SECONDS = 3.0
RAISED = ("--kube-api-qps=1000", "--kube-api-burst=2000", "--concurrent-job-syncs=16")
STOCK = ("--kube-api-qps=20", "--kube-api-burst=30")
REPORT = {
    "generation": 1,
    "exitCode": 0,
    "result": {
        "event": "result",
        "result": "Published",
        "modelUri": "s3://bucket/models/model/1",
        "version": 1,
    },
}


@contextmanager
def control_plane_for(limits: Limits) -> Iterator[ControlPlane]:
    """A fresh one; its Job controller is as shipped but for the limits."""
    options = Options(
        nodes=NODES, job_backoff=None, fairness=False, manager_flags=RAISED if limits == "raised" else STOCK
    )
    with control_plane.running(options) as plane:
        yield plane


def namespaces(plane: ControlPlane) -> list[str]:
    """Fresh ones whose pods run and end by themselves."""
    names = [plane.namespace("bench") for _ in range(NAMESPACES)]
    fate = {
        "ready-after": READY_AFTER,
        "exit-after": EXIT_AFTER,
        "exit-code": "0",
        "exit-message": json.dumps(REPORT),
    }
    for name in names:
        plane.coming_pods(name, {"any": fate})
    return names


def document(name: str, namespace: str) -> Body:
    """A FineTuneJob whose pods are small: nodes must not be the bottleneck."""
    return {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "workers": WORKERS,
            "model": {"backbone": "MobileNetV2", "imageSize": 96},
            "data": {"train": "s3://bucket/flowers/train"},
            "output": {"uri": "s3://bucket/models"},
            "resources": {"limits": {"cpu": "100m", "memory": "256Mi"}},
        },
    }


def documents(cell: Cell, places: Sequence[str]) -> list[Body]:
    """The jobs of a cell, spread over namespaces."""
    return [document(f"job-{number}", places[number % len(places)]) for number in range(cell.jobs)]


class Script:
    """The one who applies: a user of its own, several connections."""

    def __init__(self, plane: ControlPlane) -> None:
        rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
        self._api = Api(Access.read(plane.user("script", rules)), user_agent="script")

    def apply(self, groups: Iterable[Sequence[tuple[str, Body]]]) -> None:
        """Creates every object, in order within a group; objects are given with their plural."""
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(self._create, groups))

    def _create(self, group: Sequence[tuple[str, Body]]) -> None:
        for plural, body in group:
            self._api.create(plural, body["metadata"]["namespace"], body)


def until(true: Callable[[], Any], cell: Cell, what: str, every: float = 0.25) -> None:
    """Looks now and then: rarely enough to cost nothing."""
    deadline = time.monotonic() + 60 + SLOWEST_JOB_SECONDS * cell.jobs
    while not true():
        assert time.monotonic() < deadline, f"{cell}: not {what}"
        threading.Event().wait(every)


def until_created(tally: Tally, cell: Cell) -> None:
    """All pods of all jobs have been created."""
    until(lambda: tally.read().pods_created >= WORKERS * cell.jobs, cell, "all pods created")


def until_quiet(tally: Tally, cell: Cell) -> None:
    """Nobody has written for a while."""
    until(lambda: time.time() - tally.read().quiet_since > QUIET_SECONDS, cell, "at rest")


def any_left(plane: ControlPlane, plural: str, selector: str) -> bool:
    """Whether an object matches the field selector."""
    return bool(plane.api.request("GET", f"{path(plural)}?fieldSelector={selector}&limit=1")["items"])
