"""Time: deadlines that count what they say, gangs that stay incomplete, suspensions in between."""

from datetime import timedelta
from itertools import pairwise

import pytest

from finetune_operator.bodies import moment
from finetune_operator.deadlines import MOST_RELEASES
from finetune_operator.healing import chance
from pretend_cluster import PretendCluster
from pretend_objects import time

REASON = "finetune.dev/stop-reason"


def annotations(cluster):
    return cluster.job["metadata"]["annotations"]


def suspend(cluster):
    cluster.change(suspend=True)
    cluster.settle()
    cluster.hold_job()
    cluster.settle()


def resume(cluster):
    cluster.change(suspend=False)
    cluster.settle()
    cluster.start_job()
    for index in range(cluster.workers):
        cluster.add_pod(index)
        cluster.make_ready(index)
    cluster.settle()


def stopped(cluster):
    return cluster.job["spec"].get("activeDeadlineSeconds") == 1


def test_the_deadline_fires_by_itself_and_the_reason_is_on_the_job():
    cluster = PretendCluster({"activeDeadlineSeconds": 100}).run()
    assert cluster.settle().again == pytest.approx(95)
    cluster.after(94)
    assert not stopped(cluster)
    cluster.after(2)
    assert stopped(cluster)
    assert annotations(cluster)[REASON] == "DeadlineExceeded"
    cluster.end_job("FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline")
    cluster.settle()
    failure = cluster.status.last_failure
    assert failure.reason == "DeadlineExceeded"
    assert "100 s" in failure.message
    assert failure.hint


def test_the_job_is_stopped_once():
    cluster = PretendCluster({"activeDeadlineSeconds": 100}).run()
    cluster.after(120)
    written = len(cluster.writes)
    cluster.after(5)
    assert len(cluster.writes) == written


def test_an_operator_that_comes_back_after_the_stop_knows_why():
    cluster = PretendCluster({"activeDeadlineSeconds": 100}).run()
    cluster.after(120, settle=False)
    del cluster.body["status"]
    cluster.end_job("FailureTarget", "DeadlineExceeded")
    cluster.end_pod(1, 143)
    cluster.settle()
    assert cluster.status.last_failure.reason == "DeadlineExceeded"


def test_the_deadline_counts_all_periods_and_no_suspension():
    cluster = PretendCluster({"activeDeadlineSeconds": 100}).run()
    cluster.after(35)  # 40 s with the start
    suspend(cluster)
    assert cluster.status.accounting.active_seconds == 40
    cluster.after(10_000)
    assert not stopped(cluster)
    resume(cluster)
    assert cluster.settle().again == pytest.approx(60)
    cluster.after(59)
    assert not stopped(cluster)
    cluster.after(2)
    assert stopped(cluster)


def test_a_period_that_ended_while_nobody_looked_is_counted_to_its_end():
    cluster = PretendCluster({"activeDeadlineSeconds": 1000}).run()
    cluster.change(suspend=True)
    cluster.job["spec"]["suspend"] = True
    cluster.now += timedelta(seconds=35)
    cluster.hold_job()
    cluster.after(500)
    assert cluster.status.accounting.active_seconds == 40


def test_a_deadline_that_is_changed_counts_at_once():
    cluster = PretendCluster().run()
    cluster.after(500)
    cluster.change(activeDeadlineSeconds=400)
    cluster.settle()
    assert stopped(cluster)


def test_gpu_seconds_are_counted():
    cluster = PretendCluster({"resources": {"limits": {"nvidia.com/gpu": 2}}}).run()
    assert cluster.status.summary.gpus == "4x2"
    cluster.after(95)
    cluster.hear(percent=10)
    cluster.settle()
    assert cluster.status.accounting.gpu_seconds == 4 * 2 * 100


def incomplete(**changes):
    cluster = PretendCluster({"startDeadlineSeconds": 300, **changes}).begin()
    cluster.make_ready(0)
    cluster.pod(1)["status"]["conditions"] = [
        {
            "type": "PodScheduled",
            "status": "False",
            "message": "0/5 nodes are available: 5 Insufficient nvidia.com/gpu.",
        }
    ]
    cluster.settle()
    return cluster


def test_a_gang_that_stays_incomplete_lets_go_of_what_it_holds():
    cluster = incomplete()
    cluster.after(299)
    assert not cluster.job["spec"]["suspend"]
    cluster.after(1)
    assert cluster.job["spec"]["suspend"]
    assert annotations(cluster)["finetune.dev/releases"] == "1"
    cluster.hold_job()
    cluster.settle()
    assert cluster.status.phase == "Pending"
    assert cluster.status.summary.reason.startswith("Released: ")


def test_and_tries_again_after_a_pause_that_differs_from_job_to_job():
    cluster = incomplete()
    cluster.after(300)
    pause = (moment(annotations(cluster)["finetune.dev/resume-at"]) - cluster.now).total_seconds()
    assert 29 <= pause <= 90
    cluster.hold_job()
    cluster.after(pause - 1)
    assert cluster.job["spec"]["suspend"]
    cluster.after(2)
    assert not cluster.job["spec"]["suspend"]
    assert "finetune.dev/resume-at" not in annotations(cluster)
    chances = sorted(chance(str(number), 0) for number in range(50))
    assert 0 <= chances[0] < 0.2 < 0.8 < chances[-1] <= 1


def test_three_times_and_then_fails():
    cluster = incomplete()
    for attempt in range(MOST_RELEASES):
        cluster.after(300)
        assert annotations(cluster)["finetune.dev/releases"] == str(attempt + 1)
        cluster.hold_job()
        cluster.after(91)
        cluster.start_job()
        cluster.add_pod(0)
        cluster.settle()
    cluster.after(299)
    assert not stopped(cluster)
    cluster.after(2)
    assert stopped(cluster)
    assert annotations(cluster)[REASON] == "StartDeadlineExceeded"
    assert "4 tries" in annotations(cluster)["finetune.dev/stop-message"]


def test_a_gang_that_became_complete_has_all_tries_again():
    cluster = incomplete()
    cluster.after(300)
    cluster.hold_job()
    cluster.after(91)
    cluster.start_job()
    for index in range(4):
        cluster.add_pod(index)
        cluster.make_ready(index)
    cluster.settle()
    assert "finetune.dev/releases" not in annotations(cluster)
    assert cluster.status.phase == "Running"


def test_the_start_deadline_also_counts_after_a_loss():
    cluster = PretendCluster({"startDeadlineSeconds": 300}).run()
    cluster.after(1000)
    cluster.end_pod(3, 143)
    cluster.settle()
    cluster.after(299)
    assert not cluster.job["spec"]["suspend"]
    cluster.after(2)
    assert cluster.job["spec"]["suspend"]


def test_a_suspension_starts_the_wait_for_the_gang_anew():
    cluster = incomplete()
    cluster.after(250)
    suspend(cluster)
    cluster.after(5000)
    cluster.change(suspend=False)
    cluster.settle()
    cluster.start_job()
    cluster.after(250)
    assert not cluster.job["spec"]["suspend"]


def test_a_user_who_suspends_a_released_gang_takes_over():
    cluster = incomplete()
    cluster.after(300)
    cluster.hold_job()
    cluster.change(suspend=True)
    cluster.after(500)
    assert (cluster.status.phase, cluster.job["spec"]["suspend"]) == ("Suspended", True)
    cluster.change(suspend=False)
    cluster.settle()
    assert not cluster.job["spec"]["suspend"]


def waits_for(cluster):
    found = next(one for one in cluster.status.conditions if one.type == "WorkersReady")
    return found.reason


def test_the_reason_is_told_after_a_while_and_costs_one_write():
    cluster = incomplete()
    written = len(cluster.writes)
    cluster.after(15)
    assert (waits_for(cluster), len(cluster.writes)) == ("Starting", written)
    plan = cluster.after(5)
    assert plan.want_events, "only Events say why pods are not made"
    assert (waits_for(cluster), cluster.status.phase) == ("Unschedulable", "Pending")
    assert cluster.status.summary.reason.startswith("Unschedulable: 0/5 nodes")
    assert len(cluster.writes) == written + 1
    assert cluster.notes[-1].reason == "Unschedulable"
    cluster.pod(1)["status"]["conditions"][0]["message"] = (
        "0/6 nodes are available: 6 Insufficient nvidia.com/gpu."
    )
    cluster.after(5)
    assert len(cluster.writes) == written + 1, "another number of nodes is no news"


def test_events_are_asked_for_less_and_less_often():
    cluster = PretendCluster().begin()
    asked = []
    for _ in range(120):
        plan = cluster.after(5)
        if plan.want_events:
            asked.append(
                (cluster.now - moment(cluster.body["metadata"]["creationTimestamp"])).total_seconds()
            )
            cluster.events, cluster.events_time = (), cluster.now
    assert asked[0] == 20
    assert len(asked) < 12
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    assert gaps == sorted(gaps)


def test_a_quota_is_told_from_the_jobs_events():
    cluster = PretendCluster()
    cluster.settle()
    cluster.start_job()
    cluster.after(20)
    cluster.warn(
        "Job",
        "ft-flowers",
        "FailedCreate",
        'pods "x" is forbidden: exceeded quota: gpus, used: 4, limited: 4',
    )
    cluster.settle()
    assert waits_for(cluster) == "QuotaExceeded"
    assert "limited: 4" in cluster.status.summary.reason
    for index in range(4):
        cluster.add_pod(index)
        cluster.make_ready(index)
    cluster.settle()
    assert (waits_for(cluster), cluster.status.summary.reason) == ("Ready", "")


def test_a_start_is_timed_by_the_pods_not_by_the_operator():
    cluster = PretendCluster().run()
    assert cluster.status.start_time == time(cluster.now)
    late = PretendCluster().begin()
    for index in range(4):
        late.make_ready(index)
    began = time(late.now)
    late.after(500)
    assert late.status.start_time == began
