"""What a test can make fake pods and nodes do, and the supervisors that answer for them."""

import json
import urllib.request

import gang_jobs
from api_client import Body, has_condition
from control_plane import ControlPlane
from fake_trainers import FakeTrainers
from finetune_api.events import Phase
from finetune_api.progress import Progress
from gang_jobs import JOB, name, wait_replaced
from waiting import eventually


def test_the_fate_of_pods_can_be_settled_before_they_exist(plane: ControlPlane, namespace: str) -> None:
    plane.coming_pods(namespace, {"any": {"stay-pending": True}, "2": {"waiting-reason": "ImagePullBackOff"}})
    gang_jobs.create(plane, namespace)
    eventually(lambda: len(plane.pods_of(namespace, JOB)) == gang_jobs.WORKERS)
    eventually(lambda: _waiting(plane.pods_of(namespace, JOB).get(2)) == "ImagePullBackOff")
    pods = plane.pods_of(namespace, JOB)
    assert {pod["status"]["phase"] for pod in pods.values()} == {"Pending"}
    for pod in pods.values():
        plane.pod(namespace, name(pod), stay_pending=None, waiting_reason=None)
    plane.api.until("jobs", namespace, JOB, lambda job: job["status"].get("ready") == gang_jobs.WORKERS)


def test_the_more_special_fate_wins(plane: ControlPlane, namespace: str) -> None:
    plane.coming_pods(namespace, {"any": {"exit-code": 64, "exit-after": "1h"}, "1": {"exit-after": "0s"}})
    gang_jobs.create(plane, namespace)
    job = plane.api.until("jobs", namespace, JOB, has_condition("Failed"))
    assert "failed with exit code 64 matching FailJob rule at index 1" in str(job["status"]["conditions"])


def test_a_container_out_of_memory_and_a_pod_out_of_storage(plane: ControlPlane, namespace: str) -> None:
    pods = gang_jobs.run(plane, namespace)
    plane.pod(namespace, name(pods[1]), exit_code=137, exit_reason="OOMKilled")
    killed = plane.api.until("pods", namespace, name(pods[1]), lambda pod: pod["status"]["phase"] == "Failed")
    assert killed["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] == "OOMKilled"
    plane.pod(namespace, name(pods[2]), evicted="Usage of EmptyDir volume exceeds the limit.")
    evicted = plane.api.until(
        "pods", namespace, name(pods[2]), lambda pod: pod["status"]["phase"] == "Failed"
    )
    assert (evicted["status"]["reason"], evicted["status"]["message"][:8]) == ("Evicted", "Usage of")
    assert not has_condition("DisruptionTarget")(evicted)


def test_a_lost_node_is_tainted_and_its_pods_hang_until_it_is_found(
    plane: ControlPlane, namespace: str
) -> None:
    pods = gang_jobs.run(plane, namespace)
    node, lost = pods[1]["spec"]["nodeName"], name(pods[1])
    with plane.lost_node(node):
        plane.api.until("nodes", None, node, lambda body: _unreachable(body))
        hanging = plane.api.until("pods", namespace, lost, lambda pod: "deletionTimestamp" in pod["metadata"])
        assert has_condition("DisruptionTarget")(hanging)
        assert hanging["status"]["phase"] == "Running"
    plane.api.until_gone("pods", namespace, lost)
    wait_replaced(plane, namespace, 1, pods[1])
    plane.api.until("nodes", None, node, lambda body: not _unreachable(body))


def test_a_supervisor_answers_for_a_pod(plane: ControlPlane, namespace: str, trainers: FakeTrainers) -> None:
    chief = gang_jobs.run(plane, namespace)[0]
    trainer = trainers.serve(chief)
    trainer.start(restarts=1)
    trainer.phase(Phase.STEP, stage=1)
    trainer.step(stage=1, epoch=0, step=5)
    trainer.epoch(stage=1, epoch=0, val_accuracy=0.9)
    shown = Progress.model_validate_json(_page(chief, "/progress"))
    assert (shown.stage_name, shown.epoch, shown.percent, shown.best_metric, shown.restarts) == (
        "finetune", 1, 60, "val_accuracy=0.9000", 1,
    )  # fmt: skip
    assert b"finetune_" in _page(chief, "/metrics")
    message = trainer.publish(uri="s3://models/7", version=7)
    plane.pod(namespace, name(chief), exit_code=0, exit_message=message)
    plane.api.until("jobs", namespace, JOB, has_condition("Complete"))
    ended = plane.api.get("pods", namespace, name(chief))["status"]["containerStatuses"][0]["state"][
        "terminated"
    ]
    assert json.loads(ended["message"])["result"]["modelUri"] == "s3://models/7"


def _page(pod: Body, path: str) -> bytes:
    with urllib.request.urlopen(f"http://{pod['status']['podIP']}:9090{path}", timeout=10) as page:
        content: bytes = page.read()
    return content


def _waiting(pod: Body | None) -> str | None:
    statuses = (pod or {}).get("status", {}).get("containerStatuses") or [{}]
    reason: str | None = statuses[0].get("state", {}).get("waiting", {}).get("reason")
    return reason


def _unreachable(node: Body) -> bool:
    taints = node["spec"].get("taints", [])
    return any(t["key"] == "node.kubernetes.io/unreachable" and t["effect"] == "NoExecute" for t in taints)
