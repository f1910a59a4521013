"""Our side: a script applies FineTuneJobs, the operator does the rest."""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import api_users
from benchmarks.operator import bed
from benchmarks.operator.audit import Tally
from benchmarks.operator.processes import cost
from benchmarks.operator.settings import OPERATOR, Cell, Limits, Run
from control_plane import ControlPlane
from daemons import Daemon
from finetune_operator import rbac
from finetune_operator.settings import Settings

CRD = Path(__file__).parents[2] / "operator/crds/finetunejobs.finetune.dev.yaml"
HOME = "default"
SETTINGS: dict[Limits, dict[str, Any]] = {
    "default": {},
    "raised": {"client": {"qps": 1000.0, "burst": 2000}},
}


def run(cell: Cell, rest_seconds: float) -> Run:
    """Once, on a control plane of its own; `rest_seconds` of doing nothing are measured at the end."""
    with bed.control_plane_for(cell.limits) as plane, _operator(plane, cell) as operator:
        groups = [[("finetunejobs", one)] for one in bed.documents(cell, bed.namespaces(plane))]
        script = bed.Script(plane)
        tally = Tally(plane.layout.audit_log, since=plane.audit_mark())
        before, manager, began = cost(operator.pid), cost(plane.controller_manager.pid), time.time()
        script.apply(groups)
        submitted = time.time()
        bed.until_created(tally, cell)
        bed.until(
            lambda: not bed.any_left(plane, "finetunejobs", "status.phase!=Complete"), cell, "all Complete"
        )
        finished = time.time()
        bed.until_quiet(tally, cell)
        after, manager_after = cost(operator.pid), cost(plane.controller_manager.pid)
        resting = _rest(plane, rest_seconds)
    return Run(
        side="ours",
        cell=cell,
        created=tally.last_pod - began,
        finished=finished - began,
        submitted=submitted - began,
        cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        manager_cpu_seconds=manager_after.cpu_seconds - manager.cpu_seconds,
        peak_rss_bytes=after.peak_rss_bytes,
        writes=dict(tally.writes),
        events=dict(tally.events),
        leases=dict(tally.leases),
        resting=resting.writes[OPERATOR] * 60 / rest_seconds,
        resting_requests=resting.requests[OPERATOR] * 60 / rest_seconds,
    )


def _rest(plane: ControlPlane, seconds: float) -> Tally:
    tally = Tally(plane.layout.audit_log, since=plane.audit_mark())
    time.sleep(seconds)
    return tally.read()


@contextmanager
def _operator(plane: ControlPlane, cell: Cell) -> Iterator[Daemon]:
    """A process of its own with the roles that ship, synced and leading."""
    plane.apply_crd(CRD)
    settings = Settings.model_validate(SETTINGS[cell.limits])
    kubeconfig = plane.user(OPERATOR, rbac.rules(settings))
    api_users.grant(plane.api, OPERATOR, rbac.LEASE, [HOME])
    config = plane.layout.folder / "operator.json"
    config.write_text(json.dumps({"http": {"host": "127.0.0.1", "port": 0}, **SETTINGS[cell.limits]}))
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "finetune_operator",
        "--config",
        config,
        "--kubeconfig",
        kubeconfig,
    ]
    path = os.pathsep.join(sys.path)
    log = plane.layout.folder / "operator.log"
    operator = Daemon(command, log, {"PYTHONPATH": path, "POD_NAMESPACE": HOME, "POD_NAME": "bench"})
    operator.start()
    try:
        bed.until(lambda: '"synced"' in log.read_text(), cell, "operator synced")
        yield operator
    finally:
        operator.stop()
