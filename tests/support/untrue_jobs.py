"""Changes that make the Job of a FineTuneJob one that the operator would never make."""

from collections.abc import Callable
from typing import Any

from api_client import Body


def _put(*place: str | int, value: Any) -> Callable[[Body], None]:
    def act(body: Body) -> None:
        here: Any = body
        for part in place[:-1]:
            here = here.setdefault(part, {}) if isinstance(here, dict) else here[part]
        if isinstance(here, list) and place[-1] == len(here):
            here.append(value)
        elif value is None:
            here.pop(place[-1])
        else:
            here[place[-1]] = value

    return act


POD = ("spec", "template", "spec")
TRAINER = (*POD, "containers", 0)
SECURITY = (*TRAINER, "securityContext")
CHANGES: dict[str, Callable[[Body], None]] = {
    "privileged": _put(*SECURITY, value={"privileged": True}),
    "escalation": _put(*SECURITY, "allowPrivilegeEscalation", value=True),
    "capability": _put(*SECURITY, "capabilities", "add", value=["SYS_ADMIN"]),
    "capabilities kept": _put(*SECURITY, "capabilities", value={}),
    "root": _put(*POD, "securityContext", "runAsUser", value=0),
    "root of the container": _put(*SECURITY, "runAsUser", value=0),
    "no seccomp": _put(*POD, "securityContext", "seccompProfile", value={"type": "Unconfined"}),
    "writable root": _put(*SECURITY, "readOnlyRootFilesystem", value=False),
    "host network": _put(*POD, "hostNetwork", value=True),
    "host PIDs": _put(*POD, "hostPID", value=True),
    "host IPC": _put(*POD, "hostIPC", value=True),
    "node": _put(*POD, "nodeName", value="fake-0"),
    "host port": _put(*TRAINER, "ports", value=[{"containerPort": 1, "hostPort": 1}]),
    "host path": _put(*POD, "volumes", 0, value={"name": "job", "hostPath": {"path": "/"}}),
    "secret volume": _put(*POD, "volumes", 0, value={"name": "job", "secret": {"secretName": "admin"}}),
    "projected token": _put(
        *POD, "volumes", 0,
        value={"name": "job", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
    ),
    "somebody's secret": _put(
        *POD, "volumes", 0, value={"name": "job", "projected": {"sources": [{"secret": {"name": "admin"}}]}}
    ),
    "token": _put(*POD, "automountServiceAccountToken", value=True),
    "service account": _put(*POD, "serviceAccountName", value="admin"),
    "image": _put(*TRAINER, "image", value="evil/trainer:1"),
    "command": _put(*TRAINER, "command", value=["sh", "-c", "id"]),
    "arguments": _put(*TRAINER, "args", value=["-h"]),
    "hook": _put(*TRAINER, "lifecycle", value={"preStop": {"exec": {"command": ["id"]}}}),
    "second container": _put(*POD, "containers", 1, value={"name": "b", "image": "b"}),
    "init container": _put(*POD, "initContainers", value=[{"name": "b", "image": "b"}]),
    "variable of a secret": _put(
        *TRAINER, "env", 0, value={"name": "A", "valueFrom": {"secretKeyRef": {"name": "admin", "key": "a"}}}
    ),
    "all variables of a secret": _put(*TRAINER, "envFrom", value=[{"secretRef": {"name": "admin"}}]),
    "no owner": _put("metadata", "ownerReferences", value=[]),
    "owner of another kind": _put("metadata", "ownerReferences", 0, "kind", value="Deployment"),
    "no label": _put("metadata", "labels", "app.kubernetes.io/managed-by", value=None),
    "another name": _put("metadata", "name", value="innocent"),
}  # fmt: skip
