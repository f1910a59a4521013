"""Nodes without machines, whose kubelets kwok plays. One can be lost, with its kubelet, and found again."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http import HTTPStatus

from api_client import STRATEGIC_PATCH, Api, ApiError, Body, has_condition

_LOST = "finetune.test/lost"


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
    now = _now()
    # Each object carries the mark itself, so kwok knows of it before anything else that happens to the object.
    api.patch("nodes", None, node, _marked(now))
    lost = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": now}
    lost["message"] = "Kubelet stopped posting node status."
    not_ready = {"type": "Ready", "status": "False", "lastTransitionTime": now}
    for pod in _pods(api, node):
        _patch_pod(api, pod, _marked(now))
        _patch_pod(api, pod, {"status": {"conditions": [not_ready]}}, "status")
    api.patch("nodes", None, node, {"status": {"conditions": [lost]}}, "status", STRATEGIC_PATCH)


def find(api: Api, node: str) -> None:
    """The machine is back; its kubelet takes care of the pods that it finds there."""
    api.patch("nodes", None, node, _marked(None))
    _wait_ready(api, node)
    for pod in _pods(api, node):
        _patch_pod(api, pod, _marked(None))


def _marked(since: str | None) -> Body:
    """A change that takes an object away from kwok (kwok.yaml), or with None gives it back."""
    return {"metadata": {"annotations": {_LOST: since}}}


def _patch_pod(api: Api, pod: Body, change: Body, subresource: str = "") -> None:
    """Without effect on a pod that another test has taken away meanwhile."""
    try:
        api.patch(
            "pods",
            pod["metadata"]["namespace"],
            pod["metadata"]["name"],
            change,
            subresource,
            STRATEGIC_PATCH,
        )
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise


def _pods(api: Api, node: str) -> Sequence[Body]:
    return [pod for pod in api.list("pods") if pod["spec"].get("nodeName") == node]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


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
