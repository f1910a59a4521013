"""Nodes without machines, whose kubelets kwok plays. One can be lost, with its kubelet, and found again."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from api_client import STRATEGIC_PATCH, Api, Body, has_condition

_LEASES = "kube-node-lease"
_FOREIGN = "nobody"


def name(number: int) -> str:
    return f"fake-{number}"


def add(api: Api, count: int, gpus: int = 8) -> None:
    """`count` nodes in two zones, each with 32 CPUs, 256 GiB and `gpus` GPUs; returns when all are ready."""
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: api.create("nodes", None, _node(number, gpus)), range(count)))
        list(threads.map(lambda number: _wait_ready(api, name(number)), range(count)))


def lose(api: Api, node: str) -> None:
    """The machine is gone: its kubelet does nothing for its pods any more, and the cluster knows.

    What a controller manager does 50 s after the last heart-beat happens at once: condition Ready=Unknown and
    pods not ready; the taints then follow from it within a second, and the eviction of pods that do not tolerate them.
    """
    # kwok leaves a node alone while somebody else holds the node's lease.
    api.patch("leases", _LEASES, node, {"spec": _lease(_FOREIGN)})
    now = _now()
    lost = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": now}
    lost["message"] = "Kubelet stopped posting node status."
    api.patch("nodes", None, node, {"status": {"conditions": [lost]}}, "status", STRATEGIC_PATCH)
    not_ready = {"type": "Ready", "status": "False", "lastTransitionTime": now}
    for pod in _pods(api, node):
        where = pod["metadata"]
        change = {"status": {"conditions": [not_ready]}}
        api.patch("pods", where["namespace"], where["name"], change, "status", STRATEGIC_PATCH)


def find(api: Api, node: str) -> None:
    """The machine is back; its kubelet takes care of the pods that it finds there."""
    api.patch("leases", _LEASES, node, {"spec": _lease(name_of_kwok(api))})
    touched = {"metadata": {"annotations": {"finetune.test/touched": _now()}}}
    api.patch("nodes", None, node, touched)
    _wait_ready(api, node)
    for pod in _pods(api, node):
        api.patch("pods", pod["metadata"]["namespace"], pod["metadata"]["name"], touched)


def name_of_kwok(api: Api) -> str:
    """Who holds the leases of living nodes."""
    holders = [str(lease["spec"]["holderIdentity"]) for lease in api.list("leases", _LEASES)]
    return next(holder for holder in holders if holder != _FOREIGN)


def _pods(api: Api, node: str) -> Sequence[Body]:
    return [pod for pod in api.list("pods") if pod["spec"].get("nodeName") == node]


def _lease(holder: str) -> Body:
    return {"holderIdentity": holder, "leaseDurationSeconds": 86400, "renewTime": _now("microseconds")}


def _now(precision: str = "seconds") -> str:
    return datetime.now(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def _wait_ready(api: Api, node: str) -> None:
    api.until("nodes", None, node, has_condition("Ready"))


def _node(number: int, gpus: int) -> Body:
    has = {
        "cpu": "32",
        "memory": "256Gi",
        "pods": "110",
        "ephemeral-storage": "100Ti",
        "nvidia.com/gpu": str(gpus),
    }
    labels = {
        "kubernetes.io/hostname": name(number),
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": f"zone-{number % 2}",
        "finetune.test/node": "fake",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name(number),
            "labels": labels,
            "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
        },
        "status": {"capacity": has, "allocatable": has},
    }
