"""Which nodes workers go to, and how soon they leave one that does not answer."""

from finetune_api.contract import GPU
from finetune_operator.manifests.subject import Manifest, Subject

NODE_LOST_SECONDS = 30
"""A gang that waits for a lost member costs more than a worker started for nothing."""
_LOST = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def tolerations(subject: Subject) -> list[Manifest]:
    """The job's, the one for GPU nodes, and a shorter patience with lost nodes than Kubernetes' 300 seconds."""
    asked = [
        toleration.model_dump(mode="json", by_alias=True, exclude_none=True)
        for toleration in subject.job.spec.placement.tolerations
    ]
    keys = {toleration.get("key") for toleration in asked}
    lost = [
        {
            "key": key,
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": NODE_LOST_SECONDS,
        }
        for key in _LOST
        if not keys & {key, None}  # the shorter of two would count
    ]
    gpus = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}
    return [*asked, *([gpus] if subject.has_gpus else []), *lost]


def affinity(subject: Subject) -> Manifest:
    """Workers near one another, or apart, or both: one per host of the same rack."""
    placement = subject.job.spec.placement
    wanted: Manifest = {}
    if placement.pack:
        wanted["podAffinity"] = _required(subject, placement.pack)
    if placement.spread_hosts:
        wanted["podAntiAffinity"] = _required(subject, "kubernetes.io/hostname")
    return wanted


def _required(subject: Subject, topology: str) -> Manifest:
    term = {"topologyKey": topology, "labelSelector": {"matchLabels": subject.pods}}
    return {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
