"""The control plane that the other tests here stand on does what a real cluster does."""

import pytest
import urllib3

import gang_jobs
from api_client import STRATEGIC_PATCH, Access, Api, ApiError, Body, has_condition
from control_plane import ControlPlane
from gang_jobs import JOB, name, wait_replaced
from waiting import eventually

SOONER_THAN_SHIPPED = 9.0
"""Seconds. The Job controller as shipped waits 10 s before it replaces a pod; here it is 1 s."""


def test_an_indexed_job_runs_to_its_end(plane: ControlPlane, namespace: str) -> None:
    pods = gang_jobs.run(plane, namespace)
    plane.pod(namespace, name(pods[0]), exit_code=0, exit_message='{"result": "Trained"}')
    plane.api.until("jobs", namespace, JOB, has_condition("Complete"))
    ended = _terminated(plane.api.get("pods", namespace, name(pods[0])))
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (0, "Completed", '{"result": "Trained"}')
    assert all(pod["status"]["podIP"].startswith("127.") for pod in pods.values())
    eventually(lambda: plane.pods_of(namespace, JOB) == {})


def test_exit_code_64_fails_the_job(plane: ControlPlane, namespace: str) -> None:
    pods = gang_jobs.run(plane, namespace)
    plane.pod(namespace, name(pods[2]), exit_code=64)
    job = plane.api.until("jobs", namespace, JOB, has_condition("Failed"))
    assert _condition(job, "Failed")["reason"] == "PodFailurePolicy"


def test_an_evicted_pod_ends_as_by_a_kubelet_and_is_replaced(plane: ControlPlane, namespace: str) -> None:
    pods = gang_jobs.run(plane, namespace)
    lost = name(pods[1])
    plane.pod(namespace, lost, term_after="1h")
    plane.api.evict(namespace, lost)
    evicted = plane.api.get("pods", namespace, lost)
    assert has_condition("DisruptionTarget")(evicted)
    assert evicted["status"]["phase"] == "Running"
    plane.pod(namespace, lost, term_after="200ms")
    evicted = plane.api.until("pods", namespace, lost, lambda pod: pod["status"]["phase"] == "Failed")
    assert _terminated(evicted)["exitCode"] == 143
    wait_replaced(plane, namespace, 1, pods[1], SOONER_THAN_SHIPPED)
    assert "failed" not in plane.api.get("jobs", namespace, JOB)["status"]


def test_a_pod_forced_away_is_replaced_only_once_its_end_is_written(
    plane: ControlPlane, namespace: str
) -> None:
    """A Job that replaces what has failed waits for ever for a pod that never says so."""
    pods = gang_jobs.run(plane, namespace)
    node, lost = pods[3]["spec"]["nodeName"], name(pods[3])
    with plane.lost_node(node):
        plane.force_delete(namespace, lost)
        stuck = plane.api.get("pods", namespace, lost)
        assert stuck["metadata"]["finalizers"] == ["batch.kubernetes.io/job-tracking"]
        ended = {"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True"}]}
        plane.api.patch("pods", namespace, lost, {"status": ended}, "status", STRATEGIC_PATCH)
        plane.force_delete(namespace, lost)
        wait_replaced(plane, namespace, 3, pods[3], SOONER_THAN_SHIPPED)


def test_the_audit_log_shows_who_wrote_what(plane: ControlPlane, namespace: str) -> None:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get"]}]
    api = Api(Access.read(plane.user("writer", rules)), user_agent="tests/1")
    mark = plane.audit_mark()
    api.create("configmaps", namespace, {"metadata": {"name": "a"}})
    with pytest.raises(ApiError, match="cannot delete resource"):
        api.delete("configmaps", namespace, "a")
    api.close()
    found = [
        (e.verb, e.resource, e.namespace, e.name, e.code, e.user_agent) for e in plane.audit(mark, "writer")
    ]
    assert found == [
        ("create", "configmaps", namespace, "a", 201, "tests/1"),
        ("delete", "configmaps", namespace, "a", 403, "tests/1"),
    ]


def test_rights_hold_in_their_namespace_and_can_be_taken_away(plane: ControlPlane, namespace: str) -> None:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    api = Api(Access.read(plane.user("reader", rules, [namespace])))
    assert api.list("pods", namespace) == []
    with pytest.raises(ApiError, match='User "reader" cannot list resource "pods"'):
        api.list("pods", "default")
    plane.user("reader", [], [namespace])
    eventually(lambda: _is_refused(api, namespace))
    api.close()


def test_a_quota_refuses_pods_and_pod_security_too(plane: ControlPlane) -> None:
    namespace = plane.namespace(labels={"pod-security.kubernetes.io/enforce": "restricted"})
    gang_jobs.create(plane, namespace)
    eventually(lambda: "violates PodSecurity" in _events_of_job(plane, namespace))
    namespace = plane.namespace()
    plane.api.create(
        "resourcequotas", namespace, {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    )
    plane.api.until("resourcequotas", namespace, "none", lambda quota: quota.get("status", {}).get("hard"))
    gang_jobs.create(plane, namespace)
    eventually(lambda: "exceeded quota: none" in _events_of_job(plane, namespace))


def test_the_api_server_and_etcd_come_back_with_everything(plane: ControlPlane, namespace: str) -> None:
    pods = gang_jobs.run(plane, namespace)
    with plane.api_down():
        with pytest.raises(urllib3.exceptions.HTTPError, match="refused"):
            plane.api.get("jobs", namespace, JOB)
        plane.restart_etcd()
    plane.pod(namespace, name(pods[0]), exit_code=0)
    plane.api.until("jobs", namespace, JOB, has_condition("Complete"))


def _is_refused(api: Api, namespace: str) -> bool:
    try:
        api.list("pods", namespace)
    except ApiError as error:
        return error.status == 403
    return False


def _events_of_job(plane: ControlPlane, namespace: str) -> str:
    return " ".join(event["message"] for event in plane.api.list("events", namespace))


def _condition(body: Body, type_: str) -> Body:
    return next(dict(found) for found in body["status"]["conditions"] if found["type"] == type_)


def _terminated(pod: Body) -> Body:
    return dict(pod["status"]["containerStatuses"][0]["state"]["terminated"])
