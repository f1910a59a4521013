"""A job in a queue of Kueue: its side is played by hand."""

import pytest

from finetune_operator.plan import Patch
from finetune_operator.settings import Settings
from pretend_cluster import PretendCluster
from pretend_objects import time

QUEUED = {"scheduling": {"gang": "Kueue", "queueName": "team-a"}}
KUEUE = Settings.model_validate({"gangs": {"kueue": {"enabled": True}}})


def queued():
    cluster = PretendCluster(QUEUED, KUEUE)
    cluster.settle()
    cluster.hold_job()
    return cluster


def workload(cluster, **conditions):
    cluster.workload = {
        "kind": "Workload",
        "metadata": {
            "name": "job-ft-flowers",
            "namespace": "ns",
            "uid": "workload",
            "ownerReferences": [{"kind": "Job", "uid": cluster.job["metadata"]["uid"], "controller": True}],
        },
        "spec": {"active": True},
        "status": {"conditions": []},
    }
    say(cluster, **conditions)


def say(cluster, **conditions):
    cluster.workload["status"]["conditions"] = [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": time(cluster.now),
        }
        for kind, (status, reason, message) in conditions.items()
    ]


def admitted(cluster):
    found = next(one for one in cluster.status.conditions if one.type == "Admitted")
    return found.status, found.reason


def admit(cluster):
    say(cluster, QuotaReserved=("True", "QuotaReserved", ""), Admitted=("True", "Admitted", ""))
    cluster.job["spec"]["suspend"] = False
    cluster.start_job()
    for index in range(4):
        cluster.add_pod(index)
        cluster.make_ready(index)
    cluster.settle()


def running():
    cluster = queued()
    workload(cluster)
    cluster.settle()
    admit(cluster)
    return cluster


def test_a_job_for_a_queue_is_created_suspended_and_stays_so():
    cluster = queued()
    assert cluster.job["spec"]["suspend"] is True
    assert (cluster.status.phase, admitted(cluster)) == ("Queued", ("False", "Queued"))
    cluster.after(30)
    assert cluster.job["spec"]["suspend"] is True


def test_what_the_queue_says_is_shown():
    cluster = queued()
    workload(
        cluster, QuotaReserved=("False", "Pending", "couldn't assign flavors: insufficient unused quota")
    )
    cluster.settle()
    assert "insufficient unused quota" in cluster.status.summary.reason


def test_a_queue_that_nobody_serves_is_told_after_a_minute_and_nothing_starts():
    cluster = queued()
    assert cluster.settle().again <= 60
    cluster.after(60)
    assert admitted(cluster) == ("False", "QueueNotEnforced")
    assert cluster.status.phase == "Queued"
    assert cluster.job["spec"]["suspend"] is True
    assert cluster.notes[-1].reason == "QueueNotEnforced"


def test_an_admitted_job_runs_like_any_other():
    cluster = running()
    assert (cluster.status.phase, admitted(cluster)) == ("Running", ("True", "Admitted"))
    assert "Admitted" in [note.reason for note in cluster.notes]


def test_a_preempted_job_is_queued_again_and_nothing_is_counted():
    cluster = running()
    for index in range(4):
        cluster.end_pod(index, 143)
    say(cluster, Evicted=("True", "Preempted", "Preempted to accommodate a workload"))
    cluster.job["spec"]["suspend"] = True
    cluster.hold_job()
    cluster.settle()
    assert (cluster.status.phase, admitted(cluster)) == ("Queued", ("False", "Preempted"))
    assert cluster.status.last_failure is None
    assert cluster.job["spec"]["suspend"] is True, "it is the queue's to start"
    assert cluster.notes[-1].type == "Warning"


def test_suspending_asks_the_workload_not_the_job():
    cluster = running()
    cluster.change(suspend=True)
    plan = cluster.step()
    assert plan.actions == (Patch("Workload", "job-ft-flowers", "workload", {"spec": {"active": False}}),)
    assert cluster.status.phase == "Suspended"
    cluster.job["spec"]["suspend"] = True
    cluster.hold_job()
    cluster.settle()
    cluster.change(suspend=False)
    plan = cluster.step()
    assert plan.actions == (Patch("Workload", "job-ft-flowers", "workload", {"spec": {"active": True}}),)
    assert cluster.job["spec"]["suspend"] is True
    assert cluster.status.phase == "Queued"


def test_a_label_that_was_put_on_by_hand_counts_too():
    cluster = PretendCluster()
    cluster.settle()
    cluster.job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "team-b"
    cluster.job["spec"]["suspend"] = True
    cluster.hold_job()
    cluster.settle()
    assert cluster.job["spec"]["suspend"] is True
    assert cluster.status.phase == "Queued"


@pytest.mark.parametrize(("served", "phase"), [(True, "Starting"), (False, "Failed")])
def test_a_scheduler_that_is_not_there_is_refused_before_anything_is_made(served, phase):
    settings = Settings.model_validate({"gangs": {"podGroup": {"enabled": True}}})
    cluster = PretendCluster({"scheduling": {"gang": "PodGroup"}}, settings)
    cluster.more["queues_served"] = served
    cluster.settle()
    assert cluster.status.phase == phase
    assert (cluster.job is not None) is served


def test_a_pod_group_is_made_once_before_the_job():
    settings = Settings.model_validate({"gangs": {"podGroup": {"enabled": True}}})
    cluster = PretendCluster({"scheduling": {"gang": "PodGroup"}}, settings)
    plan = cluster.step()
    assert [action.manifest["kind"] for action in plan.actions][-2:] == ["PodGroup", "Job"]
    del cluster.children["PodGroup"]  # it is not watched
    assert cluster.step().actions == ()
