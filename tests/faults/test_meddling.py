"""Somebody changes, spoils or deletes our objects by hand: the operator goes on, and heals it or says what is wrong."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from api_client import ApiError
from cluster_jobs import Cluster, ClusterJob
from cluster_view import Body
from fault_rig import CRD, Rig, fault_rig
from finetune_api.contract import Label
from operator_process import Operator
from stories import Stories
from waiting import eventually

story = Stories("rig")
telling = story.fixture()
REST = 2.0
KINDS = ("services", "configmaps", "networkpolicies", "jobs")
HOSTILE = "x" + "-_.x" * 15
"""A label's value as odd as the API server lets pass."""


@dataclass(frozen=True)
class Scene:
    """One job that somebody meddles with, and a neighbour."""

    rig: Rig
    operator: Operator
    job: ClusterJob
    neighbour: ClusterJob

    def patch(self, kind: str, body: Mapping[str, Any], name: str = "") -> None:
        self.rig.plane.api.patch(kind, self.job.namespace, name or self.job.object, body)

    def get(self, kind: str) -> Body:
        """The object of that kind as it is; empty without."""
        return self.rig.view.get(kind, self.job.namespace, self.job.object) or {}

    def finish(self) -> None:
        """The job ends well in spite of all."""
        self.job.publish()
        self.job.until_phase("Complete")


@contextmanager
def meddled(rig: Rig) -> Iterator[Scene]:
    """Afterwards the operator is at rest, has met nothing that it did not expect, and serves the neighbour."""
    namespace = rig.plane.namespace()
    with rig.proxy() as proxy, rig.start(namespace, proxy) as operator:
        cluster = Cluster(rig.plane, rig.view, operator)
        names = ("flowers", "neighbour")
        ours, other = (cluster.job({"workers": 2}, name, namespace).apply() for name in names)
        for job in (ours, other):
            job.until_phase("Running")
        yield Scene(rig, operator, ours, other)
        other.publish()
        other.until_phase("Complete")
        proxy.until_at_rest(REST)
        assert operator.running
        assert [line for line in operator.logs if "exception" in line or "text" in line] == []


@story
def test_labels_that_were_taken_away_come_back(rig: Rig) -> None:
    with meddled(rig) as scene:
        for kind in KINDS:
            scene.patch(kind, {"metadata": {"labels": {Label.MANAGED_BY: None, Label.JOB_NAME: None}}})
        for kind in KINDS:
            scene.job.until(
                lambda kind=kind: _labels(scene.get(kind)) >= {Label.MANAGED_BY}, f"labels of {kind}"
            )
        scene.finish()


@story
def test_labels_of_somebody_else_do_no_harm(rig: Rig) -> None:
    with meddled(rig) as scene:
        poison = {Label.JOB_NAME: HOSTILE, "batch.kubernetes.io/job-completion-index": "banana"}
        for kind in KINDS:
            scene.patch(
                kind, {"metadata": {"labels": poison, "annotations": {"finetune.dev/releases": "many"}}}
            )
        for pod in scene.job.pods()[1:]:
            scene.patch(
                "pods", {"metadata": {"labels": poison, "annotations": poison}}, pod["metadata"]["name"]
            )
        scene.finish()


@story
def test_pods_without_labels_are_not_seen_and_the_job_still_ends(rig: Rig) -> None:
    with meddled(rig) as scene:
        lost = scene.job.pod(1)
        labels = dict.fromkeys(lost["metadata"]["labels"])
        scene.patch("pods", {"metadata": {"labels": labels}}, lost["metadata"]["name"])
        scene.finish()


@story
def test_service_and_network_policy_are_put_right(rig: Rig) -> None:
    with meddled(rig) as scene:
        service, policy = (
            deepcopy(scene.get("services")["spec"]),
            deepcopy(scene.get("networkpolicies")["spec"]),
        )
        scene.patch("services", {"spec": {"selector": {"app": "other"}, "publishNotReadyAddresses": False}})
        scene.patch(
            "networkpolicies", {"spec": {"ingress": [{}], "podSelector": {"matchLabels": {"a": "b"}}}}
        )
        scene.job.until(lambda: scene.get("services").get("spec") == service, "the Service as it was")
        scene.job.until(
            lambda: scene.get("networkpolicies").get("spec") == policy, "the NetworkPolicy as it was"
        )
        scene.finish()


@story
def test_a_job_that_was_suspended_by_hand_is_resumed(rig: Rig) -> None:
    with meddled(rig) as scene:
        scene.operator.freeze()
        scene.patch("jobs", {"spec": {"suspend": True}})
        scene.job.until(lambda: not scene.job.pods(), "end of the pods")
        scene.operator.thaw()
        scene.job.until(lambda: scene.job.all_run() and scene.job.phase == "Running", "Running workers")
        scene.finish()


@story
def test_a_gang_that_was_made_smaller_by_hand_gets_its_worker_back(rig: Rig) -> None:
    with meddled(rig) as scene:
        scene.patch("jobs", {"spec": {"parallelism": 1, "completions": 1}})
        scene.job.until(lambda: scene.get("jobs")["spec"]["parallelism"] == 2, "a Job of two workers")
        scene.job.until(lambda: scene.job.all_run() and scene.job.phase == "Running", "Running workers")
        scene.finish()


@story
def test_an_object_that_is_no_longer_ours_is_named(rig: Rig) -> None:
    with meddled(rig) as scene:
        scene.patch("services", {"metadata": {"ownerReferences": None}})
        scene.job.until_phase("Failed")
        assert scene.job.failure["reason"] == "NameConflict"
        assert scene.job.object in scene.job.failure["message"]


@story
def test_a_description_that_was_exchanged_is_named(rig: Rig) -> None:
    with meddled(rig) as scene:
        api, namespace, name = rig.plane.api, scene.job.namespace, scene.job.object
        api.delete("configmaps", namespace, name)
        scene.job.until(lambda: len(_uids(scene, "configmaps")) == 2, "another ConfigMap")
        assert scene.get("configmaps")["data"] == _first(scene, "configmaps")["data"]
        scene.finish()


@story
def test_a_job_that_was_orphaned_is_named(rig: Rig) -> None:
    with meddled(rig) as scene:
        rig.plane.api.delete("jobs", scene.job.namespace, scene.job.object, propagationPolicy="Orphan")
        scene.job.until_phase("Failed")
        assert scene.job.failure["reason"] == "JobLost"


@story
def test_a_status_that_was_rewritten_is_put_right(rig: Rig) -> None:
    with meddled(rig) as scene:
        right = deepcopy(scene.job.status)
        wrong = {
            "phase": "Queued",
            "jobUID": "nonsense",
            "conditions": [],
            "summary": None,
            "observedGeneration": 99,
        }
        rig.plane.api.patch("finetunejobs", scene.job.namespace, scene.job.name, {"status": wrong}, "status")
        scene.job.until(lambda: _essence(scene.job.status) == _essence(right), f"{_essence(right)}")
        scene.finish()


@story
def test_a_finalizer_of_somebody_else_keeps_a_deleted_job_and_nothing_else(rig: Rig) -> None:
    with meddled(rig) as scene:
        api, namespace, name = rig.plane.api, scene.job.namespace, scene.job.name
        api.patch("finetunejobs", namespace, name, {"metadata": {"finalizers": ["example.com/wait"]}})
        scene.job.delete()
        api.delete("jobs", namespace, scene.job.object, propagationPolicy="Background")
        scene.job.until(lambda: not scene.job.pods() and not scene.job.job, "end of the pods")
        api.patch("finetunejobs", namespace, name, {"metadata": {"finalizers": None}})
        scene.job.until(lambda: not scene.job.body, "end of the job")
        assert len(_uids(scene, "jobs")) == 1


@pytest.fixture(scope="module")
def lax() -> Iterator[Rig]:
    """One whose rules for FineTuneJobs may be changed."""
    with fault_rig() as made:
        yield made


@story.on("lax")
def test_jobs_from_before_the_rules_are_named_and_do_no_harm(lax: Rig) -> None:
    api, namespace = lax.plane.api, lax.plane.namespace()
    rules = yaml.safe_load(CRD.read_text())
    none = deepcopy(rules)
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    for version in none["spec"]["versions"]:
        version["schema"]["openAPIV3Schema"]["properties"].update(spec=anything, status=anything)
        for rule in ("x-kubernetes-validations", "required"):
            version["schema"]["openAPIV3Schema"].pop(rule, None)
        version.pop("selectableFields", None)
    api.apply("customresourcedefinitions", None, none)
    bad: dict[str, Body] = {
        "no-spec": {},
        "empty": {"spec": {}},
        "wrong-types": {"spec": {"workers": "many", "model": 7, "data": [], "output": None}},
        "unknown": {"spec": {"workers": 2, "colour": "green"}},
        "bad-status": {"spec": {}, "status": {"phase": 7, "conditions": "x", "jobUID": ["y"], "summary": 1}},
    }
    for name, body in bad.items():
        eventually(lambda name=name, body=body: _store(lax, namespace, {"metadata": {"name": name}, **body}))
    api.apply("customresourcedefinitions", None, rules)
    eventually(
        lambda: not _store(lax, namespace, {"metadata": {"name": "probe"}, "spec": {"colour": "green"}})
    )
    with lax.proxy() as proxy, lax.start(namespace, proxy) as operator:
        good = Cluster(lax.plane, lax.view, operator).job({"workers": 2}, "good", namespace)
        good.apply().until_phase("Running")
        for name in bad:
            good.until(lambda name=name: _named(lax, namespace, name), f"name for what is wrong with {name}")
        good.publish()
        good.until_phase("Complete")
        proxy.until_at_rest(REST)
        assert operator.running
        assert [line for line in operator.logs if "exception" in line or "text" in line] == []


def _labels(body: Body) -> set[str]:
    return set(body.get("metadata", {}).get("labels", {}))


def _first(scene: Scene, kind: str) -> Body:
    return scene.rig.view.history(kind, scene.job.namespace, scene.job.object)[0].body


def _uids(scene: Scene, kind: str) -> set[str]:
    """Of all objects of the job's name that there ever were."""
    history = scene.rig.view.history(kind, scene.job.namespace, scene.job.object)
    return {version.body["metadata"]["uid"] for version in history}


def _essence(status: Body) -> dict[str, Any]:
    """What of a status cannot differ between two looks at the same state."""
    conditions = {one["type"]: (one["status"], one["reason"]) for one in status.get("conditions", [])}
    return {key: status.get(key) for key in ("phase", "jobUID", "observedGeneration")} | conditions


def _store(rig: Rig, namespace: str, body: Body) -> bool:
    """Whether the API server, as its rules are now, keeps the body as it is."""
    metadata = {"namespace": namespace, "name": body["metadata"]["name"]}
    whole = {"apiVersion": "finetune.dev/v1alpha1", "kind": "FineTuneJob", **body, "metadata": metadata}
    with suppress(ApiError):
        rig.plane.api.delete("finetunejobs", namespace, metadata["name"])
    try:
        made = rig.plane.api.create("finetunejobs", namespace, whole)
        if "status" in body:
            patch = {"status": body["status"]}
            made = rig.plane.api.patch("finetunejobs", namespace, metadata["name"], patch, "status")
    except ApiError:
        return False
    return all(made.get(part) == body.get(part) for part in ("spec", "status"))


def _named(rig: Rig, namespace: str, name: str) -> bool:
    """Whether status or Events say that the job is invalid: the API server refuses a status below a broken spec."""
    status = (rig.view.get("finetunejobs", namespace, name) or {}).get("status")
    if isinstance(status, dict) and status.get("phase") == "Failed":
        return True
    events = rig.view.all("events", namespace)
    return any(each["involvedObject"]["name"] == name and each["type"] == "Warning" for each in events)
