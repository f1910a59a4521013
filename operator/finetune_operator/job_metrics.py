"""Metrics of each job, made at scrape time from the jobs in memory: series vanish with their job."""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from finetune_api.contract import GPU
from finetune_api.v1alpha1.status import Condition, FineTuneJobStatus
from finetune_api.v1alpha1.units import parse_duration, parse_quantity
from finetune_operator import bodies
from finetune_operator.health import LoopLag
from finetune_operator.informer import Informer
from finetune_operator.observed import PodView, Resource
from finetune_operator.work_queue import WorkQueue
from finetune_operator.world import Key, World

JOB = ("namespace", "finetunejob")
_NEEDED = ("Validated", "Admitted", "WorkersReady", "Training")
"""Conditions of a job that trains, in the order in which they come to hold."""
Value = Callable[[Resource], float | None]


def _progress(pick: Callable[[FineTuneJobStatus], float | None]) -> Value:
    return lambda resource: pick(resource.status)


def _stage_index(status: FineTuneJobStatus) -> float | None:
    running = [place for place, stage in enumerate(status.stages, start=1) if stage.state == "Running"]
    return float(running[0]) if running else None


def _seconds(time: str | None) -> float | None:
    moment = bodies.moment(time)
    return moment.timestamp() if moment else None


def _is_heard(status: FineTuneJobStatus) -> float | None:
    holds = {one.type: one.status for one in status.conditions}.get("ProgressAvailable")
    return {"True": 1.0, "False": 0.0}.get(holds or "")


def _checkpoint_interval(resource: Resource) -> float | None:
    return parse_duration(resource.job.spec.checkpoint.interval) if resource.job else None


def _gpus(resource: Resource) -> float | None:
    if resource.job is None:
        return None
    spec = resource.job.spec
    return float(parse_quantity(spec.resources.limits.get(GPU, "0")) * spec.workers)


GAUGES: tuple[tuple[str, str, Value], ...] = (
    (
        "finetune_job_created_timestamp_seconds",
        "When it was created.",
        lambda resource: resource.created.timestamp(),
    ),
    (
        "finetune_job_completion_timestamp_seconds",
        "When it ended.",
        _progress(lambda status: _seconds(status.completion_time)),
    ),
    ("finetune_job_gpus", "GPUs that all its workers ask for together.", _gpus),
    (
        "finetune_job_checkpoint_interval_seconds",
        "Time between two checkpoints that it asks for.",
        _checkpoint_interval,
    ),
    (
        "finetune_job_progress_available",
        "Whether worker 0 answers with its progress.",
        _progress(_is_heard),
    ),
    (
        "finetune_job_progress_ratio",
        "Share of the schedule's steps that is done.",
        _progress(lambda status: status.progress.percent / 100),
    ),
    ("finetune_job_eta_seconds", "Time left.", _progress(lambda status: status.progress.eta_seconds)),
    ("finetune_job_stage_index", "Stage that runs, counted from 1.", _progress(_stage_index)),
    (
        "finetune_job_epoch",
        "Epoch of that stage, counted from 1.",
        _progress(lambda status: status.progress.epoch),
    ),
    ("finetune_job_workers_ready", "Workers up.", _progress(lambda status: status.workers.ready)),
    ("finetune_job_workers_desired", "Workers wanted.", _progress(lambda status: status.workers.desired)),
    (
        "finetune_job_last_progress_timestamp_seconds",
        "When progress was last seen to change.",
        _progress(lambda status: _seconds(status.progress.last_update_time)),
    ),
    (
        "finetune_job_last_checkpoint_timestamp_seconds",
        "When the newest whole checkpoint was made.",
        _progress(lambda status: _seconds(status.checkpoint.time) if status.checkpoint else None),
    ),
)


class JobCollector(Collector):
    """Walks the FineTuneJobs and pods in memory."""

    def __init__(self, world: World) -> None:
        self._world = world

    def describe(self) -> Iterator[Metric]:
        """Nothing: names are known without a walk, and there may be many jobs."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """All series of all jobs."""
        jobs = list(self._world.resources)
        yield self._counted()
        for name, text, value in GAUGES:
            family = GaugeMetricFamily(name, text, labels=JOB)
            for job in jobs:
                if (number := value(job)) is not None:
                    family.add_metric([job.namespace, job.name], number)
            yield family
        yield from _described(jobs)
        yield self._pods()

    def _counted(self) -> Metric:
        family = GaugeMetricFamily("finetune_operator_jobs", "FineTuneJobs.", labels=["namespace", "phase"])
        for (namespace, phase), count in list(self._world.phases.items()):
            if count:
                family.add_metric([namespace, phase], count)
        return family

    def _pods(self) -> Metric:
        labels = ["namespace", "pod", "finetunejob", "worker"]
        family = GaugeMetricFamily("finetune_pod_info", "1 for each trainer pod.", labels=labels)
        for pod in list(self._world.pods):
            if name := self._job_of(pod):
                worker = "" if pod.index is None else str(pod.index)
                family.add_metric([pod.namespace, pod.name, name, worker], 1)
        return family

    def _job_of(self, pod: PodView) -> str:
        job = self._world.jobs.one("uid", pod.owner_uid)
        resource = self._world.resources.one("uid", job.owner_uid) if job else None
        return resource.name if resource else ""


def _described(jobs: list[Resource]) -> Iterator[Metric]:
    info = GaugeMetricFamily(
        "finetune_job_info", "1 for each job.", labels=[*JOB, "uid", "backbone", "queue", "workers"]
    )
    phase = GaugeMetricFamily("finetune_job_phase", "1 for the phase a job is in.", labels=[*JOB, "phase"])
    best = GaugeMetricFamily(
        "finetune_job_best_metric", "Best figure of all stages.", labels=[*JOB, "metric"]
    )
    why = GaugeMetricFamily(
        "finetune_job_reason",
        "1; why it is in this phase, where that is known.",
        labels=[*JOB, "phase", "reason"],
    )
    restarts = CounterMetricFamily("finetune_job_restarts", "Generations after the first.", labels=JOB)
    for job in jobs:
        name = [job.namespace, job.name]
        if job.job:
            spec = job.job.spec
            queue = spec.scheduling.queue_name or ""
            info.add_metric([*name, job.uid, str(spec.model.backbone), queue, str(spec.workers)], 1)
        phase.add_metric([*name, job.status.phase], 1)
        restarts.add_metric(name, job.status.workers.restarts)
        if reason := _reason(job.status):
            why.add_metric([*name, job.status.phase, reason], 1)
        if figure := job.status.best_metric:
            best.add_metric([*name, figure.name], float(figure.value))
    yield from (info, phase, why, best, restarts)


def _reason(status: FineTuneJobStatus) -> str | None:
    """Of the condition that named the phase, or else of the first that does not hold."""
    known: dict[str, Condition] = {one.type: one for one in status.conditions}
    if status.phase in known:
        return known[status.phase].reason
    against = (known[kind].reason for kind in _NEEDED if kind in known and known[kind].status == "False")
    return next(against, None)


class OperatorCollector(Collector):
    """The queue, the watches and the event loop, as they are at scrape time."""

    def __init__(self, queue: WorkQueue[Key], informers: list[Informer], lag: LoopLag) -> None:
        self._queue = queue
        self._informers = informers
        self._lag = lag

    def describe(self) -> Iterator[Metric]:
        """Nothing, as above."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Gauges of this moment."""
        for name, text, number in (
            ("queue_depth", "Jobs that wait for a worker.", len(self._queue)),
            ("queue_age_seconds", "How long the first of them has waited.", self._queue.age),
            ("loop_lag_seconds", "How late the event loop is.", self._lag.seconds),
        ):
            yield GaugeMetricFamily(f"finetune_operator_{name}", text, value=number)
        yield CounterMetricFamily(
            "finetune_operator_queue_retries", "Jobs put back after an error.", value=self._queue.retries
        )
        silence = GaugeMetricFamily(
            "finetune_operator_watch_silence_seconds", "Since a watch last brought anything.", labels=["kind"]
        )
        for informer in self._informers:
            silence.add_metric([informer.kind], informer.silence)
        yield silence
