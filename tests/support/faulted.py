"""An operator of its own behind a proxy, and jobs to which everything happens at once while something is broken."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from api_client import ApiError
from api_proxy import ApiProxy
from cluster_jobs import Cluster, ClusterJob, report
from end_states import objects_ever
from fault_rig import NO_LEASE, Rig
from operator_process import Operator
from waiting import eventually

BACK_WITHIN = 15.0
"""Seconds from the end of a fault until everything that changed meanwhile is acted upon."""


class Faulted:
    """One namespace, one proxy, one operator, some jobs."""

    def __init__(self, rig: Rig, namespace: str, proxy: ApiProxy, operator: Operator) -> None:
        self.rig, self.namespace, self.proxy, self.operator = rig, namespace, proxy, operator
        self.jobs: dict[str, ClusterJob] = {}
        self._lost = ""

    def job(self, name: str, changes: dict[str, Any] | None = None) -> ClusterJob:
        """A job of two workers, applied."""
        cluster = Cluster(self.rig.plane, self.rig.view, self.operator)
        self.jobs[name] = cluster.job({"workers": 2, **(changes or {})}, name, self.namespace)
        return self.jobs[name].apply()

    def populate(self) -> None:
        """Jobs that run."""
        for name in ("finishing", "failing", "suspending", "losing", "deleting"):
            self.job(name)
        for job in self.jobs.values():
            job.until_phase("Running")

    def change(self) -> None:
        """Something happens to each of them, and another is new."""
        self.jobs["finishing"].publish()
        self.jobs["failing"].fate(1, 64, report(64, reason="BadJob", message="the job cannot work"))
        self.jobs["suspending"].change(suspend=True)
        self.jobs["deleting"].delete()
        self._lose_a_worker(self.jobs["losing"])
        self.job("new")

    def kill(self) -> None:
        """The operator is gone without a word."""
        self.operator.kill()

    def start(self) -> None:
        """And back."""
        self.operator = self.rig.start(self.namespace, self.proxy)

    def until_changed(self) -> None:
        """The API server knows it all, so that later changes come after."""
        for name, phase in {"finishing": "Succeeded", "failing": "Failed"}.items():
            self._until_pod_is(self.jobs[name], phase)

    def until_watching(self) -> None:
        """The operator has its watches again."""
        eventually(lambda: len(self.proxy.watches) >= 4, BACK_WITHIN)

    def change_once_possible(self) -> None:
        """The same as soon as the API server can write again, whether or not it says that it is ready."""
        eventually(lambda: self._can_write(), BACK_WITHIN)
        self.change()

    def until_acting(self, fault_ended: float, within: float = BACK_WITHIN) -> float:
        """The operator has done its first part of it, which needs nobody else; seconds since the fault's end."""
        acts: dict[str, Callable[[ClusterJob], object]] = {
            "suspending": lambda job: job.job["spec"]["suspend"],
            "new": lambda job: job.job,
            "late": lambda job: job.job["spec"].get("activeDeadlineSeconds"),
        }
        for name in acts.keys() & self.jobs.keys():
            left = max(0.0, fault_ended + within - time.monotonic())
            self.jobs[name].until(partial(acts[name], self.jobs[name]), f"act on {name}", left)
        return time.monotonic() - fault_ended

    def until_caught_up(self, fault_ended: float, within: float = BACK_WITHIN) -> float:
        """All of it is acted upon in time, by the same process and only once; seconds since the fault's end.

        How long the cluster's own controllers take for their part is not the operator's to answer for.
        """
        self.until_acting(fault_ended, within)
        for name, job in self.jobs.items():
            job.until(self._possible(name), f"cluster's part of the {name} job")
        possible = time.monotonic()
        for name in self.jobs:
            left = max(0.0, possible + within - time.monotonic())
            self.jobs[name].until(self._done(name), f"{name} job caught up", left)
        seconds = time.monotonic() - fault_ended
        assert self.operator.running
        ever = objects_ever(self.rig.view, self.namespace)
        assert not [name for name, times in ever.items() if times > 1 and not name.startswith("pods/")]
        return seconds

    def _can_write(self) -> bool:
        with suppress(ApiError):
            self.rig.plane.api.create(
                "configmaps", self.namespace, {"metadata": {"name": "probe"}}, dryRun="All"
            )
            return True
        return False

    def _lose_a_worker(self, job: ClusterJob) -> None:
        pod = job.pod(1)
        self._lost = pod["metadata"]["uid"]
        self.rig.plane.api.delete("pods", self.namespace, pod["metadata"]["name"])

    def _until_pod_is(self, job: ClusterJob, phase: str) -> None:
        job.until(
            lambda: phase in [pod["status"]["phase"] for pod in job.pods()], f"{phase} worker of {job.name}"
        )

    def _possible(self, name: str) -> Callable[[], object]:
        """Whether all others have done what the operator needs for its last act."""
        job = self.jobs[name]
        others: dict[str, Callable[[], object]] = {
            "finishing": lambda: _is_over(job),
            "failing": lambda: _is_over(job),
            "deleting": lambda: not job.job,
            "losing": lambda: job.worker_runs(1, unlike=self._lost),
            "new": job.all_run,
            "late": lambda: _is_over(job),
        }
        return others.get(name, lambda: True)

    def _done(self, name: str) -> Callable[[], object]:
        job = self.jobs[name]
        ends: dict[str, Callable[[], object]] = {
            "finishing": lambda: job.phase == "Complete",
            "failing": lambda: job.phase == "Failed" and job.failure["exitCode"] == 64,
            "suspending": lambda: job.phase == "Suspended" and job.job["spec"]["suspend"],
            "deleting": lambda: not job.body and not job.job,
            "losing": lambda: job.worker_runs(1, unlike=self._lost) and job.phase == "Running",
            "new": lambda: job.all_run() and job.phase == "Running",
            "late": lambda: job.phase == "Failed" and job.failure["reason"] == "DeadlineExceeded",
            "brief": lambda: not job.body,
            "swept": lambda: job.phase == "Complete",
        }
        return ends[name]


def _is_over(job: ClusterJob) -> bool:
    """Whether the Job controller says so; a Job that went with its FineTuneJob is over too."""
    ends = ("SuccessCriteriaMet", "FailureTarget", "Complete", "Failed")
    told = job.job.get("status", {}).get("conditions", [])
    return not job.job or any(one["type"] in ends for one in told)


@contextmanager
def faulted(rig: Rig, config: Mapping[str, Any] = NO_LEASE) -> Iterator[Faulted]:
    """An operator, with settings as shipped but for `config`, and jobs that run."""
    namespace = rig.plane.namespace()
    with rig.proxy() as proxy:
        fault = Faulted(rig, namespace, proxy, rig.start(namespace, proxy, config))
        try:
            fault.populate()
            yield fault
        finally:
            fault.kill()


def told(fault: str, seconds: float) -> None:
    """The figure, for whoever reads the log."""
    print(f"{fault}: caught up {seconds:.1f} s after its end")


def over(seconds: float) -> None:
    """A fault lasts."""
    time.sleep(seconds)
