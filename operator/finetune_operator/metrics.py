"""Prometheus metrics of the operator itself; those of each job are in `job_metrics`."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.registry import Collector

from finetune_api.v1alpha1 import FineTuneJobStatus
from finetune_operator import bodies
from finetune_operator.api_calls import Call
from finetune_operator.observed import Resource

TERMINAL = frozenset({"Complete", "Failed"})
WAITED = frozenset({"Pending", "Queued", "Suspended"})
JOB_BUCKETS = (1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 43200, 86400, 259200)
RECONCILE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30)
CALL_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Counts what this process does. A job's end is counted by whoever writes it, so exactly once."""

    def __init__(self, version: str) -> None:
        # A second series for each counter, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._jobs()
        self._work()
        build = Gauge("finetune_operator_build_info", "1; its version.", ["version"], registry=self._registry)
        build.labels(version).set(1)

    @contextmanager
    def including(self, *collectors: Collector) -> Iterator[None]:
        """Shows what these collect, too, for a while."""
        for collector in collectors:
            self._registry.register(collector)
        try:
            yield
        finally:
            for collector in collectors:
                self._registry.unregister(collector)

    def _jobs(self) -> None:
        registry = self._registry
        self._finished = Counter(
            "finetune_operator_jobs_finished",
            "FineTuneJobs that ended.",
            ["namespace", "result", "reason"],
            registry=registry,
        )
        self._queued = Histogram(
            "finetune_operator_job_queue_seconds",
            "From creation until the job may start.",
            ["namespace"],
            buckets=JOB_BUCKETS,
            registry=registry,
        )
        self._startup = Histogram(
            "finetune_operator_job_startup_seconds",
            "From the first worker's start to training.",
            ["namespace"],
            buckets=JOB_BUCKETS,
            registry=registry,
        )
        self._duration = Histogram(
            "finetune_operator_job_duration_seconds",
            "From the first worker's start to the job's end.",
            ["namespace", "result"],
            buckets=JOB_BUCKETS,
            registry=registry,
        )
        self._poll_failures = Counter(
            "finetune_operator_progress_poll_failures",
            "Times that worker 0 did not answer with its progress.",
            registry=registry,
        )

    def _work(self) -> None:
        registry = self._registry
        self._reconciled = Histogram(
            "finetune_operator_reconcile_duration_seconds",
            "One look at one job.",
            ["result"],
            buckets=RECONCILE_BUCKETS,
            registry=registry,
        )
        self._errors = Counter(
            "finetune_operator_reconcile_errors", "Looks that failed.", ["result"], registry=registry
        )
        for result in ("error", "refused", "conflict"):
            self._errors.labels(result)  # 0 until it happens, not absent: an alert can see the first one
        self._calls = Counter(
            "finetune_operator_api_requests",
            "Requests to the API server.",
            ["verb", "code"],
            registry=registry,
        )
        self._call_seconds = Histogram(
            "finetune_operator_api_request_duration_seconds",
            "Until the API server begins to answer.",
            ["verb"],
            buckets=CALL_BUCKETS,
            registry=registry,
        )
        self.leader = Gauge(
            "finetune_operator_leader", "1 while this replica is the one that acts.", registry=registry
        )

    def text(self) -> bytes:
        """The exposition of `GET /metrics`."""
        return generate_latest(self._registry)

    def called(self, call: Call) -> None:
        """A request to the API server was answered."""
        self._calls.labels(call.verb, call.code).inc()
        self._call_seconds.labels(call.verb).observe(call.seconds)

    def poll_failed(self) -> None:
        """Worker 0 did not answer."""
        self._poll_failures.inc()

    def reconciled(self, seconds: float, result: str) -> None:
        """One look at one job is over."""
        self._reconciled.labels(result).observe(seconds)
        if result != "success":
            self._errors.labels(result).inc()

    def status_written(self, before: Resource, after: FineTuneJobStatus) -> None:
        """This process has just written `after` over the status in `before`."""
        old, namespace = before.status, before.namespace
        if old.phase == after.phase:
            return
        now = datetime.now(UTC)
        started = bodies.moment(after.start_time)
        first = not old.start_time
        # Of a quick start the phase `Starting` is never written.
        if first and old.phase in WAITED and after.phase in ("Starting", "Running"):
            self._queued.labels(namespace).observe(max(0.0, (now - before.created).total_seconds()))
        if first and after.phase == "Running" and started:
            self._startup.labels(namespace).observe(max(0.0, (now - started).total_seconds()))
        if after.phase in TERMINAL:
            self._finished.labels(namespace, after.phase, _reason(after)).inc()
            ended = bodies.moment(after.completion_time) or now
            if started:
                seconds = max(0.0, (ended - started).total_seconds())
                self._duration.labels(namespace, after.phase).observe(seconds)


def _reason(status: FineTuneJobStatus) -> str:
    return next((one.reason for one in status.conditions if one.type == status.phase), "")
