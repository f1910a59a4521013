"""The operator as a process on a real control plane: from apply to Complete, in the fewest writes."""

from collections.abc import Callable

import pytest

import jobs
import operator_process
from api_client import Body
from cluster_jobs import ON_A_CLUSTER, PUBLISHED, report
from control_plane import ControlPlane

WRITES = [
    ("create", "services"),
    ("create", "configmaps"),
    ("create", "networkpolicies"),
    ("create", "jobs"),
    ("patch", "finetunejobs/status"),
]
"""Until the pods are there; then only status and events."""


@pytest.mark.usefixtures("crd")
def test_a_job_goes_from_apply_to_complete(plane: ControlPlane, namespace: str) -> None:
    document = jobs.document(ON_A_CLUSTER)
    document["metadata"]["namespace"] = namespace
    with operator_process.start(plane.kubeconfig, {"namespaces": [namespace]}) as operator:
        mark = plane.audit_mark()
        plane.api.create("finetunejobs", namespace, document)
        plane.api.until("finetunejobs", namespace, "flowers", _is_in("Running"))
        chief = plane.pods_of(namespace, "ft-flowers")[0]
        said = report(0, result=PUBLISHED)
        plane.pod(namespace, chief["metadata"]["name"], exit_code=0, exit_message=said)
        done = plane.api.until("finetunejobs", namespace, "flowers", _is_in("Complete"))
        assert operator.stop() == 0
    assert done["status"]["artifacts"]["modelURI"] == PUBLISHED["modelUri"]
    assert not done["metadata"].get("annotations")
    assert not done["metadata"].get("finalizers")
    written = [
        (event.verb, "/".join(filter(None, (event.resource, event.subresource))))
        for event in plane.audit(since=mark, writes=True)
        if event.user_agent.startswith("finetune-operator") and event.resource != "leases"
    ]
    assert written[: len(WRITES)] == WRITES
    assert {what for _, what in written[len(WRITES) :]} == {"finetunejobs/status", "events"}
    assert len(written) <= 12
    problems = [line for line in operator.logs if line.get("level") not in ("info", "debug")]
    assert not problems


def _is_in(phase: str) -> Callable[[Body], bool]:
    return lambda job: job.get("status", {}).get("phase") == phase
