"""What /metrics of the operator says while jobs live, after they are gone and after a restart."""

import time
from collections.abc import Iterator

import pytest

import operated
from cluster_jobs import ClusterJob
from fake_trainers import FakeTrainers
from operated import Operated
from prometheus_text import Scrape, scrape
from waiting import eventually

OF_THE_OPERATOR = (
    "finetune_operator_build_info",
    "finetune_operator_leader",
    "finetune_operator_jobs",
    "finetune_operator_jobs_finished_total",
    "finetune_operator_job_queue_seconds_count",
    "finetune_operator_job_startup_seconds_count",
    "finetune_operator_job_duration_seconds_count",
    "finetune_operator_reconcile_duration_seconds_count",
    "finetune_operator_reconcile_errors_total",
    "finetune_operator_api_requests_total",
    "finetune_operator_progress_poll_failures_total",
)
OF_A_JOB = (
    "finetune_job_info",
    "finetune_job_phase",
    "finetune_job_progress_ratio",
    "finetune_job_eta_seconds",
    "finetune_job_stage_index",
    "finetune_job_epoch",
    "finetune_job_workers_ready",
    "finetune_job_workers_desired",
    "finetune_job_restarts_total",
    "finetune_job_last_progress_timestamp_seconds",
    "finetune_job_best_metric",
    "finetune_job_created_timestamp_seconds",
    "finetune_job_gpus",
    "finetune_job_checkpoint_interval_seconds",
    "finetune_job_progress_available",
)
FORBIDDEN = {"image", "uri", "epoch_name", "message"}

cluster = operated.with_settings()


@pytest.fixture(scope="module")
def running(cluster: Operated) -> Iterator[ClusterJob]:
    """A job that has trained an epoch."""
    stages = [
        {"name": "head", "epochs": 2, "unfreeze": {"blocks": 0}, "optimizer": {"name": "Adam"}},
        {"name": "finetune", "epochs": 3, "unfreeze": {"blocks": 2}},
    ]
    job = cluster.job({"stages": stages}).apply().until_running()
    with FakeTrainers() as trainers:
        chief = trainers.serve(job.pod(0))
        chief.start()
        for epoch in range(2):
            chief.step(0, epoch, 10)
            chief.epoch(0, epoch, 0.8 + epoch / 100)
        job.until(lambda: job.status["summary"]["epoch"] == "2/2", "second epoch")
        # Its figure is heard of later than its last step.
        job.until(lambda: float(job.status.get("bestMetric", {}).get("value", 0)) == 0.81, "best figure")
        yield job


@pytest.fixture(scope="module")
def finished(cluster: Operated) -> ClusterJob:
    """A job that was seen to its end."""
    return _finish(cluster, fails=False)


def _scrape(cluster: Operated) -> Scrape:
    return scrape(f"{cluster.operator.url}/metrics")


def _of(job: ClusterJob) -> dict[str, str]:
    return {"namespace": job.namespace, "finetunejob": job.name}


@pytest.mark.parametrize("name", OF_A_JOB)
def test_a_living_job_has(name: str, cluster: Operated, running: ClusterJob) -> None:
    assert _scrape(cluster).all(name, **_of(running))


@pytest.mark.parametrize("name", OF_THE_OPERATOR)
def test_the_operator_has(name: str, cluster: Operated, finished: ClusterJob) -> None:
    """TFJob registers pod, service and pod-group counters that its /metrics never shows."""
    assert _scrape(cluster).samples.get(name)


def test_the_values_are_those_of_the_status(cluster: Operated, running: ClusterJob) -> None:
    seen, labels = _scrape(cluster), _of(running)
    assert seen.value("finetune_job_progress_ratio", **labels) == running.status["progress"]["percent"] / 100
    assert seen.value("finetune_job_epoch", **labels) == 2
    assert (
        seen.value("finetune_job_workers_ready", **labels)
        == seen.value("finetune_job_workers_desired", **labels)
        == 4
    )
    assert seen.value("finetune_job_best_metric", metric="val_accuracy", **labels) == 0.81
    phases = {sample["phase"]: value for sample, value in seen.all("finetune_job_phase", **labels)}
    assert phases["Running"] == sum(phases.values()) == 1
    assert seen.value("finetune_operator_jobs", namespace=running.namespace, phase="Running") == 1


def test_the_job_and_its_pods_can_be_joined_with_other_exporters_series(
    cluster: Operated, running: ClusterJob
) -> None:
    seen = _scrape(cluster)
    ((info, one),) = seen.all("finetune_job_info", **_of(running))
    assert (info["uid"], info["backbone"], info["workers"], one) == (
        running.body["metadata"]["uid"],
        "MobileNetV2",
        "4",
        1,
    )
    pods = {sample["pod"]: sample["worker"] for sample, _ in seen.all("finetune_pod_info", **_of(running))}
    assert pods == {running.pod(index)["metadata"]["name"]: str(index) for index in range(4)}


def test_requests_are_counted_by_verb_and_code(cluster: Operated, running: ClusterJob) -> None:
    labels = [sample for sample, _ in _scrape(cluster).all("finetune_operator_api_requests_total")]
    assert {"verb", "code"} <= set(labels[0])
    assert {"create", "patch"} <= {sample["verb"] for sample in labels}
    # The same at one moment, which must not be one in which something is just being made.
    eventually(lambda: _served(cluster) == _audited(cluster), what="same number of creates on both sides")


def _served(cluster: Operated) -> float:
    return _scrape(cluster).total("finetune_operator_api_requests_total", verb="create", code="201")


def _audited(cluster: Operated) -> int:
    """How many creates of the operator the API server has on record."""
    return sum(
        event.verb == "create" and event.code == 201
        for event in cluster.plane.audit(cluster.operator.mark, operated.USER)
    )


def test_no_counter_of_the_operator_carries_a_jobs_name(cluster: Operated, running: ClusterJob) -> None:
    """A counter per job would grow for ever."""
    for name, samples in _scrape(cluster).samples.items():
        if name.startswith("finetune_operator_"):
            assert not [labels for labels, _ in samples if "finetunejob" in labels]


def test_a_jobs_series_vanish_with_the_job(cluster: Operated) -> None:
    job = cluster.start()
    assert _scrape(cluster).all("finetune_job_info", **_of(job))
    job.delete()
    job.until_gone()
    eventually(lambda: not _series(cluster, job), what="end of the series")


def _series(cluster: Operated, job: ClusterJob) -> list[str]:
    return [
        name
        for name, samples in _scrape(cluster).samples.items()
        for labels, _ in samples
        if _of(job).items() <= labels.items()
    ]


def _finish(cluster: Operated, *, fails: bool) -> ClusterJob:
    job = cluster.start()
    if fails:
        job.fate(1, 64)
    else:
        job.publish()
    job.until_phase("Complete", "Failed")
    eventually(lambda: _finished(cluster, namespace=job.namespace), what="counted end")
    return job


def _finished(cluster: Operated, **labels: str) -> float:
    return _scrape(cluster).total("finetune_operator_jobs_finished_total", **labels)


def test_every_end_is_counted_once_with_its_reason(cluster: Operated) -> None:
    """TFJob: successful 34 for 20 jobs, restarted 22 for 12; ends by back-off or deadline are not counted."""
    good, bad = _finish(cluster, fails=False), _finish(cluster, fails=True)
    late = cluster.start()
    late.change(activeDeadlineSeconds=1)
    late.until_phase("Failed")
    eventually(lambda: _finished(cluster, namespace=late.namespace), what="counted deadline")
    assert _finished(cluster, namespace=good.namespace, result="Complete") == 1
    assert _finished(cluster, namespace=bad.namespace, result="Failed") == 1
    assert _finished(cluster, namespace=late.namespace, reason="DeadlineExceeded") == 1
    for job in (good, bad, late):
        assert _finished(cluster, namespace=job.namespace) == 1


def test_a_job_says_why_it_is_where_it_is(cluster: Operated, running: ClusterJob) -> None:
    bad = _finish(cluster, fails=True)
    seen = _scrape(cluster)
    assert not seen.all("finetune_job_reason", **_of(running))
    ((why, one),) = seen.all("finetune_job_reason", **_of(bad))
    assert (why["phase"], why["reason"], one) == ("Failed", bad.condition("Failed")["reason"], 1)
    ended = seen.value("finetune_job_completion_timestamp_seconds", **_of(bad))
    created = seen.value("finetune_job_created_timestamp_seconds", **_of(bad))
    assert ended is not None
    assert created is not None
    assert created <= ended <= time.time()
    waiting = cluster.job({"resources.limits": {"nvidia.com/gpu": "64"}}).apply()
    eventually(lambda: _scrape(cluster).all("finetune_job_reason", **_of(waiting)), what="reason to wait")
    assert _scrape(cluster).value("finetune_job_gpus", **_of(waiting)) == 4 * 64
    waiting.delete()


def test_a_restarted_operator_does_not_count_old_ends_again(cluster: Operated) -> None:
    """TFJob: after a restart it recounts finished jobs, and the other series vanish."""
    old, living = _finish(cluster, fails=False), cluster.start()
    cluster.operator.restart()
    eventually(lambda: _series(cluster, living), what="series of the living job")
    assert _finished(cluster, namespace=old.namespace) == 0
    assert _scrape(cluster).all("finetune_job_info", **_of(old))
    living.publish()
    living.until_phase("Complete")
    eventually(lambda: _finished(cluster, namespace=living.namespace), what="counted end")
    assert _finished(cluster, namespace=living.namespace) == 1
    assert _finished(cluster, namespace=old.namespace) == 0


def test_an_upgraded_operator_leaves_image_and_description_of_a_started_job_alone(cluster: Operated) -> None:
    job = cluster.start()
    template, described = job.job["spec"]["template"], _described(cluster, job)
    cluster.operator.restart({"trainer": {"images": {"cpu": "example.com/trainer:2"}}})
    newer = cluster.start()
    assert newer.pod(0)["spec"]["containers"][0]["image"] == "example.com/trainer:2"
    # What the old job goes through has the new operator look at everything of it.
    job.change(suspend=True)
    job.until_phase("Suspended")
    job.change(suspend=False)
    job.until_running()
    assert job.job["spec"]["template"] == template
    assert _described(cluster, job) == described
    assert job.status["trainerImage"] == template["spec"]["containers"][0]["image"]
    job.publish()
    job.until_phase("Complete")


def _described(cluster: Operated, job: ClusterJob) -> str:
    found = cluster.view.get("configmaps", job.namespace, job.object)
    assert found
    return str(found["data"]["job.json"])
