"""The groups of settings: what each may be, its default and its unit."""

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from finetune_api import model
from finetune_api.v1alpha1.fields import Quantity


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text))


Seconds = Annotated[float, Field(ge=0)]
Cidr = Annotated[str, AfterValidator(_network)]
Names = dict[str, list[str]]
"""Lists of names by namespace; `*` stands for every namespace that has no list of its own."""


class Group(model.Model):
    """Strict: `"5"` is no number."""

    model_config = ConfigDict(strict=True)


class Lease(Group):
    """Which of several operators acts: the holder of one Lease in the operator's own namespace."""

    enabled: bool = True
    """False: this operator acts without asking; only where there is no other."""
    name: str = "finetune-operator"
    """Of the Lease."""
    duration_seconds: Seconds = 15.0
    """How long after its last renewal a holder counts as lost."""
    renew_seconds: Seconds = 10.0
    """How long a holder tries to renew before it stops acting; less than the duration."""
    retry_seconds: Seconds = 2.0
    """Time between two tries, to renew or to take over."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        # Else a holder would still act when the next one already does.
        if not self.renew_seconds < self.duration_seconds:
            raise ValueError("renewSeconds must be shorter than durationSeconds")
        return self


class Http(Group):
    """Where /metrics, /healthz and /readyz are served."""

    host: str = ""
    """Empty: every address of the pod."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """0: any free port, which the log names."""


class ByDevice(Group):
    """One value for pods without GPUs and one for pods with them."""

    cpu: str | None = None
    """For pods without GPUs."""
    gpu: str | None = None
    """For pods with GPUs."""


class Images(Group):
    """Trainer images, with tag or digest."""

    cpu: str = "finetune-trainer:cpu"
    """For pods without GPUs."""
    gpu: str = "finetune-trainer:gpu"
    """For pods with GPUs."""


class Resources(Group):
    """What a worker gets where its job does not say; requests equal limits, but for its disk."""

    cpu: Quantity = "2"
    """Processors; TensorFlow gets as many threads."""
    memory: Quantity = "4Gi"
    """Of its processes; files in memory are added."""
    ephemeral_storage: Quantity | None = None
    """Disk of its node. None: it may fill its volumes and have some room for its log, while the scheduler sets
    ephemeralStorageRequest aside."""
    ephemeral_storage_request: Quantity = "4Gi"
    """What a node must have left of its disk for a worker without a limit of its own; most need less than their
    volumes may hold. On a full node those over their request are evicted first, and replaced elsewhere."""


class Volumes(Group):
    """Most bytes of each local volume of a worker. The feature cache's size is the job's."""

    tmp: Quantity = "1Gi"
    """/tmp."""
    home: Quantity = "256Mi"
    """The home folder."""
    keras: Quantity = "2Gi"
    """Downloaded ImageNet weights."""
    scratch: Quantity = "10Gi"
    """Checkpoints in the making and the export."""
    shared_memory: Quantity = "64Mi"
    """/dev/shm of a pod without GPUs; added to its memory limit."""
    gpu_shared_memory: Quantity = "1Gi"
    """/dev/shm of a pod with GPUs, which NCCL uses; added to its memory limit."""


class Trainer(Group):
    """The pods."""

    images: Images = Images()
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """None: Kubernetes' own default, Always for the tag `latest` only."""
    image_pull_secrets: list[str] = Field(default=[])
    """Names of secrets that must be there in each job's namespace."""
    runtime_class_names: ByDevice = ByDevice()
    """Such as nvidia for pods with GPUs."""
    labels: dict[str, str] = Field(default={})
    """More labels for each pod, such as a cost centre."""
    env: dict[str, str] = Field(default={})
    """Variables for each pod, such as a proxy; the job's own come before."""
    resources: Resources = Resources()
    volumes: Volumes = Volumes()
    keras_home: str | None = None
    """Folder in the trainer image with downloaded weights below `models/`. None: an empty volume."""
    closed_addresses: list[Cidr] = Field(
        default=["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "::/128", "::1/128", "fe80::/10"]
    )
    """No storage endpoint and no proxy of a job may be there, nor at networkPolicy.metadataAddresses: the trainer looks
    where the name leads before it sends anything."""


class References(Group):
    """What jobs of a namespace may name; `s3-*` stands for every name that begins with `s3-`. Without a list for it a
    namespace may use everything there is."""

    secrets: Names = Field(default={})
    """In spec.storage.secretName."""
    config_maps: Names = Field(default={})
    """In spec.storage.caConfigMap."""
    service_accounts: Names = Field(default={})
    """In spec.serviceAccountName."""
    priority_classes: Names = Field(default={})
    """In spec.scheduling.priorityClassName."""
    images: Names = Field(default={})
    """Besides the operator's own trainer images."""


class Kueue(Group):
    """Kueue, which decides when the Job starts; its pods keep their scheduler."""

    enabled: bool = False
    """Whether jobs may ask for it."""


class Volcano(Group):
    """Volcano's scheduler."""

    enabled: bool = False
    """Whether jobs may ask for it."""
    scheduler_name: str = "volcano"
    """What the pods call it."""


class Coscheduling(Group):
    """The coscheduling plugin of scheduler-plugins."""

    enabled: bool = False
    """Whether jobs may ask for it."""
    scheduler_name: str = "scheduler-plugins-scheduler"
    """What the pods call it."""
    timeout_seconds: Annotated[int, Field(ge=1)] = 300
    """How long placed members wait for the others."""


class PodGroup(Group):
    """Kubernetes' own scheduling.k8s.io/v1beta1, from 1.37 on where it is switched on. Experimental."""

    enabled: bool = False
    """Whether jobs may ask for it."""


class Gangs(Group):
    """Which schedulers a job may ask to place all its workers or none."""

    kueue: Kueue = Kueue()
    volcano: Volcano = Volcano()
    coscheduling: Coscheduling = Coscheduling()
    pod_group: PodGroup = PodGroup()


class NetworkPolicy(Group):
    """Who may talk to the pods and whom they may talk to."""

    enabled: bool = True
    """Whether each job gets one. It has an effect where the cluster's network enforces policies."""
    monitoring_namespace_selector: dict[str, str] = Field(
        default={"kubernetes.io/metadata.name": "monitoring"}
    )
    """Labels of the namespaces that may scrape the pods; empty: none."""
    operator_namespace: str | None = None
    """Where the operator runs, to let it ask for progress. None: its own, from POD_NAMESPACE."""
    metadata_addresses: list[Cidr] = Field(
        default=[
            "169.254.169.254/32",
            "169.254.170.2/32",
            "169.254.170.23/32",
            "100.100.100.200/32",
            "fd00:ec2::254/128",
            "fd00:ec2::23/128",
            "fd20:ce::254/128",
        ]
    )
    """Addresses that hand a node's or a cloud's credentials to whoever asks; closed."""
    egress_cidrs: list[Cidr] = Field(default=[])
    """Where pods may go besides DNS and one another. Empty: everywhere but the metadata addresses."""


class WorkloadIdentity(Group):
    """Whose workload identity serves the jobs' service accounts; opens what it needs."""

    provider: Literal["AWS", "GCP", "Azure"] | None = None
    """None: storage takes keys from a secret, or is public."""


class Client(Group):
    """The operator as a client of the API server."""

    qps: Annotated[float, Field(gt=0)] = 200.0
    """Requests per second over a longer time."""
    burst: Annotated[int, Field(ge=1)] = 400
    """Requests at once."""
    timeout_seconds: Seconds = 30.0
    """Longest time for one request, watches apart."""
    polls: Annotated[int, Field(ge=1)] = 32
    """Trainers that are asked for progress at the same time."""
    page_size: Annotated[int, Field(ge=1)] = 500
    """Objects per page of a LIST."""


class Timings(Group):
    """Times that tests shorten; there should be no need to change them."""

    resync_seconds: Seconds = 600.0
    """Every job is looked at again this often, whatever was heard of it."""
    retry_first_seconds: Seconds = 0.2
    """After the first failure of one job's reconcile, or of a watch; doubles."""
    retry_longest_seconds: Seconds = 60.0
    """Longest time between two tries."""
    watch_seconds: Seconds = 290.0
    """A watch is renewed this often."""
    watch_silence_seconds: Seconds = 90.0
    """A watch that says nothing for so long is taken for dead; the API server says something each minute."""
    events_after_seconds: Seconds = 20.0
    """Pods missing or not started this long: look into the Events for the reason."""
    events_longest_seconds: Seconds = 300.0
    """Longest time between two such looks."""
    poll_timeout_seconds: Seconds = 2.0
    """For worker 0 to answer with its progress."""
    report_wait_seconds: Seconds = 5.0
    """For worker 0's last report after its Job has ended."""
    queue_wait_seconds: Seconds = 60.0
    """For a Workload of Kueue; then the queue is not enforced."""
    release_seconds: Seconds = 30.0
    """Shortest pause after an incomplete gang has given back its pods; the longest is three times that."""
    stop_seconds: Seconds = 10.0
    """For a stopping operator to finish what it is writing."""
