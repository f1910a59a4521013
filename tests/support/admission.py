"""The chart's ValidatingAdmissionPolicies on a test control plane."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

import api_client
import helm
from api_client import ApiError, Body
from control_plane import ControlPlane
from waiting import eventually

PLURALS = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
}
for plural in PLURALS.values():
    api_client.ROOTS[plural] = "/apis/admissionregistration.k8s.io/v1"


def rendered(namespace: str, values: Mapping[str, Any]) -> list[Body]:
    """The policies and bindings of a release in `namespace`, as Helm would install them."""
    flags = (f"--namespace={namespace}", f"--kube-version={helm.KUBERNETES}")
    text = helm.run(["template", helm.RELEASE, str(helm.CHART), *flags], values)
    found = [body for body in yaml.safe_load_all(text) if body and body["kind"] in PLURALS]
    assert found, "the chart has no policies with these values"
    return found


@contextlib.contextmanager
def policies(
    plane: ControlPlane, namespace: str, values: Mapping[str, Any], act: Callable[[], object]
) -> Iterator[list[Body]]:
    """The policies in force, until the block ends. `act` is something that they refuse: it tells when they are."""
    bodies = rendered(namespace, values)
    try:
        for body in bodies:
            plane.api.apply(PLURALS[body["kind"]], None, body)
        eventually(lambda: is_refused(act), what=lambda: "the policies have no effect")
        yield bodies
    finally:
        for body in reversed(bodies):
            with contextlib.suppress(ApiError):
                plane.api.delete(PLURALS[body["kind"]], None, body["metadata"]["name"])


def refusal(act: Callable[[], object]) -> str:
    """What the API server says to a request that it refuses; empty for one that it takes."""
    try:
        act()
    except ApiError as error:
        if error.status >= 500:
            raise
        return str(error)
    return ""


def is_refused(act: Callable[[], object]) -> bool:
    """Whether a policy says no."""
    return "ValidatingAdmissionPolicy" in refusal(act)


def complaints(plane: ControlPlane, bodies: list[Body]) -> list[str]:
    """What the API server's type checker finds wrong with the policies' expressions, once it has looked."""
    found = []
    for body in bodies:
        if body["kind"] != "ValidatingAdmissionPolicy":
            continue
        name, plural = body["metadata"]["name"], PLURALS[body["kind"]]
        seen = plane.api.until(plural, None, name, lambda one: "typeChecking" in one.get("status", {}))
        found += [str(warning) for warning in seen["status"]["typeChecking"].get("expressionWarnings", [])]
    return found
