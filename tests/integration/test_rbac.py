"""The operator gets along with exactly the roles that ship, each feature on and off, and needs all of them."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import gang_crds
import operated
import rights
from api_client import Body, path
from cluster_jobs import Cluster, ClusterJob
from cluster_view import ClusterView
from control_plane import ControlPlane
from fake_trainers import FakeTrainers
from finetune_api.contract import Label
from finetune_operator import rbac
from finetune_operator.settings import Settings
from operated import HOME, QUICK, USER, Operated
from operator_process import start
from stories import Stories
from waiting import eventually

GANGS = {"kueue": {"enabled": True}, "coscheduling": {"enabled": True}, "volcano": {"enabled": True}}
EVERYTHING: dict[str, Any] = {**QUICK, "gangs": GANGS}
ALL_OFF = {"networkPolicy": {"enabled": False}, "deadNodes": False, "lease": {"enabled": False}}
NEVER_A_REQUEST = {("finetune.dev", "finetunejobs/finalizers", "update")}
"""Asked for inside another request, where a cluster guards finalizers; see test_waiting."""

story = Stories("quiet")
telling = story.fixture()
cluster = operated.with_settings(EVERYTHING, before=gang_crds.install)


@pytest.fixture(scope="module")
def quiet(plane: ControlPlane, crd: None) -> Iterator[Cluster]:
    """A cluster without an operator."""
    gang_crds.install(plane)
    with ClusterView(operated.door(plane)) as view:
        yield Cluster(plane, view, None)


@story
def test_as_it_comes_an_operator_is_refused_nothing(quiet: Cluster) -> None:
    _gets_along(quiet, "as-it-comes", {})


@story
def test_without_network_policies_an_operator_is_refused_nothing(quiet: Cluster) -> None:
    _gets_along(quiet, "no-policy", {"networkPolicy": {"enabled": False}})


@story
def test_without_a_look_at_nodes_an_operator_is_refused_nothing(quiet: Cluster) -> None:
    _gets_along(quiet, "no-nodes", {"deadNodes": False})


@story
def test_with_all_gang_schedulers_an_operator_is_refused_nothing(quiet: Cluster) -> None:
    _gets_along(quiet, "gangs", {"gangs": GANGS})


@story
def test_with_everything_off_an_operator_is_refused_nothing(quiet: Cluster) -> None:
    _gets_along(quiet, "all-off", ALL_OFF)


def _gets_along(quiet: Cluster, name: str, feature: dict[str, Any]) -> None:
    """An operator of one namespace, with its roles in that one only, brings a job to its end unrefused."""
    plane, namespace, user = quiet.plane, quiet.namespace(), f"operator-{name}"
    config = {**QUICK, "lease": {"name": user}, "namespaces": [namespace], **feature}
    kubeconfig = operated.user(plane, user, Settings.model_validate(config), namespace)
    with start(kubeconfig, config, {"POD_NAMESPACE": HOME}) as operator:
        job = quiet.job(namespace=namespace).apply().until_running()
        old = job.kill(1)
        job.until(lambda: job.worker_runs(1, unlike=old), "new worker 1")
        job.publish()
        job.until_phase("Complete")
        assert operator.stop() == 0
    assert not rights.refused(plane, user)


def test_every_right_of_the_roles_is_used(cluster: Operated) -> None:
    mark = cluster.plane.audit_mark()
    cluster.operator.restart()
    with ThreadPoolExecutor(len(USES)) as threads:
        for done in [threads.submit(use, cluster) for use in USES]:
            done.result()
    _meets_an_event_of_its_predecessor(cluster)
    granted = rights.granted([*rbac.rules(Settings.model_validate(EVERYTHING)), *rbac.LEASE])

    def missing() -> Sequence[str]:
        found = rights.used(cluster.plane, USER, mark) | NEVER_A_REQUEST
        # The Lease was made by an earlier operator of this suite, with the same right.
        found |= {right for right in rights.used(cluster.plane, USER) if right[1] == "leases"}
        return rights.missing(granted, found)

    # A watch tells of a change before the audit log does.
    eventually(lambda: not missing(), 20.0, lambda: f"unused: {missing()}", every=0.5)


def _sees_a_life_to_its_end(cluster: Operated) -> None:
    job = cluster.job({"ttlSecondsAfterFinished": 0, "scheduling.gang": "Coscheduling"}).apply()
    # Nobody plays that scheduler, so the test places the pods.
    for index in range(4):
        name = job.pod(index)["metadata"]["name"]
        target = {"apiVersion": "v1", "kind": "Node", "name": "fake-0"}
        binding: Body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        cluster.plane.api.request("POST", path("pods", job.namespace, name, "binding"), binding)
    job.until_running()
    job.publish()
    job.until_gone()


def _heals_a_pod_deleted_by_force_and_forgives_its_loss(cluster: Operated) -> None:
    job = cluster.start()
    old = job.kill_by_force(2)
    job.until(lambda: job.worker_runs(2, unlike=old) and job.phase == "Running", "new worker 2")
    with FakeTrainers() as trainers:
        chief = trainers.serve(job.pod(0))
        chief.start()
        chief.step(0, 0, 5)
        chief.saved("checkpoint-1", 5)
        job.until(lambda: not job.losses(2), "forgiven loss")


def _puts_back_what_was_changed(cluster: Operated) -> None:
    job = cluster.start()
    for kind, change in (("services", {"ports": None}), ("networkpolicies", {"ingress": []})):
        found = cluster.view.get(kind, job.namespace, job.object)
        assert found
        cluster.plane.api.patch(kind, job.namespace, job.object, {"spec": change})
        spec = found["spec"]
        job.until(lambda kind=kind, spec=spec: _spec(cluster, job, kind) == spec, f"{kind} as it was")
    for kind in ("services", "configmaps"):
        cluster.plane.api.patch(
            kind, job.namespace, job.object, {"metadata": {"labels": {Label.MANAGED_BY: None}}}
        )
        job.until(lambda kind=kind: _is_labelled(cluster, job, kind), f"{kind} with its label")


def _is_labelled(cluster: Operated, job: ClusterJob, kind: str) -> bool:
    found = cluster.view.get(kind, job.namespace, job.object) or {}
    return Label.MANAGED_BY in found.get("metadata", {}).get("labels", {})


def _looks_at_what_is_in_its_way(cluster: Operated) -> None:
    for kind, body in FOREIGN.items():
        job = cluster.job({"scheduling.gang": "Coscheduling"})
        cluster.plane.api.create(kind, job.namespace, {**body, "metadata": {"name": job.object}})
        job.apply().until_phase("Failed")
        assert job.failure["reason"] == "NameConflict"


def _asks_for_a_job_that_is_gone(cluster: Operated) -> None:
    job = cluster.start()
    cluster.plane.api.delete("jobs", job.namespace, job.object, propagationPolicy="Background")
    job.until_phase("Failed")


def _reads_why_pods_are_missing(cluster: Operated) -> None:
    job = cluster.job()
    quota: Body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-pods"}}
    cluster.plane.api.create("resourcequotas", job.namespace, {**quota, "spec": {"hard": {"pods": "0"}}})
    api = cluster.plane.api
    api.until("resourcequotas", job.namespace, "no-pods", lambda one: one.get("status", {}).get("hard"))
    job.apply().until(lambda: job.condition("WorkersReady").get("reason") == "QuotaExceeded", "reason")


def _suspends_through_the_queue(cluster: Operated) -> None:
    job = cluster.job({"scheduling.gang": "Kueue", "scheduling.queueName": "team-a"}).apply()
    job.until(lambda: job.job, "Job")
    workload = gang_crds.workload(job)
    cluster.plane.api.create("workloads", job.namespace, workload)
    job.change(suspend=True)
    name = workload["metadata"]["name"]
    cluster.plane.api.until("workloads", job.namespace, name, lambda body: body["spec"]["active"] is False)


def _suspends_and_resumes(cluster: Operated) -> None:
    job = cluster.start()
    job.change(suspend=True)
    job.until_phase("Suspended")
    job.change(suspend=False)
    job.until_running()


def _meets_an_event_of_its_predecessor(cluster: Operated) -> None:
    """The same fact again: the Event that is there counts it, whoever wrote it."""
    job = cluster.start()
    job.change(suspend=True)
    told = job.until(lambda: job.events("Suspended"), "event")[0]
    job.change(suspend=False)
    job.until_running()
    cluster.operator.restart()
    job.change(suspend=True)
    job.until(lambda: job.events("Suspended")[0]["count"] > told["count"], "counted event")


def _spec(cluster: Operated, job: ClusterJob, kind: str) -> Body:
    found = cluster.view.get(kind, job.namespace, job.object)
    return dict(found["spec"]) if found else {}


FOREIGN: dict[str, Body] = {
    "services": {"apiVersion": "v1", "kind": "Service", "spec": {"clusterIP": "None"}},
    "configmaps": {"apiVersion": "v1", "kind": "ConfigMap"},
    "networkpolicies": {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "spec": {"podSelector": {}},
    },
    "podgroups": {"apiVersion": gang_crds.PODGROUPS, "kind": "PodGroup"},
}
USES = (
    _sees_a_life_to_its_end,
    _heals_a_pod_deleted_by_force_and_forgives_its_loss,
    _puts_back_what_was_changed,
    _looks_at_what_is_in_its_way,
    _asks_for_a_job_that_is_gone,
    _reads_why_pods_are_missing,
    _suspends_through_the_queue,
    _suspends_and_resumes,
)
