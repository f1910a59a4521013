"""What each gang scheduler wants to see: labels, annotations, a group object. One function for each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from finetune_api.contract import Label
from finetune_api.v1alpha1 import FineTuneJob, Scheduling
from finetune_api.v1alpha1.runtime import GangKind
from finetune_operator.knobs import Gangs
from finetune_operator.settings import Settings

_KUEUE_PRIORITY = "kueue.x-k8s.io/priority-class"
_VOLCANO_MEMBERS = "scheduling.volcano.sh/group-min-member"
_VOLCANO_QUEUE = "scheduling.volcano.sh/queue-name"
_COSCHEDULING_GROUP = "scheduling.x-k8s.io/pod-group"


@dataclass(frozen=True)
class Gang:
    """Additions to the objects of one job."""

    job_labels: Mapping[str, str] = field(default_factory=dict)
    job_annotations: Mapping[str, str] = field(default_factory=dict)
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    pod_annotations: Mapping[str, str] = field(default_factory=dict)
    pod_spec: Mapping[str, Any] = field(default_factory=dict)
    suspended: bool = False
    """Whether the Job is created suspended, for the scheduler to start it."""
    group: Mapping[str, Any] | None = None
    """A PodGroup without metadata; it gets the Job's name and is created before it."""


@dataclass(frozen=True)
class Request:
    """What an adapter may look at."""

    scheduling: Scheduling
    workers: int
    name: str
    """Of the Job, and of a group object."""
    gangs: Gangs


def gang_of(job: FineTuneJob, name: str, settings: Settings) -> Gang:
    """What the scheduler that `job` asks for wants; `name` is that of the Job."""
    scheduling = job.spec.scheduling
    return _ADAPTERS[scheduling.gang](Request(scheduling, job.spec.workers, name, settings.gangs))


def refused_gang(job: FineTuneJob, settings: Settings) -> str | None:
    """Why this operator cannot serve the job's gang; None when it can."""
    gang = job.spec.scheduling.gang
    if gang == "None" or _enabled(settings)[gang]:
        return None
    hint = " (experimental, Kubernetes 1.37 or newer)" if gang == "PodGroup" else ""
    return (
        f"spec.scheduling.gang: {gang} is switched off in this operator{hint}. Fix: set gangs."
        f"{_SWITCHES[gang]}.enabled in the operator's configuration, or choose another gang"
    )


def kueue(request: Request) -> Gang:
    """Created suspended, so that a job whose queue nobody serves does not run beside it."""
    scheduling = request.scheduling
    labels: dict[str, str] = {Label.QUEUE: scheduling.queue_name or ""}
    if scheduling.queue_priority_class:
        labels[_KUEUE_PRIORITY] = scheduling.queue_priority_class
    return Gang(job_labels=labels, suspended=True)


def volcano(request: Request) -> Gang:
    """Volcano's controller makes a PodGroup of its own from these annotations."""
    queue = request.scheduling.queue_name
    return Gang(
        job_annotations={_VOLCANO_MEMBERS: str(request.workers)},
        pod_annotations={_VOLCANO_QUEUE: queue} if queue else {},
        pod_spec={"schedulerName": request.gangs.volcano.scheduler_name},
    )


def coscheduling(request: Request) -> Gang:
    """A PodGroup, and a label by which its pods name it."""
    chosen = request.gangs.coscheduling
    return Gang(
        pod_labels={_COSCHEDULING_GROUP: request.name},
        pod_spec={"schedulerName": chosen.scheduler_name},
        group={
            "apiVersion": "scheduling.x-k8s.io/v1alpha1",
            "kind": "PodGroup",
            "spec": {"minMember": request.workers, "scheduleTimeoutSeconds": chosen.timeout_seconds},
        },
    )


def pod_group(request: Request) -> Gang:
    """Kubernetes' own PodGroup. Experimental."""
    priority = request.scheduling.priority_class_name
    spec = {
        "schedulingPolicy": {"gang": {"minCount": request.workers}},
        "disruptionMode": {"all": {}},
        **({"priorityClassName": priority} if priority else {}),
    }
    return Gang(
        pod_spec={"schedulingGroup": {"podGroupName": request.name}},
        group={"apiVersion": "scheduling.k8s.io/v1beta1", "kind": "PodGroup", "spec": spec},
    )


_ADAPTERS: dict[GangKind, Callable[[Request], Gang]] = {
    "None": lambda _: Gang(),
    "Kueue": kueue,
    "Volcano": volcano,
    "Coscheduling": coscheduling,
    "PodGroup": pod_group,
}
_SWITCHES: dict[GangKind, str] = {
    "Kueue": "kueue",
    "Volcano": "volcano",
    "Coscheduling": "coscheduling",
    "PodGroup": "podGroup",
}
"""Names in the configuration."""


def _enabled(settings: Settings) -> dict[GangKind, bool]:
    gangs = settings.gangs
    return {
        "Kueue": gangs.kueue.enabled,
        "Volcano": gangs.volcano.enabled,
        "Coscheduling": gangs.coscheduling.enabled,
        "PodGroup": gangs.pod_group.enabled,
    }
