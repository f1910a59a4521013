"""The end of a job, and what worker 0 says last: a committed model counts, whatever else happened."""

from finetune_operator.failures import OUT_OF_MEMORY
from pretend_answers import conditions
from pretend_cluster import PretendCluster
from pretend_objects import PUBLISHED


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


def test_final_figures_come_from_the_last_report_even_if_no_progress_was_ever_heard():
    status = finish(trained()).status
    assert status.artifacts.model_uri == "s3://bucket/models/ns/flowers/model/1"
    assert status.artifacts.version == 1
    assert (status.progress.percent, status.summary.progress, status.progress.step) == (100, "100%", 120)
    assert (status.summary.stage, status.summary.epoch) == ("2/2 finetune", "10/10")
    best = status.best_metric
    assert (best.name, best.value, best.stage, best.epoch) == ("val_accuracy", "0.9431", "finetune", 4)
    assert status.summary.best == "val_acc=0.943"
    assert [stage.state for stage in status.stages] == ["Complete", "Complete"]
    assert status.accounting.active_seconds == 605


def test_the_end_waits_for_worker_0s_last_word():
    cluster = trained()
    cluster.end_job("SuccessCriteriaMet", "SuccessPolicy")
    assert cluster.settle().again == 1.0
    assert cluster.status.phase == "Running"
    cluster.end_pod(0, 0, PUBLISHED)
    cluster.settle()
    assert cluster.status.artifacts.version == 1


def test_but_not_for_ever():
    cluster = trained()
    cluster.end_job("SuccessCriteriaMet", "SuccessPolicy")
    cluster.after(6)
    assert cluster.status.phase == "Complete"
    assert cluster.status.artifacts is None


def test_a_worker_that_is_stuck_keeps_nobody_waiting():
    cluster = trained()
    cluster.end_pod(0, 0, PUBLISHED)
    cluster.pod(3)["metadata"] |= {
        "deletionTimestamp": "2026-11-22T12:12:00Z",
        "deletionGracePeriodSeconds": 120,
    }
    cluster.end_job("SuccessCriteriaMet", "SuccessPolicy")
    cluster.settle()
    assert conditions(cluster)["Finished"] == "True"


def test_a_published_model_wins_over_a_failed_job():
    cluster = trained()
    cluster.end_pod(0, 70, PUBLISHED)
    cluster.end_job("FailureTarget", "MaxFailedIndexesExceeded")
    cluster.settle()
    assert cluster.status.phase == "Complete"
    assert cluster.status.artifacts.version == 1


def test_a_worker_that_crashes_just_after_the_publish_does_not_fail_the_job():
    cluster = trained()
    cluster.end_pod(2, 1)
    finish(cluster)
    assert cluster.status.phase == "Complete"
    assert "WorkerFailed" not in [note.reason for note in cluster.notes]


def test_workers_that_leave_with_the_model_published_are_not_lost():
    cluster = trained()
    cluster.end_pod(2, 0)
    cluster.pod(0)["status"]["conditions"] = []
    cluster.after(30)
    assert cluster.status.phase == "Exporting", "worker 0 is on its way out, and not ready any more"


def test_a_worker_that_is_about_to_leave_with_the_model_published_is_not_lost():
    cluster = trained()
    cluster.hear(phase="Upload", stage=1, stage_name="finetune")
    cluster.settle()
    cluster.pod(1)["status"]["conditions"] = []
    cluster.after(30)
    assert cluster.status.phase == "Exporting"
    cluster.end_pod(1, 137)
    cluster.after(30)
    assert cluster.status.phase == "Restarting"


def test_a_model_that_is_committed_while_the_job_already_fails_counts():
    cluster = trained()
    cluster.hear(phase="Upload", stage=1, stage_name="finetune")
    cluster.settle()
    cluster.end_pod(2, 69)
    cluster.end_job("FailureTarget", "PodFailurePolicy", stops=False)
    cluster.after(60)
    assert cluster.status.phase == "Exporting"
    cluster.end_pod(0, 0, PUBLISHED)
    cluster.settle()
    assert cluster.status.phase == "Complete"


def test_but_a_worker_0_that_never_ends_is_not_waited_for():
    cluster = trained()
    cluster.hear(phase="Upload", stage=1, stage_name="finetune")
    cluster.settle()
    cluster.end_pod(2, 69)
    cluster.end_job("FailureTarget", "PodFailurePolicy", stops=False)
    cluster.after(130)
    assert cluster.status.phase == "Failed"


def test_a_failure_that_was_healed_while_nobody_looked_is_still_told():
    cluster = PretendCluster().run()
    cluster.end_pod(2, 137, reason="OOMKilled")
    cluster.add_pod(2)
    cluster.make_ready(2)
    cluster.end_pod(0, 0, PUBLISHED)
    cluster.end_job("SuccessCriteriaMet", "SuccessPolicy")
    cluster.settle()
    assert (cluster.status.phase, cluster.status.last_failure.reason) == ("Complete", OUT_OF_MEMORY)


def test_worker_0_may_say_its_last_word_before_the_job_is_called_failed():
    cluster = trained()
    cluster.end_pod(2, 69)
    cluster.end_job("FailureTarget", "PodFailurePolicy", stops=False)
    cluster.after(2)
    assert cluster.status.phase == "Running"
    cluster.after(4)
    assert cluster.status.phase == "Failed"
