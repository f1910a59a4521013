"""Nodes for one job alone, so that a test can lose one of them and nobody else notices."""

from typing import Any

import fake_nodes
from control_plane import ControlPlane

POOL = "finetune.test/pool"


def add(plane: ControlPlane, name: str, count: int) -> dict[str, Any]:
    """`count` new nodes; only a job with the returned changes to its spec gets them, each for one worker."""
    like = plane.api.get("nodes", None, fake_nodes.name(0))
    has = {part: like["status"][part] for part in ("capacity", "allocatable")}
    for number in range(count):
        own = {POOL: name, "kubernetes.io/hostname": f"{name}-{number}"}
        metadata = {
            "name": f"{name}-{number}",
            "labels": like["metadata"]["labels"] | own,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        }
        taint = {"key": POOL, "value": name, "effect": "NoSchedule"}
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": metadata,
            "spec": {"taints": [taint]},
            "status": has,
        }
        plane.api.create("nodes", None, node)
    return {
        "placement.nodeSelector": {POOL: name},
        "placement.tolerations": [{"key": POOL, "value": name}],
        "placement.spreadHosts": True,
    }
