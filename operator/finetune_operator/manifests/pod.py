"""The pod template: what a worker runs as, with what, and where."""

from finetune_api.contract import (
    CONTAINER,
    HTTP_PORT,
    RENDEZVOUS_PORT,
    TENSORFLOW_PORT,
    TERMINATION_FILE,
    Env,
    Label,
)
from finetune_api.v1alpha1.units import parse_quantity
from finetune_operator.gangs import Gang
from finetune_operator.manifests import volumes
from finetune_operator.manifests.placement import affinity, tolerations
from finetune_operator.manifests.subject import Manifest, Subject

USER = 65532
DISK = "ephemeral-storage"
GRACE_SECONDS = 120
"""To save, and to upload what was saved."""

_UNDISTURBED = {
    # One lost worker stops all of them: autoscalers look for other nodes to empty.
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
    # A sidecar never ends, and would stand between workers that know one another by token.
    "sidecar.istio.io/inject": "false",
    "linkerd.io/inject": "disabled",
    "kubectl.kubernetes.io/default-container": CONTAINER,
}


def template(subject: Subject, gang: Gang) -> Manifest:
    """`spec.template` of the Job."""
    trainer = subject.settings.trainer
    azure = {"azure.workload.identity/use": "true"} if _identity(subject) == "Azure" else {}
    return {
        "metadata": {
            "labels": {**trainer.labels, **azure, **gang.pod_labels, **subject.labels},
            "annotations": {**_UNDISTURBED, **gang.pod_annotations, **subject.annotations},
        },
        "spec": {
            "restartPolicy": "Never",
            "subdomain": subject.name,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_container(subject)],
            "volumes": volumes.volumes(subject),
            "tolerations": tolerations(subject),
            **_choices(subject),
            **gang.pod_spec,
        },
    }


def _choices(subject: Subject) -> Manifest:
    """What is in the pod's spec only when somebody asks for it."""
    spec, trainer = subject.job.spec, subject.settings.trainer
    runtimes = trainer.runtime_class_names
    chosen = {
        "serviceAccountName": spec.service_account_name,
        "priorityClassName": spec.scheduling.priority_class_name,
        "runtimeClassName": runtimes.gpu if subject.has_gpus else runtimes.cpu,
        "imagePullSecrets": [{"name": name} for name in trainer.image_pull_secrets],
        "nodeSelector": spec.placement.node_selector,
        "affinity": affinity(subject),
    }
    return {name: value for name, value in chosen.items() if value}


def _container(subject: Subject) -> Manifest:
    trainer = subject.settings.trainer
    amounts = limits(subject)
    policy = {"imagePullPolicy": trainer.image_pull_policy} if trainer.image_pull_policy else {}
    return {
        "name": CONTAINER,
        "image": subject.job.spec.image or (trainer.images.gpu if subject.has_gpus else trainer.images.cpu),
        **policy,
        "command": ["python", "-m", "finetune_supervisor"],
        "env": _environment(subject, amounts),
        "ports": [
            {"name": "tensorflow", "containerPort": TENSORFLOW_PORT},
            {"name": "rendezvous", "containerPort": RENDEZVOUS_PORT},
            {"name": "http", "containerPort": HTTP_PORT},
        ],
        "resources": {"requests": {**amounts, **_disk_request(subject, amounts)}, "limits": amounts},
        "volumeMounts": volumes.mounts(subject),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePath": TERMINATION_FILE,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **_probes(),
    }


def _probes() -> Manifest:
    """Ready is a supervisor that is up. Hangs of the training are the supervisor's to find, so liveness is patient."""
    up = {"httpGet": {"path": "/ready", "port": "http"}}
    alive = {"httpGet": {"path": "/healthz", "port": "http"}}
    return {
        "startupProbe": {**alive, "periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": 120},
        "readinessProbe": {**up, "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 3},
        "livenessProbe": {**alive, "periodSeconds": 20, "timeoutSeconds": 10, "failureThreshold": 9},
    }


def limits(subject: Subject) -> dict[str, str]:
    """The most that one worker gets; files in memory are counted into its memory."""
    defaults = subject.settings.trainer.resources
    local = volumes.local_volumes(subject)
    on_disk = sum(volume.bytes for volume in local if not volume.in_memory) + volumes.LOG_BYTES
    asked = {
        "cpu": defaults.cpu,
        "memory": defaults.memory,
        DISK: defaults.ephemeral_storage or volumes.written(on_disk),
        **subject.job.spec.resources.limits,
    }
    in_memory = sum(volume.bytes for volume in local if volume.in_memory)
    return {**asked, "memory": volumes.written(parse_quantity(asked["memory"]) + in_memory)}


def _disk_request(subject: Subject, amounts: dict[str, str]) -> dict[str, str]:
    """What of its disk a node is asked for: all of a limit that somebody chose, little of what volumes may hold."""
    defaults = subject.settings.trainer.resources
    if defaults.ephemeral_storage or DISK in subject.job.spec.resources.limits:
        return {}
    return {DISK: min(defaults.ephemeral_storage_request, amounts[DISK], key=parse_quantity)}


def _environment(subject: Subject, amounts: dict[str, str]) -> list[Manifest]:
    storage = subject.job.spec.storage
    index = {"fieldRef": {"fieldPath": f"metadata.annotations['{Label.INDEX}']"}}
    ours: dict[str, str] = {
        Env.JOB: f"{volumes.JOB_FOLDER}/job.json",
        Env.TOKEN: subject.settings.token(subject.uid),
        Env.SCRATCH: volumes.SCRATCH_FOLDER,
        Env.CLOSED: ",".join(_closed(subject)),
        Env.THREADS: str(parse_quantity(amounts["cpu"])),
        "HOME": volumes.HOME_FOLDER,
        "KERAS_HOME": subject.settings.trainer.keras_home or volumes.KERAS_FOLDER,
        "PYTHONUNBUFFERED": "1",
    }
    if volumes.has_credentials(subject):
        ours[Env.CREDENTIALS] = volumes.CREDENTIALS_FOLDER
    if storage.secret_name:
        ours[Env.SECRET] = storage.secret_name
    if storage.ca_config_map:
        ours[Env.CA] = storage.ca_config_map
    asked = subject.settings.trainer.env | {one.name: one.value for one in subject.job.spec.env}
    return [
        {"name": Env.INDEX.value, "valueFrom": index},
        *(
            {"name": str(name), "value": value}
            for name, value in (_past_proxies(subject, asked) | ours).items()
        ),
    ]


def _past_proxies(subject: Subject, asked: dict[str, str]) -> dict[str, str]:
    """The variables, with what no proxy can reach named: gRPC would look for the other workers behind it."""
    if not any(name.lower().endswith("_proxy") for name in asked):
        return asked
    given = asked.get("NO_PROXY") or asked.get("no_proxy")
    inside = ",".join(filter(None, [given, subject.name, f".{subject.settings.cluster_domain}"]))
    return {**asked, "NO_PROXY": inside, "no_proxy": inside}


def _closed(subject: Subject) -> list[str]:
    """Where this pod is to send nothing; no cloud has its storage where it hands out credentials."""
    settings = subject.settings
    return [*settings.trainer.closed_addresses, *settings.network_policy.metadata_addresses]


def _identity(subject: Subject) -> str | None:
    return subject.settings.workload_identity.provider
