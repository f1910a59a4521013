"""The floor: a script that applies ConfigMap, Service and Indexed Job, and no operator at all."""

import time

from api_client import Body
from benchmarks.operator import bed
from benchmarks.operator.audit import Tally
from benchmarks.operator.processes import cost
from benchmarks.operator.settings import Cell, Run
from finetune_api import yaml_loader
from finetune_operator.manifests import children
from finetune_operator.settings import Settings

PLURALS = {"ConfigMap": "configmaps", "Service": "services", "Job": "jobs"}


def run(cell: Cell) -> Run:
    """Once, on a control plane of its own."""
    with bed.control_plane_for(cell.limits) as plane:
        groups = [_objects(one) for one in bed.documents(cell, bed.namespaces(plane))]
        script = bed.Script(plane)
        tally = Tally(plane.layout.audit_log, since=plane.audit_mark())
        before, began = cost(plane.controller_manager.pid), time.time()
        script.apply(groups)
        submitted = time.time()
        bed.until_created(tally, cell)
        bed.until(lambda: not bed.any_left(plane, "jobs", "status.successful=0"), cell, "all jobs over")
        finished = time.time()
        bed.until_quiet(tally, cell)
        after = cost(plane.controller_manager.pid)
    manager_seconds = after.cpu_seconds - before.cpu_seconds
    return Run(
        side="bare",
        cell=cell,
        created=tally.last_pod - began,
        finished=finished - began,
        submitted=submitted - began,
        cpu_seconds=manager_seconds,
        manager_cpu_seconds=manager_seconds,
        peak_rss_bytes=after.peak_rss_bytes,
        writes=dict(tally.writes),
        events=dict(tally.events),
        leases=dict(tally.leases),
    )


def _objects(document: Body) -> list[tuple[str, Body]]:
    """What the operator would make of this job but for the NetworkPolicy, owned by nobody."""
    job = yaml_loader.parse_job(document, "job")
    namespace = document["metadata"]["namespace"]
    made = children(job, f"uid-of-{job.metadata.name}", namespace, Settings())
    return [(PLURALS[kind], _alone(body)) for kind, body in made.items() if kind in PLURALS]


def _alone(body: Body) -> Body:
    metadata = {key: value for key, value in body["metadata"].items() if key != "ownerReferences"}
    return {**body, "metadata": metadata}
