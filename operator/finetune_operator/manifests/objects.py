"""Service, ConfigMap, NetworkPolicy, PodGroup and Job of one FineTuneJob."""

from finetune_api.contract import (
    CONTAINER,
    HTTP_PORT,
    IGNORED,
    PERMANENT,
    RENDEZVOUS_PORT,
    TENSORFLOW_PORT,
)
from finetune_api.v1alpha1 import FineTuneJob
from finetune_operator.gangs import Gang, gang_of
from finetune_operator.manifests.network import network_policy
from finetune_operator.manifests.pod import template
from finetune_operator.manifests.subject import Manifest, Subject
from finetune_operator.settings import Settings


def children(job: FineTuneJob, uid: str, namespace: str, settings: Settings) -> dict[str, Manifest]:
    """The objects of `job` by kind, in the order to create them in.

    The token in the Job is this process's own: a Job is created once, by whoever comes first, and never
    written again.
    """
    subject = Subject(job, uid, namespace, settings)
    gang = gang_of(job, subject.name, settings)
    wanted = [service(subject), config_map(subject)]
    if settings.network_policy.enabled:
        wanted.append(network_policy(subject))
    if gang.group is not None:
        wanted.append({**gang.group, "metadata": subject.metadata()})
    return {manifest["kind"]: manifest for manifest in (*wanted, indexed_job(subject, gang))}


def guarded(job: FineTuneJob, uid: str, namespace: str, settings: Settings) -> dict[str, Manifest]:
    """Those of `children` that are put right when somebody changes them: cheap, for it is asked often."""
    subject = Subject(job, uid, namespace, settings)
    wanted = [service(subject), *([network_policy(subject)] if settings.network_policy.enabled else [])]
    return {manifest["kind"]: manifest for manifest in wanted}


def service(subject: Subject) -> Manifest:
    """Gives each worker a name to be found by, before it is ready: being found is how it gets there."""
    ports = {"tensorflow": TENSORFLOW_PORT, "rendezvous": RENDEZVOUS_PORT, "http": HTTP_PORT}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": subject.metadata(),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": subject.pods,
            "ports": [{"name": name, "port": port, "protocol": "TCP"} for name, port in ports.items()],
        },
    }


def config_map(subject: Subject) -> Manifest:
    """job.json, the same for the whole life of the job."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {**subject.metadata(), "annotations": subject.annotations},
        "immutable": True,
        "data": {"job.json": subject.job_json},
    }


def indexed_job(subject: Subject, gang: Gang) -> Manifest:
    """One Job for the whole life of the FineTuneJob; its controller replaces lost pods, operator or not."""
    workers = subject.job.spec.workers
    metadata = subject.metadata()
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            **metadata,
            "labels": {**metadata["labels"], **gang.job_labels},
            "annotations": {**gang.job_annotations, **subject.annotations},
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": workers,
            "parallelism": workers,
            "suspend": gang.suspended,
            # Per index: otherwise each lost pod, counted or not, makes every later replacement slower.
            "backoffLimitPerIndex": subject.job.spec.max_restarts,
            "maxFailedIndexes": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _reactions()},
            "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
            "template": template(subject, gang),
        },
    }


def _reactions() -> list[Manifest]:
    """The first rule that fits decides; a failure that none fits is counted."""
    return [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        _on_codes("FailJob", PERMANENT),
        _on_codes("Ignore", IGNORED),
    ]


def _on_codes(action: str, codes: frozenset[int]) -> Manifest:
    values = sorted(int(code) for code in codes)
    return {"action": action, "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": values}}
