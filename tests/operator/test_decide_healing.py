"""Pods that nobody reports on any more, delays that are forgotten, progress that is shown."""

from datetime import timedelta

import pytest

from finetune_api.events import EpochEvent, WarningEvent
from finetune_operator.plan import Delete, Patch
from finetune_operator.settings import Settings
from finetune_operator.views import FAILURES
from pretend_cluster import PretendCluster
from pretend_objects import time


def dying(grace=30, node_gone=True, settings=None):
    """Worker 2 is being deleted; its node has not answered since then."""
    cluster = PretendCluster(settings=settings).run()
    if node_gone:
        taint = {"key": "node.kubernetes.io/unreachable", "timeAdded": time(cluster.now)}
        cluster.nodes["node-2"] = {"metadata": {"name": "node-2"}, "spec": {"taints": [taint]}}
    cluster.pod(2)["metadata"] |= {
        "deletionTimestamp": time(cluster.now + timedelta(seconds=grace)),
        "deletionGracePeriodSeconds": grace,
    }
    return cluster


def buried(cluster):
    return [action for action in cluster.writes if isinstance(action, Delete) and action.kind == "Pod"]


def test_a_pod_on_a_dead_node_is_declared_failed_and_removed():
    cluster = dying()
    uid = cluster.pod(2)["metadata"]["uid"]
    assert cluster.settle().again <= 120
    cluster.after(118)
    assert not buried(cluster)
    plan = cluster.after(3, settle=False)
    patch, delete = plan.actions
    assert isinstance(patch, Patch)
    assert (patch.kind, patch.uid, patch.subresource) == ("Pod", uid, "status")
    assert patch.body["status"]["phase"] == "Failed"
    assert patch.body["status"]["conditions"][0]["type"] == "DisruptionTarget"
    assert delete == Delete("Pod", patch.name, uid, grace_seconds=0)


def test_a_node_that_comes_back_keeps_its_pod():
    cluster = dying()
    cluster.after(100)
    cluster.nodes.clear()
    cluster.after(1000)
    assert not buried(cluster)


def test_grace_is_granted_in_full():
    cluster = dying(grace=600)
    cluster.after(590)
    assert not buried(cluster)
    cluster.after(11)
    assert buried(cluster)


def test_a_pod_deleted_by_force_is_freed_after_moments():
    cluster = dying(grace=0, node_gone=False)
    cluster.after(4)
    assert not buried(cluster)
    cluster.after(2)
    assert buried(cluster)


def test_a_pod_that_its_node_still_ends_is_left_to_it():
    cluster = dying(node_gone=False)
    cluster.after(10_000)
    assert not buried(cluster)


def test_without_the_permission_nothing_is_freed():
    cluster = dying(settings=Settings.model_validate({"deadNodes": False}))
    cluster.after(10_000)
    assert not buried(cluster)


def test_a_loss_from_outside_is_told_as_such():
    cluster = PretendCluster().run()
    disrupted = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    cluster.end_pod(2, 143, conditions=[disrupted])
    cluster.settle()
    assert (cluster.status.phase, cluster.status.last_failure.reason) == ("Restarting", "Evicted")


def replaced(failures="2"):
    cluster = PretendCluster().run()
    cluster.after(100)
    cluster.end_pod(2, 143)
    cluster.settle()
    cluster.add_pod(2)
    cluster.make_ready(2)
    cluster.pod(2)["metadata"]["annotations"] |= dict.fromkeys(FAILURES, failures)
    cluster.settle()
    return cluster


def forgotten(cluster):
    return all(cluster.pod(2)["metadata"]["annotations"][key] == "0" for key in FAILURES)


def test_old_losses_are_forgotten_once_something_new_was_saved():
    cluster = replaced()
    cluster.after(20)
    cluster.hear(generation=2, checkpoint="0000000040-s00-e0001-g0001", checkpoint_age_seconds=90.0)
    cluster.settle()
    assert not forgotten(cluster), "that was saved before the loss"
    cluster.after(20)
    cluster.hear(generation=2, checkpoint="0000000060-s00-e0001-g0002", checkpoint_age_seconds=5.0)
    plan = cluster.step()
    assert [action.kind for action in plan.actions] == ["Pod"]
    assert forgotten(cluster)
    assert cluster.settle().actions == ()


def test_old_losses_are_remembered_as_long_as_nothing_was_saved():
    cluster = replaced()
    cluster.after(20)
    cluster.hear(generation=2, checkpoint="0000000040-s00-e0001-g0001")
    cluster.settle()
    assert not forgotten(cluster)


def epoch(stage, number, accuracy):
    name = ("head", "finetune")[stage]
    return EpochEvent(
        stage=stage,
        stage_name=name,
        epoch=number,
        global_step=10,
        loss=0.5,
        accuracy=0.5,
        val_loss=0.5,
        val_accuracy=accuracy,
        learning_rate=0.1,
        seconds=2.0,
    )


def test_progress_is_shown_with_all_its_columns():
    cluster = PretendCluster().run()
    log = [epoch(0, 0, 0.9), epoch(1, 0, 0.9431)]
    cluster.hear(
        stage=1,
        stage_name="finetune",
        epoch=4,
        epochs=10,
        percent=61,
        eta_seconds=840,
        epochs_log=log,
        restarts=1,
    )
    cluster.settle()
    shown = cluster.status.summary
    assert (shown.stage, shown.epoch, shown.progress, shown.eta) == ("2/2 finetune", "4/10", "61%", "14m")
    assert (shown.best, shown.workers) == ("val_acc=0.943", "4/4")
    status = cluster.status
    assert [stage.state for stage in status.stages] == ["Complete", "Running"]
    assert (status.workers.restarts, status.progress.steps) == (1, 150)
    assert {metric.name: metric.value for metric in status.metrics}["val_accuracy"] == "0.9431"
    held = {one.type: one.status for one in status.conditions}
    assert (held["Training"], held["ProgressAvailable"]) == ("True", "True")


def test_progress_is_written_when_it_shows_and_not_more_often_than_agreed():
    cluster = PretendCluster().run()
    written = len(cluster.writes)
    for percent in range(1, 61):
        cluster.now += timedelta(seconds=1)
        cluster.hear(percent=percent, step=percent)
        cluster.settle()
    assert len(cluster.writes) - written == 4
    cluster.after(60)
    cluster.hear(percent=60, step=99, eta_seconds=5)
    written = len(cluster.writes)
    cluster.after(60)
    assert len(cluster.writes) == written, "a step alone is no news"


def test_many_running_jobs_are_written_less_often():
    cluster = PretendCluster().run()
    cluster.more["running_jobs"] = 1000
    cluster.hear(percent=1)
    cluster.settle()
    cluster.now += timedelta(seconds=50)
    cluster.hear(percent=2)
    assert cluster.settle().again == pytest.approx(50)
    assert cluster.status.progress.percent == 1


def test_a_replaced_worker_0_does_not_make_the_best_worse():
    cluster = PretendCluster().run()
    cluster.hear(epochs_log=[epoch(0, 0, 0.95)], percent=10)
    cluster.settle()
    cluster.after(60)
    cluster.hear(stage=1, stage_name="finetune", epochs_log=[epoch(1, 0, 0.90)], percent=50)
    cluster.settle()
    assert cluster.status.best_metric.value == "0.95"
    head = cluster.status.stages[0]
    assert (head.best.value, head.seconds, head.state) == ("0.95", 2, "Complete")


def test_what_an_earlier_worker_0_said_is_no_longer_listened_to():
    cluster = PretendCluster().run()
    cluster.hear(percent=50)
    cluster.settle()
    cluster.after(60)
    cluster.end_pod(0, 143)
    cluster.add_pod(0)
    cluster.make_ready(0)
    cluster.settle()
    assert cluster.status.progress.percent == 50


def test_an_operator_that_restarts_keeps_what_it_cannot_know():
    cluster = PretendCluster().run()
    cluster.hear(percent=50, epochs_log=[epoch(0, 0, 0.9)], checkpoint="0000000040-s00-e0001-g0001")
    cluster.settle()
    cluster.sample = None
    assert cluster.step().status is None
    assert cluster.status.phase == "Running"
    assert cluster.status.checkpoint.step == 40


@pytest.mark.parametrize(
    ("heard", "phase"),
    [
        pytest.param({"phase": "Upload"}, "Exporting", id="publishing"),
        pytest.param({"workers_ready": 3}, "Restarting", id="a worker is away from the rendezvous"),
        pytest.param(
            {"generation": 0, "phase": None, "num_stages": 0, "workers_ready": 1}, "Running", id="gathering"
        ),
        pytest.param({"phase": "Start"}, "Running", id="joining"),
        pytest.param({}, "Running", id="steps"),
    ],
)
def test_phases_that_only_worker_0_knows(heard, phase):
    cluster = PretendCluster().run()
    cluster.hear(**heard)
    cluster.settle()
    assert cluster.status.phase == phase


def test_worker_0_is_asked_as_long_as_it_runs():
    cluster = PretendCluster().begin()
    assert not cluster.settle().poll
    cluster.run_pods() if hasattr(cluster, "run_pods") else [cluster.make_ready(index) for index in range(4)]
    assert cluster.settle().poll
    cluster.end_pod(0, 143)
    assert not cluster.settle().poll


def test_a_worker_0_that_does_not_answer_is_told_and_training_goes_on():
    cluster = PretendCluster().run()
    cluster.more["poll_failing_since"] = cluster.now
    cluster.after(59)
    cluster.after(2)
    found = next(one for one in cluster.status.conditions if one.type == "ProgressAvailable")
    assert (found.status, found.reason) == ("False", "ChiefUnreachable")
    assert cluster.status.phase == "Running"


def test_warnings_of_the_run_are_kept():
    cluster = PretendCluster().run()
    cluster.hear(warnings=[WarningEvent(reason="RotationIgnored", message="3 images carry a rotation")])
    cluster.settle()
    cluster.sample = None
    cluster.settle()
    assert cluster.status.warnings == ["3 images carry a rotation"]


@pytest.mark.parametrize(
    "nonsense",
    [
        {"stage": -1},
        {"num_stages": 999},
        {"global_step": 10**12},
        {"stage_name": "x" * 500},
        {"stage_name": "Ä!"},
        {"checkpoint": "c" * 5000},
        {"steps_per_epoch": 10**9},
        {"eta_seconds": -5},
        {"epochs_log": [epoch(0, 0, 0.9).model_copy(update={"stage_name": "?"})]},
        {"checkpoint_age_seconds": 1e300},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_figures_that_cannot_be_are_not_shown(nonsense):
    cluster = PretendCluster().run()
    before = cluster.status
    cluster.hear(**nonsense)
    cluster.settle()
    assert cluster.status == before
