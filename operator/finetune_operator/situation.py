"""One FineTuneJob at one moment, with what follows at once from what was observed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from finetune_api import names
from finetune_api.contract import GPU, ExitCode
from finetune_api.events import TrainerReport
from finetune_api.progress import Progress
from finetune_api.v1alpha1 import Condition, FineTuneJobSpec, FineTuneJobStatus
from finetune_operator import bodies, failures, sane, waiting
from finetune_operator.failures import Failure, Kind
from finetune_operator.observed import JobView, Observed, PodView, Resource, Sample
from finetune_operator.settings import Settings
from finetune_operator.waiting import Waiting


@dataclass(frozen=True)
class Situation:
    """Everything that a rule may look at."""

    resource: Resource
    observed: Observed
    settings: Settings
    now: datetime

    @property
    def before(self) -> FineTuneJobStatus:
        """The status as it is."""
        return self.resource.status

    @cached_property
    def spec(self) -> FineTuneJobSpec:
        """What is wanted, of a job that is valid."""
        assert self.resource.job is not None
        return self.resource.job.spec

    @cached_property
    def name(self) -> str:
        """Of every object of this job."""
        return names.object_name(self.resource.name, self.spec.workers)

    @cached_property
    def job(self) -> JobView | None:
        """Our Job."""
        job = self.observed.job
        return job if job and job.owner_uid == self.resource.uid else None

    @property
    def started(self) -> bool:
        """Whether a Job was made for this."""
        return self.job is not None or self.before.job_uid is not None

    @cached_property
    def pods(self) -> tuple[PodView, ...]:
        """Pods of our Job, each some worker's."""
        uid, workers = self.job.uid if self.job else "", self.spec.workers
        ours = (pod for pod in self.observed.pods if pod.owner_uid == uid and uid)
        return tuple(pod for pod in ours if pod.index is not None and pod.index < workers)

    @cached_property
    def current(self) -> dict[int, PodView]:
        """The pod of each worker that has one: the newest, one that has not ended before one that has."""
        found: dict[int, PodView] = {}
        for pod in sorted(self.pods, key=lambda pod: (not has_ended(pod), pod.created, pod.name)):
            assert pod.index is not None
            found[pod.index] = pod
        return found

    @cached_property
    def ready(self) -> int:
        """Workers that are up; those of a suspended job are on their way out."""
        if not self.active or self.spec.suspend:
            return 0
        return sum(is_up(pod) for pod in self.current.values())

    @cached_property
    def complete(self) -> bool:
        """Whether every worker is up, or done."""
        up = sum(is_up(pod) or pod.phase == "Succeeded" for pod in self.current.values())
        return up == self.spec.workers

    @cached_property
    def chief(self) -> PodView | None:
        """Worker 0's pod."""
        return self.current.get(0)

    @property
    def active(self) -> bool:
        """Whether the Job may have pods."""
        return self.job is not None and not self.job.suspended

    @cached_property
    def running_since(self) -> datetime | None:
        """Since when the Job may have pods; None while it may not, or its controller has not noticed yet."""
        # A resumed Job keeps its old startTime until its controller has seen it.
        if not self.active or self.job is None or "Suspended" in self.job.conditions:
            return None
        return self.job.started

    @cached_property
    def sample(self) -> Sample | None:
        """What worker 0 answered last, if that worker 0 is still there."""
        sample = self.observed.sample
        if sample is None or self.chief is None or sample.pod_uid != self.chief.uid:
            return None
        return sample if sane.progress(sample.progress) else None

    @property
    def heard(self) -> Progress | None:
        """What worker 0 answered, as far as there is one."""
        return self.sample.progress if self.sample else None

    @property
    def progress(self) -> Progress | None:
        """The same once there is a run."""
        return self.heard if self.heard and self.heard.num_stages else None

    @cached_property
    def report(self) -> TrainerReport | None:
        """Worker 0's last words, from whichever of its pods has the model."""
        found = [failures.report(pod) for pod in self.pods if pod.index == 0 and has_ended(pod)]
        return next((one for one in found if is_published(one)), found[-1] if found else None)

    @cached_property
    def failure(self) -> Failure | None:
        """The newest failure of a worker."""
        return failures.latest(self.pods, self._outlived)

    @cached_property
    def healed_failure(self) -> Failure | None:
        """The newest failure of a worker that has been replaced since."""
        old = (pod for pod in self.pods if pod is not self.current.get(pod.index or 0))
        return failures.latest(old, self._outlived)

    @property
    def _outlived(self) -> list[Failure]:
        """The newest failure that no pod ended with."""
        said = self.progress.last_failure if self.progress else None
        return [failures.of_process(said)] if said else []

    @cached_property
    def is_ending(self) -> bool:
        """Whether a worker has ended so that the Job is about to end too; its controller will say so soon."""
        recent = (pod for pod in self.pods if pod.finished and self.seconds_since(pod.finished) < 10)
        return any(_ends_the_job(pod) for pod in recent)

    @cached_property
    def incomplete_since(self) -> datetime:
        """Since when workers are missing; suspension apart."""
        known = self.condition("WorkersReady")
        noted = bodies.moment(known.last_transition_time) if known and known.status == "False" else None
        begun = self.running_since or self.now
        return max(noted, begun) if noted else begun

    @cached_property
    def waiting(self) -> Waiting | None:
        """Why the gang is not complete, if it has not been for long enough to tell."""
        return self.obstacle if self.is_overdue or self.observed.rejection else None

    @cached_property
    def obstacle(self) -> Waiting | None:
        """Why the gang is not complete."""
        if self.observed.rejection is not None:
            return waiting.of_rejection(self.observed.rejection)
        if not self.active or self.complete:
            return None
        absent = [pod for pod in self.current.values() if not is_up(pod) and not has_ended(pod)]
        missing = len(self.current) < self.spec.workers or any(map(has_ended, self.current.values()))
        return waiting.of_pods(absent, missing, self.observed.events)

    @property
    def is_overdue(self) -> bool:
        """Whether workers are missing for so long that the reason is worth knowing."""
        return self.seconds_since(self.incomplete_since) >= self.settings.timings.events_after_seconds

    @property
    def gpus(self) -> int:
        """GPUs of one worker."""
        found = str(self.spec.resources.limits.get(GPU, "0"))
        return int(found) if found.isdigit() else 0

    def condition(self, kind: str) -> Condition | None:
        """A condition as it is."""
        return next((one for one in self.before.conditions if one.type == kind), None)

    def seconds_since(self, moment: datetime) -> float:
        """Seconds from `moment` to now."""
        return (self.now - moment).total_seconds()


def is_up(pod: PodView) -> bool:
    """Whether this worker is there and stays."""
    return pod.ready and pod.deleting is None and not has_ended(pod)


def has_ended(pod: PodView) -> bool:
    """Whether this pod will never run again."""
    return pod.phase in ("Succeeded", "Failed")


def says_published(pod: PodView) -> bool:
    """Whether this is a worker 0 that has committed the model and ended."""
    return pod.index == 0 and has_ended(pod) and is_published(failures.report(pod))


def is_published(said: TrainerReport | None) -> bool:
    """Whether this is the report of a worker 0 that has committed the model."""
    return said is not None and said.result is not None and said.result.result == "Published"


def soonest(times: Iterable[float | None]) -> float | None:
    """The smallest of some delays, a moment at least."""
    known = [seconds for seconds in times if seconds is not None]
    return max(0.2, min(known)) if known else None


def _ends_the_job(pod: PodView) -> bool:
    if pod.index == 0 and pod.exit_code == ExitCode.OK:
        return True
    failure = failures.of_pod(pod)
    return failure is not None and failure.kind is Kind.PERMANENT
