"""A FineTuneJob from admission to its end, with the operator as a process on a real API server."""

import json
import time
from datetime import datetime
from itertools import pairwise

import operated
from cluster_jobs import CHILDREN, Cluster, ClusterJob, since
from cluster_view import Body
from stories import Stories

story = Stories("cluster")
telling = story.fixture()
cluster = operated.with_settings()


@story
def test_a_job_gets_its_objects_and_all_conditions_at_once(cluster: Cluster) -> None:
    job = cluster.start()
    wanted = {kind: 1 for kind in ("finetunejobs", *CHILDREN)} | {"pods": 4}
    job.until(lambda: {kind: len(names) for kind, names in job.left().items()} == wanted, f"{wanted}")
    assert job.status["jobUID"] == job.job["metadata"]["uid"]
    assert len(job.status["conditions"]) == 10
    assert {one["observedGeneration"] for one in job.status["conditions"]} == {1}
    first = next(one.body["status"] for one in job.history if "status" in one.body)
    assert len(first["conditions"]) == 10
    config = cluster.view.get("configmaps", job.namespace, job.object)
    assert config
    described = json.loads(config["data"]["job.json"])
    assert described["job"]["spec"]["workers"] == 4


@story
def test_the_chief_succeeds_and_the_job_is_complete(cluster: Cluster) -> None:
    job = cluster.start()
    job.publish()
    job.until_phase("Complete")
    assert job.condition("Finished") | {"reason": "Complete"} == job.condition("Finished")
    assert job.condition("Finished")["status"] == job.condition("Complete")["status"] == "True"
    assert job.condition("Failed")["status"] == "False"
    assert job.status["artifacts"]["modelURI"] == "s3://bucket/models/model/1"
    assert job.status["summary"]["progress"] == "100%"
    job.until(lambda: not job.running_pods(), "end of the other workers")


@story
def test_a_suspended_job_has_no_objects_before_it_starts(cluster: Cluster) -> None:
    job = cluster.job({"suspend": True}).apply().until_phase("Suspended")
    # The first status is written after whatever the first reconcile creates.
    assert set(job.left()) == {"finetunejobs"}
    assert job.condition("Admitted")["reason"] == "Suspended"
    job.change(suspend=False)
    job.until_running()
    assert [cluster.view.ever(kind, job.namespace) for kind in ("jobs",)] == [[job.object]]


@story
def test_suspend_frees_the_pods_and_resume_goes_on_with_the_same_job(cluster: Cluster) -> None:
    job = cluster.start()
    before = job.job["metadata"]["uid"]
    job.change(suspend=True)
    job.until_phase("Suspended")
    job.until(lambda: not job.pods(), "end of the pods")
    assert job.job["spec"]["suspend"] is True
    job.change(suspend=False)
    job.until_running()
    assert job.phase != "Suspended"
    assert job.job["metadata"]["uid"] == before
    assert job.status["workers"].get("restarts", 0) == 0
    job.publish()
    job.until_phase("Complete")


@story
def test_the_active_deadline_fires_by_itself(cluster: Cluster) -> None:
    job = cluster.start({"activeDeadlineSeconds": 20})
    job.until_phase("Failed")
    assert job.failure["reason"] == job.condition("Failed")["reason"] == "DeadlineExceeded"
    assert "activeDeadlineSeconds" in job.condition("Failed")["message"]
    job.until(lambda: not job.running_pods(), "end of the pods")


@story
def test_suspended_time_does_not_count_against_the_active_deadline(cluster: Cluster) -> None:
    job = cluster.start({"activeDeadlineSeconds": 30})
    job.change(suspend=True)
    suspended = job.until_phase("Suspended").when(lambda status: status.get("phase") == "Suspended")
    # The deadline passes in suspension, were it counted.
    job.until(lambda: since(suspended) > 31 or job.phase != "Suspended", "time")
    assert job.phase == "Suspended"
    job.change(suspend=False)
    job.until_running()
    job.publish()
    job.until_phase("Complete")


@story
def test_an_incomplete_gang_lets_go_of_what_it_holds_and_tries_again(cluster: Cluster) -> None:
    job = cluster.job({"startDeadlineSeconds": 4}).coming({"3": {"stay-pending": True}}).apply()
    job.until(lambda: job.job.get("spec", {}).get("suspend"), "release")
    job.coming({})
    job.until(lambda: not job.running_pods(), "end of the pods")
    job.until_running()
    assert job.condition("Failed")["status"] == "False"
    job.publish()
    job.until_phase("Complete")


@story
def test_a_gang_that_never_becomes_complete_fails_with_the_reason(cluster: Cluster) -> None:
    job = cluster.job({"startDeadlineSeconds": 3, "placement.nodeSelector": {"example.com/zone": "nowhere"}})
    job.apply().until_phase("Failed")
    assert job.failure["reason"] == job.condition("Failed")["reason"] == "StartDeadlineExceeded"
    assert "Unschedulable" in job.failure["message"]
    made = cluster.view.history("jobs", job.namespace, job.object)
    held = [version.body["spec"]["suspend"] for version in made]
    assert sum(new > old for old, new in pairwise(held)) == 3
    job.until(lambda: not job.pods(), "end of the pods")


@story
def test_a_finished_job_is_deleted_with_everything_it_made_after_its_ttl(cluster: Cluster) -> None:
    job = cluster.start({"ttlSecondsAfterFinished": 3})
    job.publish()
    job.until_gone()
    assert job.phases[-1] == "Complete"
    last = job.history[-1]
    assert last.deleted
    deleted = time.time() - since(last.at)
    ended = datetime.fromisoformat(last.body["status"]["completionTime"]).timestamp()
    # Whole seconds, cut off, and so is the clock that the operator takes from the API server.
    assert 2 <= deleted - ended <= 8


@story
def test_a_ttl_given_after_the_end_counts_from_the_end(cluster: Cluster) -> None:
    job = cluster.start()
    job.fate(1, 64)
    job.until_phase("Failed")
    job.change(ttlSecondsAfterFinished=0)
    job.until_gone()


@story
def test_a_job_managed_by_another_controller_is_left_alone(cluster: Cluster) -> None:
    foreign = cluster.job({"managedBy": "example.com/other"}).apply()
    # A job created later that runs: the operator has seen the foreign one by then.
    neighbour = cluster.job(name="neighbour", namespace=foreign.namespace).apply().until_running()
    assert "status" not in foreign.body
    assert [job["metadata"]["name"] for job in cluster.view.all("jobs", foreign.namespace)] == [
        neighbour.object
    ]
    assert not foreign.events()


@story
def test_deleting_right_after_creation_leaves_nothing(cluster: Cluster) -> None:
    job = cluster.job().apply()
    job.delete()
    job.until_gone()


@story
def test_deleting_while_children_are_created_leaves_nothing(cluster: Cluster) -> None:
    job = cluster.job().apply()
    job.until(lambda: job.left().keys() & set(CHILDREN), "first child")
    job.delete()
    job.until_gone()


@story
def test_deleting_while_running_leaves_nothing(cluster: Cluster) -> None:
    job = cluster.start()
    job.delete()
    job.until_gone()


@story
def test_deleting_while_suspended_leaves_nothing(cluster: Cluster) -> None:
    job = cluster.start()
    job.change(suspend=True)
    job.until_phase("Suspended")
    job.delete()
    job.until_gone()


@story
def test_deleting_after_the_end_leaves_nothing(cluster: Cluster) -> None:
    job = cluster.start()
    job.publish()
    job.until_phase("Complete")
    job.delete()
    job.until_gone()


@story
def test_a_name_can_be_used_again_at_once(cluster: Cluster) -> None:
    first = cluster.start()
    uid = first.body["metadata"]["uid"]
    first.delete()
    first.until(lambda: not first.body, "deletion")
    again = cluster.job(name=first.name, namespace=first.namespace).apply()
    # The first one's Job and pods may still be there, under the same names.
    again.until(lambda: _owners(again.job) == [again.body.get("metadata", {}).get("uid")], "Job of its own")
    again.until(
        lambda: all(_owners(again.worker(index)) == [_uid(again.job)] for index in range(again.workers)),
        "pods of its own",
    )
    again.until_running()
    assert again.body["metadata"]["uid"] != uid
    assert _owners(again.job) == [again.body["metadata"]["uid"]]


@story
def test_a_job_that_vanished_is_not_made_again_in_silence(cluster: Cluster) -> None:
    job = cluster.start()
    cluster.plane.api.delete("jobs", job.namespace, job.object, propagationPolicy="Background")
    job.until_phase("Failed")
    assert job.failure["reason"] == "JobLost"
    job.until(lambda: not job.pods(), "end of the pods")
    assert len(_ever(cluster, "jobs", job)) == 1


@story
def test_an_object_that_vanished_is_put_back(cluster: Cluster) -> None:
    job = cluster.start()
    for kind in ("services", "networkpolicies", "configmaps"):
        cluster.plane.api.delete(kind, job.namespace, job.object)
    for kind in ("services", "networkpolicies", "configmaps"):
        job.until(lambda kind=kind: len(_ever(cluster, kind, job)) == 2, f"second one of {kind}")
    assert job.phase in ("Starting", "Running")


@story
def test_a_foreign_object_of_the_wanted_name_is_named_and_not_touched(cluster: Cluster) -> None:
    job = cluster.job()
    foreign: Body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": job.object},
        "spec": {"clusterIP": "None"},
    }
    made = cluster.plane.api.create("services", job.namespace, foreign)
    job.apply().until_phase("Failed")
    assert job.failure["reason"] == "NameConflict"
    assert job.object in job.status["summary"]["reason"]
    assert not job.pods()
    job.delete()
    job.until(lambda: set(job.left()) == {"services"}, "end of all but the foreign Service")
    assert (
        cluster.plane.api.get("services", job.namespace, job.object)["metadata"]["uid"]
        == made["metadata"]["uid"]
    )


@story
def test_a_foreign_job_of_the_wanted_name_is_named_and_not_touched(cluster: Cluster) -> None:
    job = cluster.job()
    template: Body = {
        "spec": {"restartPolicy": "Never", "containers": [{"name": "other", "image": "other:1"}]}
    }
    foreign: Body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job.object},
        "spec": {"template": template},
    }
    made = cluster.plane.api.create("jobs", job.namespace, foreign)
    job.apply().until_phase("Failed")
    assert job.failure["reason"] == "NameConflict"
    assert cluster.plane.api.get("jobs", job.namespace, job.object)["spec"] == made["spec"]


def _owners(body: Body | None) -> list[str]:
    """Uids of an object's owners; none of an object that is not there."""
    return [one["uid"] for one in (body or {}).get("metadata", {}).get("ownerReferences", [])]


def _uid(body: Body) -> str:
    return str(body["metadata"]["uid"])


def _ever(cluster: Cluster, kind: str, job: ClusterJob) -> set[str]:
    """Uids of all objects of the job's name that there ever were."""
    return {
        version.body["metadata"]["uid"] for version in cluster.view.history(kind, job.namespace, job.object)
    }
