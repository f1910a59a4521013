"""The values of the chart: each with its default and what it is for. values.yaml, its schema and the README are made
from here; `config` is the operator's own settings, so it is not here but in `values_config`."""

from typing import Literal

from pydantic import ConfigDict, Field

from finetune_api.v1alpha1.fields import Name
from finetune_operator.knobs import Group
from tools.chart.values_admission import Admission
from tools.chart.values_monitoring import Monitoring
from tools.chart.values_pod import RESTRICTED_CONTAINER, RESTRICTED_POD, Object, PullPolicy, ServiceAccount
from tools.chart.values_tests import Tests


class Global(Group):
    """Shared with other charts of the same release; what they put here is let through."""

    # The names are Helm's own.
    model_config = ConfigDict(extra="allow")

    image_registry: str = ""
    """Registry of every image here that names none, such as registry.example.com/ml."""
    image_pull_secrets: list[str] = Field(default=[])
    """Names of secrets with access to it, for the operator (in its namespace) and for the trainers (in each job's
    namespace)."""


class Image(Group):
    """Where an image is."""

    registry: str = ""
    """Empty: global.imageRegistry; if that is empty too, whatever the nodes take for their default."""
    repository: str = "finetune-operator"
    """Name of the image without registry and tag."""
    tag: str = ""
    """Empty: the version of the chart."""
    digest: str = ""
    """sha256:…, which then decides; the tag is only read by people."""


class TrainerImage(Image):
    """What the workers of a job run, unless the job names an image itself."""

    repository: str = "finetune-trainer"
    """Name of the image without registry and tag."""
    tag: str = ""
    """Empty: the version of the chart with -cpu or -gpu."""


class TrainerImages(Group):
    """By what a worker asks for."""

    cpu: TrainerImage = TrainerImage()
    """For workers without GPUs."""
    gpu: TrainerImage = TrainerImage()
    """For workers with GPUs."""


class TrainerServiceAccounts(Group):
    """A service account for trainers in each of watch.namespaces, such as for workload identity. It has no rights and
    no token of the Kubernetes API. Without it jobs run as `default`, or as what they name themselves."""

    create: bool = False
    """Needs watch.namespaces: with an empty list nobody knows where jobs will be."""
    name: str = "finetune-trainer"
    """What jobs put into serviceAccountName."""
    annotations: dict[str, str] = Field(default={})
    """Such as the role of the cloud that it stands for."""


class Trainer(Group):
    """The pods of jobs; more about them is in config.trainer."""

    images: TrainerImages = TrainerImages()
    image_pull_secrets: list[str] = Field(default=[])
    """Names of secrets that must be there in each job's namespace."""
    service_accounts: TrainerServiceAccounts = TrainerServiceAccounts()


class Watch(Group):
    """Where jobs are run."""

    namespaces: list[Name] = Field(default=[])
    """Empty: everywhere, with a ClusterRole. With names: only there, with a Role in each, which has to exist."""


class WorkloadIdentity(Group):
    """Access to storage without keys."""

    provider: Literal["AWS", "GCP", "Azure"] | None = None
    """Whose workload identity serves the jobs' service accounts. Opens the address that it answers on, which is closed
    to the trainers otherwise."""


class Crds(Group):
    """The CustomResourceDefinition of FineTuneJobs."""

    install: bool = True
    """Install and upgrade it with the chart. False where somebody else does, or for a second release."""
    keep: bool = True
    """`helm uninstall` leaves it, and with it every FineTuneJob. False: all jobs are deleted with the release."""


class Rbac(Group):
    """Rights."""

    create: bool = True
    """Give the operator's service account the rights that its settings need."""
    aggregate_roles: bool = True
    """Let who may view, edit or administrate a namespace do the same with FineTuneJobs there."""


class Service(Group):
    """The headless Service in front of /metrics."""

    annotations: dict[str, str] = Field(default={})
    """Such as for a Prometheus that finds its targets by annotations."""


class NetworkPolicy(Group):
    """Who may talk to the operator and whom it may talk to. That of the trainers is config.networkPolicy."""

    enabled: bool = True
    """It has an effect where the cluster's network enforces policies."""
    api_server_ports: list[int] = Field(default=[443, 6443])
    """Ports that the API server may be behind; open to every address, for it has no selector."""
    extra_egress: list[Object] = Field(default=[])
    """More rules, such as for a proxy."""


class PodDisruptionBudget(Group):
    """Only with more than one replica: with one it would block the draining of its node."""

    enabled: bool = True
    """Whether to make one."""
    max_unavailable: int = 1
    """How many replicas may be evicted at a time."""


class Values(Group):
    """Everything about an installation."""

    name_override: str = ""
    """Instead of the chart's name in names and labels."""
    fullname_override: str = ""
    """Instead of the release's and the chart's name in the names of all objects."""
    common_labels: dict[str, str] = Field(default={})
    """More labels for every object."""
    global_: Global = Field(default=Global(), alias="global")
    watch: Watch = Watch()
    trainer: Trainer = Trainer()
    workload_identity: WorkloadIdentity = WorkloadIdentity()
    config: Object = Field(default={})
    crds: Crds = Crds()
    rbac: Rbac = Rbac()
    service_account: ServiceAccount = ServiceAccount()
    monitoring: Monitoring = Monitoring()
    admission: Admission = Admission()
    network_policy: NetworkPolicy = NetworkPolicy()
    replicas: int = Field(default=1, ge=0)
    """One acts at a time; a second one takes over faster than a new pod could start. Jobs go on without any."""
    image: Image = Image()
    """The operator's."""
    image_pull_policy: PullPolicy = "IfNotPresent"
    """Of the operator; that of the trainers is config.trainer.imagePullPolicy."""
    image_pull_secrets: list[str] = Field(default=[])
    """Names of secrets in the operator's namespace."""
    resources: Object = Field(
        default={"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}}
    )
    """Of the operator. Enough for 1,000 jobs; no CPU limit, which would only slow it down."""
    pod_security_context: Object = Field(default=RESTRICTED_POD)
    """Meets the Pod Security standard `restricted`. A cluster that picks user ids itself wants runAsUser,
    runAsGroup and fsGroup set to null."""
    security_context: Object = Field(default=RESTRICTED_CONTAINER)
    """Of the container; meets `restricted`."""
    pod_disruption_budget: PodDisruptionBudget = PodDisruptionBudget()
    service: Service = Service()
    priority_class_name: str = ""
    """Such as system-cluster-critical."""
    termination_grace_period_seconds: int = Field(default=30, ge=0)
    """The operator finishes what it is writing and gives back its Lease; that takes a moment."""
    pod_annotations: dict[str, str] = Field(default={})
    """More annotations of the operator's pods."""
    pod_labels: dict[str, str] = Field(default={})
    """More labels of the operator's pods."""
    node_selector: dict[str, str] = Field(default={})
    """Labels of the nodes that the operator may run on."""
    tolerations: list[Object] = Field(default=[])
    """Taints that it puts up with."""
    affinity: Object = Field(default={})
    """Where it rather is."""
    topology_spread_constraints: list[Object] = Field(default=[])
    """How replicas are spread."""
    extra_env: list[Object] = Field(default=[])
    """More variables of the operator, such as HTTPS_PROXY."""
    extra_env_from: list[Object] = Field(default=[])
    """ConfigMaps and secrets to take variables from."""
    extra_args: list[str] = Field(default=[])
    """More arguments of the operator."""
    extra_volumes: list[Object] = Field(default=[])
    """More volumes of the operator's pod."""
    extra_volume_mounts: list[Object] = Field(default=[])
    """Where the operator's container has them."""
    extra_containers: list[Object] = Field(default=[])
    """Containers beside the operator's."""
    tests: Tests = Tests()
    extra_objects: list[Object] = Field(default=[])
    """More objects of the release; templates inside are filled in."""
