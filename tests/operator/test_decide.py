"""The life of a job, told as stories: what happens, and what the operator does about it."""

from typing import get_args

import pytest

from finetune_api.events import TrainerReport
from finetune_api.v1alpha1.status import ConditionType
from finetune_operator.plan import Create, Delete
from pretend_answers import conditions, reasons, statuses
from pretend_cluster import PretendCluster
from pretend_objects import PUBLISHED

NO_IMAGES = (
    '{"exitCode":65,"reason":"NoImages","message":"there are no images. Fix: add some.","stageName":"head"}'
)
BAD = "Container trainer for pod ns/ft-flowers-1-abcde failed with exit code 65 matching FailJob rule at index 1"


def trained():
    """A cluster whose job is at its last step."""
    cluster = PretendCluster().run()
    cluster.after(600)
    return cluster


def finish(cluster):
    cluster.end_pod(0, 0, PUBLISHED)
    cluster.settle()
    cluster.end_job("SuccessCriteriaMet", "SuccessPolicy")
    cluster.settle()
    return cluster


def fail(cluster, index=1):
    cluster.end_pod(index, 65, NO_IMAGES)
    cluster.settle()
    cluster.end_job("FailureTarget", "PodFailurePolicy", BAD)
    cluster.settle()
    return cluster


def test_a_new_job_gets_its_objects_in_order_and_a_moment_later_one_status():
    cluster = PretendCluster()
    plan = cluster.step()
    assert plan.status is None, "other new jobs get their objects first"
    assert plan.again < 1
    kinds = [action.manifest["kind"] for action in plan.actions if isinstance(action, Create)]
    assert kinds == ["Service", "ConfigMap", "NetworkPolicy", "Job"]
    assert plan.check, "the FineTuneJob itself is read before anything is made"
    cluster.step()
    assert (cluster.status.phase, cluster.status.job_uid) == ("Starting", cluster.job["metadata"]["uid"])
    assert cluster.plan().status is None


def test_all_conditions_are_there_from_the_first_status_on():
    cluster = PretendCluster()
    cluster.settle()
    assert set(conditions(cluster)) == set(get_args(ConditionType))
    assert {one.observed_generation for one in cluster.status.conditions} == {1}
    assert conditions(cluster)["Finished"] == "False"
    assert conditions(cluster)["Training"] == "Unknown"


def test_a_whole_life_costs_few_writes():
    cluster = finish(trained())
    assert cluster.status.phase == "Complete"
    assert (len(cluster.writes), len(statuses(cluster)), len(cluster.notes)) == (7, 3, 3)
    assert reasons(cluster) == ["Created", "WorkersReady", "Completed"]


def test_workers_that_come_one_by_one_cost_no_writes():
    cluster = PretendCluster().begin()
    written = len(cluster.writes)
    for index in range(3):
        cluster.make_ready(index)
        cluster.after(1)
    assert len(cluster.writes) == written
    cluster.make_ready(3)
    cluster.after(1)
    assert len(cluster.writes) == written + 1
    assert (cluster.status.phase, cluster.status.summary.workers) == ("Running", "4/4")


def test_a_permanent_failure_ends_the_job_with_its_reason_and_one_more_write():
    cluster = PretendCluster().run()
    written = len(cluster.writes)
    fail(cluster)
    assert len(cluster.writes) == written + 1
    failure = cluster.status.last_failure
    assert (failure.reason, failure.worker, failure.exit_code, failure.hint) == (
        "NoImages",
        1,
        65,
        "add some",
    )
    assert cluster.status.summary.reason.startswith("NoImages: worker 1 in stage head")
    assert cluster.status.summary.reason.endswith("Fix: add some.")
    assert cluster.status.summary.stage == "1/2 head"
    assert [note.reason for note in cluster.notes[2:]] == ["Failed"]
    found = next(one for one in cluster.status.conditions if one.type == "Failed")
    assert (found.status, found.reason) == ("True", "NoImages")


def test_a_lost_worker_is_told_and_its_return_too():
    cluster = PretendCluster().run()
    cluster.end_pod(2, 137, reason="OOMKilled")
    cluster.settle()
    assert (cluster.status.phase, cluster.status.summary.workers) == ("Restarting", "3/4")
    assert (cluster.status.last_failure.reason, cluster.status.last_failure.worker) == ("OutOfMemory", 2)
    assert reasons(cluster)[-1] == "WorkerFailed"
    cluster.add_pod(2)
    cluster.make_ready(2)
    cluster.settle()
    assert (cluster.status.phase, cluster.status.summary.workers) == ("Running", "4/4")
    assert cluster.status.last_failure.reason == "OutOfMemory", "healed, but still the latest"


def test_the_same_failure_later_is_a_new_one():
    cluster = PretendCluster().run()
    for _ in range(2):
        cluster.after(600)
        cluster.end_pod(2, 70)
        cluster.settle()
        cluster.add_pod(2)
        cluster.make_ready(2)
        cluster.settle()
    assert reasons(cluster).count("WorkerFailed") == 2


def test_supervisors_that_crash_too_often_fail_the_job():
    cluster = PretendCluster().run()
    cluster.end_pod(2, 70)
    cluster.end_job("FailureTarget", "MaxFailedIndexesExceeded", "Job has exceeded the specified number")
    cluster.settle()
    assert cluster.status.last_failure.reason == "InternalError"
    assert "maxRestarts" in cluster.status.last_failure.message


def test_an_evicted_worker_that_used_too_much_storage_ends_the_job():
    cluster = PretendCluster().run()
    cluster.end_pod(2, None)
    cluster.pod(2)["status"] |= {"reason": "Evicted", "message": "ephemeral local storage usage exceeds 2Gi"}
    cluster.settle()
    assert cluster.job["metadata"]["annotations"]["finetune.dev/stop-reason"] == "StorageExceeded"
    assert cluster.job["spec"]["activeDeadlineSeconds"] == 1
    cluster.end_job("FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline")
    cluster.settle()
    assert cluster.status.last_failure.reason == "StorageExceeded"
    assert "featureCache.maxBytes" in cluster.status.last_failure.hint


@pytest.mark.parametrize("end", [finish, fail])
def test_an_end_is_final_whatever_happens_to_the_objects_afterwards(end):
    cluster = end(trained())
    written, phase = len(cluster.writes), cluster.status.phase
    cluster.job, cluster.pods, cluster.children = None, [], {}
    cluster.after(10_000)
    cluster.change(suspend=True)
    cluster.settle()
    assert (cluster.status.phase, len(cluster.writes)) == (phase, written + 1)


def test_a_finished_job_answers_for_the_newest_spec():
    cluster = finish(trained())
    before = cluster.status
    cluster.change(suspend=True)
    cluster.settle()
    assert cluster.status.observed_generation == 2
    assert {one.observed_generation for one in cluster.status.conditions} == {2}
    times = {one.type: one.last_transition_time for one in before.conditions}
    assert {one.type: one.last_transition_time for one in cluster.status.conditions} == times


def test_a_finished_job_is_deleted_when_its_time_is_over():
    cluster = finish(trained())
    cluster.change(ttlSecondsAfterFinished=60)
    assert cluster.settle().again == pytest.approx(60)
    plan = cluster.after(61, settle=False)
    assert plan.actions == (Delete("FineTuneJob", "flowers", cluster.resource.uid),)
    assert cluster.plan().actions == ()


def test_a_worker_0_that_is_up_and_waits_for_its_secret_says_so():
    cluster = PretendCluster().run()
    report = TrainerReport(
        reason="SecretMissing", message="there is no secret s3 in namespace ns. Fix: create it."
    )
    cluster.hear(generation=0, num_stages=0, phase=None, report=report)
    cluster.settle()
    assert cluster.status.summary.reason.startswith("SecretMissing: worker 0: there is no secret s3")
    found = next(one for one in cluster.status.conditions if one.type == "Training")
    assert (found.status, found.reason) == ("Unknown", "SecretMissing")
    assert reasons(cluster)[-1] == "SecretMissing"
    cluster.after(60)
    cluster.hear()
    cluster.settle()
    assert cluster.status.summary.reason == ""
