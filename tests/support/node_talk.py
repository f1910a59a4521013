"""Small pods that talk to others, or cannot; their image is that of `node_images.talk`."""

import json
from collections.abc import Sequence
from typing import Any

import node_images
from api_client import Body


def job(name: str, workers: int, arguments: Sequence[str], spread: bool = False) -> Body:
    """Pods of one Job with a name each, labelled `app: NAME`; each on another node if they are to spread."""
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": name}}}
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    how = {"completionMode": "Indexed", "completions": workers, "parallelism": workers}
    return _job(name, {**_spec(arguments), "subdomain": name, **({"affinity": apart} if spread else {})}, how)


def visitor(name: str, node: str, app: str, before: Sequence[str], arguments: Sequence[str]) -> Body:
    """A Job with one pod on that node, labelled `app`. It comes to `arguments` when it is through with `before`."""
    spec = {**_spec(arguments), "nodeName": node, "initContainers": [_container("before", before)]}
    return _job(name, spec, {}, app)


def pod(name: str, node: str, app: str, arguments: Sequence[str]) -> Body:
    """A pod on that node, labelled `app`."""
    metadata = {"name": name, "labels": {"app": app}}
    return _copy({"metadata": metadata, "spec": {**_spec(arguments), "nodeName": node}})


def _job(name: str, spec: dict[str, Any], how: dict[str, Any], app: str = "") -> Body:
    template = {"metadata": {"labels": {"app": app or name}}, "spec": spec}
    return _copy({"metadata": {"name": name}, "spec": {**how, "backoffLimit": 0, "template": template}})


def _spec(arguments: Sequence[str]) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65535,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container("talk", arguments)],
    }


def _container(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": node_images.TALK,
        "imagePullPolicy": "Never",
        "args": list(arguments),
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def _copy(body: dict[str, Any]) -> Body:
    copied: Body = json.loads(json.dumps(body))
    return copied
