"""Values about the operator's pod."""

from typing import Any, Literal

from pydantic import Field

from finetune_operator.knobs import Group

Object = dict[str, Any]
"""Passed on to Kubernetes as it is."""
PullPolicy = Literal["Always", "IfNotPresent", "Never"]
_USER = 65532
RESTRICTED_POD: Object = {
    "runAsNonRoot": True,
    "runAsUser": _USER,
    "runAsGroup": _USER,
    "fsGroup": _USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED_CONTAINER: Object = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


class ServiceAccount(Group):
    """Who the operator is to the Kubernetes API."""

    create: bool = True
    """False: it is there already."""
    name: str = ""
    """Empty: the full name of the release; without `create`, `default`."""
    annotations: dict[str, str] = Field(default={})
    """More annotations."""
