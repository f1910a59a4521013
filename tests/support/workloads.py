"""Lives of a FineTuneJob that the operator is crashed in: what a user and the pods do, and when it is over.

A life waits for states that last, never for one that a crash could hide.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster_jobs import ClusterJob, report

WITHIN = 45.0
"""Seconds for each state, restarts of the operator included, on a busy machine."""


@dataclass(frozen=True)
class Workload:
    """One life."""

    name: str
    live: Callable[[ClusterJob], None]
    spec: Mapping[str, Any] = field(default_factory=dict)
    """Changes to the job's spec."""


def _start(job: ClusterJob) -> None:
    job.apply()
    _runs(job)


def _runs(job: ClusterJob) -> None:
    job.until(lambda: job.all_run() and job.phase == "Running", "Running workers", WITHIN)


def _finish(job: ClusterJob) -> None:
    job.publish()
    job.until_phase("Complete", within=WITHIN)
    job.until(lambda: _ended(job), "ended Job", WITHIN)


def _ended(job: ClusterJob) -> bool:
    """The Job controller is done too: nothing that it still has to do can differ between two runs."""
    conditions = job.job.get("status", {}).get("conditions", [])
    return any(one["type"] in ("Complete", "Failed") for one in conditions)


def _success(job: ClusterJob) -> None:
    _start(job)
    _finish(job)


def _worker_fails(job: ClusterJob) -> None:
    _start(job)
    lost = job.fate(1, 70, report(70, reason="Internal", message="the supervisor broke"))
    job.until(lambda: job.worker_runs(1, unlike=lost) and job.failure, "a new worker 1 and a failure", WITHIN)
    _runs(job)
    _finish(job)


def _suspend(job: ClusterJob) -> None:
    _start(job)
    job.change(suspend=True)
    job.until(lambda: job.phase == "Suspended" and not job.pods(), "a suspended job without pods", WITHIN)
    job.change(suspend=False)
    _runs(job)
    _finish(job)


def _delete(job: ClusterJob) -> None:
    _start(job)
    job.delete()
    job.until_gone(WITHIN)


def _deadline(job: ClusterJob) -> None:
    _start(job)
    # Not before: a job that is slow to start would end before it runs.
    job.change(activeDeadlineSeconds=1)
    job.until_phase("Failed", within=WITHIN)
    job.until(lambda: _ended(job), "ended Job", WITHIN)


def _ttl(job: ClusterJob) -> None:
    _start(job)
    job.publish()
    job.until_gone(WITHIN)


WORKLOADS = (
    Workload("create to success", _success),
    Workload("worker fails and comes back", _worker_fails),
    Workload("suspend and resume", _suspend),
    Workload("delete while running", _delete),
    Workload("deadline", _deadline),
    Workload("time to live", _ttl, {"ttlSecondsAfterFinished": 1}),
)
