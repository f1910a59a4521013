"""What is known of the cluster about one FineTuneJob at one moment: frozen views, made from bodies once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from finetune_api.errors import BadJob
from finetune_api.progress import Progress
from finetune_api.v1alpha1 import FineTuneJob, FineTuneJobStatus


@dataclass(frozen=True, slots=True)
class Resource:
    """The FineTuneJob."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: datetime
    deleting: bool
    resource_version: str
    job: FineTuneJob | None
    """What is wanted; None when it is not a valid FineTuneJob."""
    invalid: BadJob | None
    """Why there is no `job`."""
    status: FineTuneJobStatus
    """What the status says, without what is malformed in it."""
    managed_by: str = ""
    """spec.managedBy, also of a job that is not valid."""
    damaged: bool = False
    """Whether something in the status was malformed, so that it has to be written anew."""


@dataclass(frozen=True, slots=True)
class ConditionView:
    """One condition of a Job or Workload."""

    status: str
    reason: str = ""
    message: str = ""
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class PodView:
    """A trainer pod; one that Kubernetes still lists, terminal or not."""

    namespace: str
    name: str
    uid: str
    owner_uid: str
    """Uid of the Job that controls it."""
    index: int | None
    """Completion index: the worker's number."""
    created: datetime
    phase: str
    ready: bool = False
    scheduled: bool = False
    started: datetime | None = None
    """When the trainer container began to run."""
    node: str = ""
    ip: str = ""
    deleting: datetime | None = None
    """deletionTimestamp: when its grace is over."""
    grace_seconds: int | None = None
    exit_code: int | None = None
    exit_reason: str = ""
    """Such as OOMKilled, Error, Completed."""
    finished: datetime | None = None
    termination: str = ""
    """The termination message: JSON of a TrainerReport, or the end of a log."""
    waiting_reason: str = ""
    """Why the container does not start, such as ErrImagePull."""
    waiting_message: str = ""
    unschedulable: str = ""
    """Message of PodScheduled=False."""
    disruption: str = ""
    """Reason of DisruptionTarget=True."""
    status_reason: str = ""
    """status.reason, such as Evicted."""
    status_message: str = ""
    image: str = ""
    """What the container runs, with digest; empty until the node says."""
    failures: int = 0
    """The two failure-count annotations together: what the Job controller's next delay grows with."""


@dataclass(frozen=True, slots=True)
class JobView:
    """The Indexed Job."""

    namespace: str
    name: str
    uid: str
    owner_uid: str
    """Uid of its controller; empty without one."""
    suspended: bool
    created: datetime
    owner: str = ""
    """Its controller in words, such as FineTuneJob/flowers; empty without one."""
    parallelism: int = 0
    """Pods it runs at once."""
    image: str = ""
    """Of the trainer container in its template."""
    started: datetime | None = None
    """status.startTime: when it was last un-suspended."""
    deleting: bool = False
    queue: str = ""
    """Queue label, empty without."""
    active: int = 0
    ready: int = 0
    stop_reason: str = ""
    """Annotation that the operator leaves in the patch that ends the Job."""
    stop_message: str = ""
    releases: int = 0
    """Annotation: how often what an incomplete gang held was released in vain."""
    resume_at: datetime | None = None
    """Annotation: when a released gang tries again; None when it is not released."""
    conditions: Mapping[str, ConditionView] = field(default_factory=dict)
    """By type; only those whose status is True."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Those that we set."""


@dataclass(frozen=True, slots=True)
class ChildView:
    """A Service, ConfigMap, NetworkPolicy, PodGroup …: what the operator compares with what it wants."""

    kind: str
    namespace: str
    name: str
    uid: str
    owner_uid: str
    owner: str = ""
    """Its controller in words, such as FineTuneJob/flowers; empty without one."""
    deleting: bool = False
    content: Mapping[str, Any] = field(default_factory=dict)
    """The part that somebody could have changed: spec or data."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Those that we set."""


@dataclass(frozen=True, slots=True)
class WorkloadView:
    """Kueue's Workload of the Job."""

    namespace: str
    name: str
    uid: str
    owner_uid: str
    active: bool = True
    conditions: Mapping[str, ConditionView] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node as far as losing it matters."""

    name: str
    unreachable_since: datetime | None = None
    """When the unreachable taint was put on; None while it answers."""


@dataclass(frozen=True, slots=True)
class EventView:
    """A Warning about the Job or one of its pods."""

    kind: str
    """Job or Pod."""
    name: str
    reason: str
    message: str
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """What worker 0's supervisor answered last."""

    progress: Progress
    time: datetime
    pod_uid: str
    """The pod that answered."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """What the API server refused to do for this FineTuneJob: a quota, an admission policy, no permission."""

    kind: str
    """Of the object that was to be made or changed."""
    message: str
    code: int
    """HTTP status: 403, or 422 for what can never be accepted."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything `decide` looks at besides the FineTuneJob itself."""

    job: JobView | None = None
    """The Job of the wanted name, whoever owns it."""
    job_absent: bool = False
    """Whether the API itself, asked for `Plan.want_job`, said just now that there is no Job of that name."""
    pods: tuple[PodView, ...] = ()
    """Pods of that Job."""
    children: Mapping[str, ChildView] = field(default_factory=dict)
    """By kind, those of the wanted names, whoever owns them."""
    workload: WorkloadView | None = None
    nodes: Mapping[str, NodeView] = field(default_factory=dict)
    """Nodes of those pods; empty when nodes are not watched."""
    events: tuple[EventView, ...] | None = None
    """Warnings about Job and pods as listed last; None when they were never asked for."""
    events_time: datetime | None = None
    """When they were listed."""
    sample: Sample | None = None
    poll_failing_since: datetime | None = None
    """When worker 0 stopped answering; None while it answers or is not asked."""
    rejection: Rejection | None = None
    """Of the last action that was tried; None once one is accepted."""
    running_jobs: int = 1
    """FineTuneJobs in phase Running, in all: progress is patched less often when there are many."""
    queues_served: bool = True
    """Whether the discovery found the API of the gang scheduler that the job asks for."""
