"""What becomes of fake pods: annotations that kwok obeys (kwok.yaml), for a living pod or for pods still to come."""

import secrets
from collections.abc import Mapping
from typing import Any

from api_client import Api
from waiting import eventually

PREFIX = "finetune.test/"
Fate = Mapping[str, object]
"""Annotations without the prefix, for example {"exit-code": 64}."""
_PARAMETERS = "fates"

# An admission policy copies the entries of the ConfigMap `fates` in a pod's namespace into the annotations of each new
# pod, so that they are there before kwok sees it. A key is "any." or "<completion index>." and the annotation's name.
_EXPRESSION = """
(has(object.metadata.annotations) ? [] : [JSONPatch{op: "add", path: "/metadata/annotations", value: {}}]) +
["any.", variables.index + "."].map(who, params.data.map(key, key.startsWith(who), JSONPatch{
    op: "add",
    path: "/metadata/annotations/finetune.test~1" + key.substring(size(who)),
    value: params.data[key]
})).flatten()
"""
_INDEX = "object.metadata.?labels['batch.kubernetes.io/job-completion-index'].orValue('none')"
_ADMISSION = "admissionregistration.k8s.io/v1"
_POLICY: dict[str, Any] = {
    "apiVersion": _ADMISSION,
    "kind": "MutatingAdmissionPolicy",
    "metadata": {"name": _PARAMETERS},
    "spec": {
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": {
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
            ]
        },
        "variables": [{"name": "index", "expression": _INDEX}],
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": _EXPRESSION}}],
    },
}
_BINDING = {
    "apiVersion": _ADMISSION,
    "kind": "MutatingAdmissionPolicyBinding",
    "metadata": {"name": _PARAMETERS},
    "spec": {
        "policyName": _PARAMETERS,
        "paramRef": {"name": _PARAMETERS, "parameterNotFoundAction": "Allow"},
    },
}


def install(api: Api) -> None:
    """Once per control plane, before `coming` is of use."""
    api.apply("mutatingadmissionpolicies", None, _POLICY)
    api.apply("mutatingadmissionpolicybindings", None, _BINDING)


def coming(api: Api, namespace: str, fates: Mapping[str, Fate]) -> None:
    """Every pod created in the namespace from now on gets these fates; {} ends that.

    Keys are "any" or a completion index, for example {"any": {"ready-after": "1s"}, "2": {"exit-code": 64}}; the
    more special one wins. Replacements get them too.
    """
    wanted = {f"{who}.{key}": _text(value) for who, fate in fates.items() for key, value in fate.items()}
    wanted["any.revision"] = revision = secrets.token_hex(4)
    meta = {"name": _PARAMETERS, "namespace": namespace}
    api.apply(
        "configmaps", namespace, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": wanted}
    )
    # The policy learns of the ConfigMap by a watch.
    eventually(lambda: _revision(api, namespace) == revision)


def change(api: Api, namespace: str, pod: str, **fate: object) -> None:
    """Settles what a living pod does, for example exit_code=64, exit_after="1s"; None takes one back."""
    annotations = {
        PREFIX + key.replace("_", "-"): None if value is None else _text(value) for key, value in fate.items()
    }
    api.patch("pods", namespace, pod, {"metadata": {"annotations": annotations}})


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value).lower()


def _revision(api: Api, namespace: str) -> str | None:
    """Of the fates that a pod would get; it is created only for show."""
    container = {
        "name": "probe",
        "image": "probe",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    secure = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe"},
        "spec": {"containers": [container], "securityContext": secure},
    }
    made = api.create("pods", namespace, body, dryRun="All")
    annotations: dict[str, str] = made["metadata"].get("annotations", {})
    return annotations.get(PREFIX + "revision")
