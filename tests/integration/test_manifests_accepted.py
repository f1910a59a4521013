"""The real API server takes every manifest as it is meant, in a namespace that enforces Pod Security "restricted"."""

import json
from pathlib import Path
from typing import Any

import pytest

import manifest_stories
from admission import refusal
from control_plane import ControlPlane
from waiting import eventually

Manifest = dict[str, Any]
LEVELS = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
RESOURCES = {
    "Service": "services",
    "ConfigMap": "configmaps",
    "NetworkPolicy": "networkpolicies",
    "Job": "jobs",
    "Pod": "pods",
}


@pytest.fixture(scope="module")
def guarded(plane: ControlPlane) -> str:
    """The namespace, with what the stories name."""
    name = plane.namespace(labels=LEVELS)
    plane.api.create("serviceaccounts", name, {"metadata": {"name": "trainer"}})
    plane.api.create("priorityclasses", None, {"metadata": {"name": "batch"}, "value": 10})
    runtime = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "nvidia"}}
    plane.api.request("POST", "/apis/node.k8s.io/v1/runtimeclasses", runtime | {"handler": "nvidia"})
    # Admission learns of them by watches.
    (*_, pod) = objects("full", name)
    eventually(lambda: not refusal(lambda: plane.api.create("pods", name, pod, dryRun="All")))
    return name


def objects(story: str, namespace: str) -> list[Manifest]:
    """What a story creates, and a pod as the Job controller makes them; groups need their CRDs."""
    found = manifest_stories.manifests(story)
    template = found["Job"]["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": "worker"},
        "spec": template["spec"],
    }
    wanted = [*(manifest for kind, manifest in found.items() if kind != "PodGroup"), pod]
    return [{**each, "metadata": {**each["metadata"], "namespace": namespace}} for each in wanted]


@pytest.mark.parametrize("story", manifest_stories.STORIES)
def test_kubectl_has_nothing_to_complain_about(
    plane: ControlPlane, guarded: str, tmp_path: Path, story: str
) -> None:
    wanted = objects(story, guarded)
    file = tmp_path / "objects.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": wanted}))
    said = plane.kubectl("create", "--dry-run=server", "--validate=strict", "-f", str(file))
    lines = [line for line in said.splitlines() if line]
    assert len(lines) == len(wanted), said
    assert all(line.endswith("created (server dry run)") for line in lines), said


@pytest.mark.parametrize("story", manifest_stories.STORIES)
def test_the_server_keeps_every_field(plane: ControlPlane, guarded: str, story: str) -> None:
    """What it does not know or allow it drops without a word: so the native group's field, unless switched on."""
    for wanted in objects(story, guarded):
        kept = plane.api.create(RESOURCES[wanted["kind"]], guarded, wanted, dryRun="All")
        assert [path for path in lost(wanted, kept) if not path.endswith(".schedulingGroup")] == []


def lost(sent: object, kept: object, path: str = "") -> list[str]:
    """Paths of values in `sent` that are not so in `kept`, which may hold more."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        inner = (lost(value, kept.get(key), f"{path}.{key}") for key, value in sent.items())
        return [found.strip(".") for each in inner for found in each]
    if isinstance(sent, list) and isinstance(kept, list) and len(sent) <= len(kept):
        pairs = enumerate(zip(sent, kept, strict=False))
        return [found for i, (one, other) in pairs for found in lost(one, other, f"{path}[{i}]")]
    return [] if sent == kept else [path]


def test_the_check_sees_a_pod_that_is_not_restricted(plane: ControlPlane, guarded: str) -> None:
    """Else the others could not fail."""
    (*_, pod) = objects("minimal", guarded)
    del pod["spec"]["securityContext"]["seccompProfile"]
    with pytest.raises(Exception, match=r"violates PodSecurity.*seccompProfile"):
        plane.api.create("pods", guarded, pod, dryRun="All")
