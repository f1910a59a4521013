"""Progress of a run as the status shows it, and how seldom it is written."""

from datetime import timedelta

import pytest

import jobs
from finetune_api import reported
from finetune_api.events import EpochEvent, WarningEvent
from finetune_api.progress import ProcessFailure
from pretend_cluster import PretendCluster
from pretend_objects import PUBLISHED


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


def out_of_memory(worker, time):
    return ProcessFailure(
        reason="OutOfMemory",
        message="The kernel killed it.",
        worker=worker,
        exit_code=137,
        time=time.timestamp(),
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


def test_stages_show_what_only_the_trainer_knows_and_keep_it():
    cluster = PretendCluster().run()
    cluster.hear(trainable_parameters=[6405, 1_000_000], unfrozen_from=[None, "block_15_expand"])
    cluster.settle()

    def shown():
        return [(stage.trainable_params, stage.unfrozen_from) for stage in cluster.status.stages]

    assert shown() == [(6405, None), (1_000_000, "block_15_expand")]
    cluster.after(60)
    cluster.hear(percent=5)  # a worker 0 that has not read its plan yet, or an older trainer
    cluster.settle()
    assert cluster.status.progress.percent == 5
    assert shown() == [(6405, None), (1_000_000, "block_15_expand")]
    cluster.end_pod(0, 0, message=PUBLISHED)
    cluster.end_job("SuccessCriteriaMet")
    cluster.settle()
    assert cluster.status.phase == "Complete"
    assert shown() == [(6405, None), (1_000_000, "block_15_expand")]


def test_a_failure_that_no_pod_ended_with_is_told_with_a_hint():
    cluster = PretendCluster().run()
    cluster.hear(generation=2, restarts=1, last_failure=out_of_memory(worker=1, time=cluster.now))
    cluster.settle()
    told = cluster.status.last_failure
    assert (told.reason, told.worker, told.exit_code) == ("OutOfMemory", 1, 137)
    assert told.message == "worker 1: The kernel killed it."
    assert "globalBatchSize" in told.hint
    assert told.time == reported.timestamp(cluster.now)
    before = len(cluster.writes)
    cluster.settle()
    assert len(cluster.writes) == before


def test_of_two_failures_the_newer_is_told():
    cluster = PretendCluster().run()
    cluster.after(60)
    cluster.hear(last_failure=out_of_memory(worker=1, time=cluster.now - timedelta(seconds=50)))
    cluster.end_pod(2, 70)
    cluster.settle()
    assert cluster.status.last_failure.reason == "InternalError"


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


def test_the_phase_stays_from_export_to_publish():
    cluster = PretendCluster().run()
    for generation, phase in enumerate(("Export", None, "Start", "Upload"), start=2):
        cluster.hear(generation=generation, phase=phase)
        cluster.settle()
        assert cluster.status.phase == "Exporting"
    cluster.hear(generation=6, phase="Step")
    cluster.settle()
    assert cluster.status.phase == "Running"


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


def test_a_field_that_another_one_overrides_is_named_from_the_first_status_on():
    cluster = PretendCluster({"schedule": "Gradual", "stages": [jobs.HEAD, jobs.TOP]})
    cluster.settle()
    unheeded = "no effect of spec.schedule: spec.stages wins"
    assert cluster.status.warnings == [unheeded]
    written = len(cluster.writes)
    assert cluster.settle().status is None
    assert len(cluster.writes) == written
    cluster.begin()
    cluster.hear(warnings=[WarningEvent(reason="RotationIgnored", message="3 images carry a rotation")])
    cluster.after(60)
    assert cluster.status.warnings == [unheeded, "3 images carry a rotation"]


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
        {"trainable_parameters": [10**12], "unfrozen_from": [None]},
        {"trainable_parameters": [1], "unfrozen_from": ["x" * 254]},
        {"trainable_parameters": [1] * 17, "unfrozen_from": [None] * 17},
        {"trainable_parameters": [1, 2], "unfrozen_from": [None]},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_figures_that_cannot_be_are_not_shown(nonsense):
    cluster = PretendCluster().run()
    before = cluster.status
    cluster.hear(**nonsense)
    cluster.settle()
    assert cluster.status == before
