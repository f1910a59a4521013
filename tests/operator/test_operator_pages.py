"""Metrics and health of the operator, from what is in memory."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

import jobs
from finetune_api.http_pages import Answer
from finetune_api.v1alpha1 import FineTuneJobStatus
from finetune_operator import health
from finetune_operator.api_calls import Call
from finetune_operator.health import LoopLag
from finetune_operator.job_metrics import JobCollector, OperatorCollector
from finetune_operator.metrics import Metrics
from finetune_operator.settings import Settings
from finetune_operator.views import read
from finetune_operator.work_queue import WorkQueue
from finetune_operator.world import Key, World


def body(name: str, version: int = 1, **status: Any) -> dict[str, Any]:
    found = jobs.document({"workers": 2, "data.train": "s3://b/a", "output.uri": "s3://b/o"})
    found["metadata"] = {
        "name": name,
        "namespace": "ns",
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
    }
    return {**found, "status": status}


def pod(name: str, owner: str, index: int) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": f"uid-{name}",
            "resourceVersion": "7",
            "ownerReferences": [{"uid": owner, "controller": True}],
            "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
        },
    }


class Shown:
    """A world and what /metrics says of it."""

    def __init__(self) -> None:
        self.world = World(Settings(), lambda _: None, lambda _: None)
        self.queue: WorkQueue[Key] = WorkQueue()
        self.metrics = Metrics("1.2.3")

    @property
    def lines(self) -> list[str]:
        with self.metrics.including(JobCollector(self.world), OperatorCollector(self.queue, [], LoopLag())):
            return self.metrics.text().decode().splitlines()


@pytest.fixture
def shown() -> Shown:
    return Shown()


RUNNING = {
    "phase": "Running",
    "progress": {
        "percent": 41,
        "epoch": 2,
        "epochs": 5,
        "etaSeconds": 90,
        "lastUpdateTime": "2026-11-22T15:04:05Z",
    },
    "stages": [{"name": "head", "state": "Complete"}, {"name": "top", "state": "Running"}],
    "workers": {"desired": 2, "ready": 1, "restarts": 3},
    "bestMetric": {"name": "val_accuracy", "value": "0.94"},
    "checkpoint": {"uri": "s3://a", "step": 1, "time": "1970-01-01T00:01:40Z"},
}
SERIES = (
    'finetune_job_progress_ratio{finetunejob="a",namespace="ns"} 0.41',
    'finetune_job_eta_seconds{finetunejob="a",namespace="ns"} 90.0',
    'finetune_job_stage_index{finetunejob="a",namespace="ns"} 2.0',
    'finetune_job_epoch{finetunejob="a",namespace="ns"} 2.0',
    'finetune_job_workers_ready{finetunejob="a",namespace="ns"} 1.0',
    'finetune_job_workers_desired{finetunejob="a",namespace="ns"} 2.0',
    'finetune_job_restarts_total{finetunejob="a",namespace="ns"} 3.0',
    'finetune_job_last_checkpoint_timestamp_seconds{finetunejob="a",namespace="ns"} 100.0',
    'finetune_job_best_metric{finetunejob="a",metric="val_accuracy",namespace="ns"} 0.94',
    'finetune_job_phase{finetunejob="a",namespace="ns",phase="Running"} 1.0',
    'finetune_operator_jobs{namespace="ns",phase="Running"} 1.0',
)


@pytest.mark.parametrize("line", SERIES)
def test_a_job_has_its_series(line: str, shown: Shown) -> None:
    shown.world.resources.put(body("a", **RUNNING))
    assert line in shown.lines


def test_series_vanish_with_the_job_and_change_with_its_phase(shown: Shown) -> None:
    shown.world.resources.put(body("a", **RUNNING))
    shown.world.resources.put(body("b", 2))
    shown.world.resources.put(body("a", 3, phase="Complete"))
    assert 'finetune_operator_jobs{namespace="ns",phase="Complete"} 1.0' in shown.lines
    assert not [line for line in shown.lines if 'phase="Running"' in line]
    shown.world.resources.drop("uid-a")
    assert not [line for line in shown.lines if 'finetunejob="a"' in line]
    assert [line for line in shown.lines if 'finetunejob="b"' in line]


def test_a_pod_is_joined_to_its_job_through_its_owners(shown: Shown) -> None:
    shown.world.resources.put(body("a"))
    owner = [{"kind": "FineTuneJob", "name": "a", "uid": "uid-a", "controller": True}]
    meta = {
        "name": "ft-a",
        "namespace": "ns",
        "uid": "uid-job",
        "resourceVersion": "5",
        "ownerReferences": owner,
    }
    shown.world.jobs.put({"kind": "Job", "metadata": meta})
    shown.world.pods.put(pod("ft-a-0", "uid-job", 0))
    shown.world.pods.put(pod("other-0", "uid-of-another-job", 0))
    found = [line for line in shown.lines if line.startswith("finetune_pod_info{")]
    assert found == ['finetune_pod_info{finetunejob="a",namespace="ns",pod="ft-a-0",worker="0"} 1.0']


def test_a_malformed_job_has_no_odd_series(shown: Shown) -> None:
    shown.world.resources.put(
        {"metadata": {"uid": "u", "name": 'a"\n', "resourceVersion": "1"}, "status": {"phase": 7}}
    )
    assert [line for line in shown.lines if line.startswith("finetune_job_phase{")]


def test_only_what_this_process_wrote_is_counted(shown: Shown) -> None:
    before = read(body("a", phase="Running", startTime="2026-11-22T15:04:05Z"))
    failed = {
        "type": "Failed",
        "status": "True",
        "reason": "OutOfMemory",
        "lastTransitionTime": "2026-11-22T16:04:05Z",
    }
    after = FineTuneJobStatus.model_validate(
        {
            "phase": "Failed",
            "startTime": "2026-11-22T15:04:05Z",
            "completionTime": "2026-11-22T16:04:05Z",
            "conditions": [failed],
        }
    )
    shown.metrics.status_written(before, after)
    shown.metrics.status_written(read(body("a", phase="Failed")), after)
    finished = (
        'finetune_operator_jobs_finished_total{namespace="ns",reason="OutOfMemory",result="Failed"} 1.0'
    )
    assert finished in shown.lines
    assert 'finetune_operator_job_duration_seconds_sum{namespace="ns",result="Failed"} 3600.0' in shown.lines


def test_waits_are_measured_from_creation(shown: Shown) -> None:
    before = read(body("a", phase="Pending"))
    shown.metrics.status_written(before, FineTuneJobStatus(phase="Starting"))
    assert 'finetune_operator_job_queue_seconds_count{namespace="ns"} 1.0' in shown.lines
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    shown.metrics.status_written(
        read(body("a", phase="Starting")), FineTuneJobStatus(phase="Running", start_time=started)
    )
    assert 'finetune_operator_job_startup_seconds_bucket{le="5.0",namespace="ns"} 1.0' in shown.lines


def test_the_waits_of_a_quick_start_are_measured_once(shown: Shown) -> None:
    started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    running = FineTuneJobStatus(phase="Running", start_time=started)
    shown.metrics.status_written(read(body("a", phase="Pending")), running)
    resumed = read(body("a", phase="Starting", startTime=started))
    shown.metrics.status_written(resumed, running)
    assert 'finetune_operator_job_queue_seconds_count{namespace="ns"} 1.0' in shown.lines
    assert 'finetune_operator_job_startup_seconds_count{namespace="ns"} 1.0' in shown.lines


def test_requests_and_looks_are_counted(shown: Shown) -> None:
    shown.metrics.called(Call("patch", "200", 0.1))
    shown.metrics.reconciled(0.01, "success")
    shown.metrics.reconciled(0.01, "conflict")
    shown.metrics.poll_failed()
    assert 'finetune_operator_api_requests_total{code="200",verb="patch"} 1.0' in shown.lines
    assert 'finetune_operator_reconcile_errors_total{result="conflict"} 1.0' in shown.lines
    assert "finetune_operator_progress_poll_failures_total 1.0" in shown.lines
    assert 'finetune_operator_build_info{version="1.2.3"} 1.0' in shown.lines
    assert not [line for line in shown.lines if line.split("{")[0].endswith("_created")]


def said(answer: Answer) -> dict[str, str]:
    found = json.loads(answer.body)
    assert isinstance(found, dict)
    return found


def test_it_is_alive_until_only_a_new_process_can_help() -> None:
    lag = LoopLag()
    assert health.alive(lag, (), None).status == 200
    lag.seconds = 60
    answer = health.alive(lag, (), None)
    assert answer.status == 503
    assert said(answer) == {"loop": "60 s late", "queue": "ok"}


def test_nobody_taking_jobs_is_a_reason_to_restart() -> None:
    now = 0.0
    queue: WorkQueue[Key] = WorkQueue(clock=lambda: now)
    queue.add(("ns", "a"))
    now = 299.0
    assert health.alive(LoopLag(), (), queue).status == 200
    now = 301.0
    assert health.alive(LoopLag(), (), queue).status == 503


@pytest.mark.parametrize(
    ("started", "synced", "status"), [(True, True, 200), (False, True, 503), (True, False, 503)]
)
def test_it_is_ready_when_it_can_take_part(started: bool, synced: bool, status: int) -> None:
    assert health.ready(started=started, synced=synced).status == status
