"""An admission policy that makes pods of chosen namespaces use their node's network, as a careless injector might."""

from typing import Any

from api_client import ApiError
from control_plane import ControlPlane

INTO = {"finetune.test/injected": "yes", "pod-security.kubernetes.io/enforce": "restricted"}
"""Labels of a namespace that it works on and that admits none of its pods."""
_API = "admissionregistration.k8s.io/v1"
_NAME = "injector"
_MUTATION = '[JSONPatch{op: "add", path: "/spec/hostNetwork", value: true}]'


def install(plane: ControlPlane) -> None:
    """See `wait` for when it works."""
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}
    selector = {"matchLabels": {"finetune.test/injected": "yes"}}
    spec: dict[str, Any] = {
        "matchConstraints": {"resourceRules": [pods], "namespaceSelector": selector},
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": _MUTATION}}],
    }
    policy = {
        "apiVersion": _API,
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": _NAME},
        "spec": spec,
    }
    binding = {"apiVersion": _API, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": _NAME}}
    plane.api.apply("mutatingadmissionpolicies", None, policy)
    plane.api.apply("mutatingadmissionpolicybindings", None, {**binding, "spec": {"policyName": _NAME}})


def refuses(plane: ControlPlane, namespace: str) -> bool:
    """Whether a pod that is admitted as it is written is refused as it is changed."""
    container = {
        "name": "probe",
        "image": "probe",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    secure = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"containers": [container], "securityContext": secure}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": spec}
    try:
        plane.api.create("pods", namespace, pod, dryRun="All")
    except ApiError as error:
        return "hostNetwork" in error.message
    return False
