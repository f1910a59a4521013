from datetime import timedelta

import pytest
import yaml

from finetune_api import reported
from finetune_api.errors import MissingInput
from finetune_api.progress import ProcessFailure
from finetune_api.v1alpha1 import FineTuneJobStatus
from finetune_cli import ending, recorder, status_view
from finetune_cli.folder import LocalFolder
from finetune_cli.view import Ending
from local_runs import STARTED, epoch, progress, view

LATER = STARTED + timedelta(minutes=2)
TYPES = {
    "Validated",
    "Admitted",
    "WorkersReady",
    "Training",
    "CheckpointHealthy",
    "ModelExported",
    "Complete",
    "Failed",
    "Finished",
    "ProgressAvailable",
}


def status(shown, before=None, now=LATER):
    return status_view.build(shown, before, "1234abcd", now)


def conditions(of):
    return {condition.type: condition.status for condition in of.conditions}


def test_a_running_job_looks_like_the_resource():
    shown = view(
        progress=progress(
            stage=1, stage_name="finetune", epoch=2, epochs=3, global_step=14, percent=60, eta_seconds=840
        ),
        epochs=(epoch(0, 0, 0.91), epoch(1, 0, 0.9431)),
    )
    found = status(shown).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert found["phase"] == "Running"
    assert found["summary"] == {
        "stage": "2/2 finetune",
        "epoch": "2/3",
        "progress": "60%",
        "eta": "14m",
        "best": "val_acc=0.943",
        "workers": "2/2",
        "gpus": "",
        "reason": "",
    }
    assert found["stages"] == [
        {
            "name": "head",
            "state": "Complete",
            "epochs": 2,
            "trainableParams": 12810,
            "best": {"name": "val_accuracy", "value": "0.91", "stage": "head", "epoch": 1},
            "seconds": 2,
        },
        {
            "name": "finetune",
            "state": "Running",
            "epochs": 3,
            "trainableParams": 2_657_194,
            "lr": "0.001",
            "best": {"name": "val_accuracy", "value": "0.9431", "stage": "finetune", "epoch": 1},
            "seconds": 2,
        },
    ]
    assert found["bestMetric"] == {"name": "val_accuracy", "value": "0.9431", "stage": "finetune", "epoch": 1}
    assert found["progress"]["steps"] == 50


@pytest.mark.parametrize(
    ("changes", "true"),
    [
        pytest.param({}, {"Validated", "Admitted"}, id="just started"),
        pytest.param(
            {"progress": progress()},
            {"Validated", "Admitted", "WorkersReady", "Training", "ProgressAvailable"},
            id="training",
        ),
        pytest.param(
            {"ending": Ending("Complete", 0, model_uri="/m/1", version=1)},
            {"Validated", "Admitted", "ModelExported", "Complete", "Finished"},
            id="complete",
        ),
        pytest.param(
            {"ending": Ending("Failed", 69, reason="NonFiniteLoss", message="loss is nan")},
            {"Validated", "Admitted", "Failed", "Finished"},
            id="failed",
        ),
        pytest.param(
            {"ending": Ending("Suspended", 130, reason="Stopped")}, {"Validated", "Admitted"}, id="stopped"
        ),
    ],
)
def test_all_conditions_are_always_there(changes, true):
    found = conditions(status(view(**changes)))
    assert set(found) == TYPES
    assert {name for name, value in found.items() if value == "True"} == true


def test_a_failure_that_the_run_outlived_is_told():
    said = "Memory is full. Fix: lower globalBatchSize."
    lost = ProcessFailure(reason="OutOfMemory", message=said, worker=1, exit_code=70, time=1_790_000_000)
    told = status(view(progress=progress(last_failure=lost))).last_failure
    assert (told.reason, told.worker, told.exit_code) == ("OutOfMemory", 1, 70)
    assert (told.message, told.hint) == ("Memory is full.", "lower globalBatchSize")
    assert told.time == "2026-09-21T14:13:20Z"


def test_a_transition_time_stays_until_the_condition_changes():
    first = status(view(), now=STARTED)
    second = status(view(progress=progress()), before=first, now=LATER)
    times = {condition.type: condition.last_transition_time for condition in second.conditions}
    assert times["Validated"] == reported.timestamp(STARTED)
    assert times["WorkersReady"] == reported.timestamp(LATER)


def test_the_completion_time_is_the_first_one_seen():
    done = view(ending=Ending("Complete", 0, model_uri="/m/1", version=1))
    first = status(done, now=STARTED)
    assert status(done, before=first, now=LATER).completion_time == reported.timestamp(STARTED)


def test_a_stopped_job_is_not_completed():
    assert status(view(ending=Ending("Suspended", 130, reason="Stopped"))).completion_time is None


def test_a_figure_that_is_no_number_is_left_out():
    found = status(view(epochs=(epoch(0, 0, float("nan"), loss=float("inf")),)))
    assert [metric.name for metric in found.metrics] == ["accuracy", "val_loss"]
    assert found.best_metric is None


def test_the_status_file_reads_back_as_the_resource_status(tmp_path):
    kept = recorder.Recorder(LocalFolder(tmp_path), "1234abcd", now=lambda: LATER)
    shown = view(progress=progress(checkpoint="0000000014-s01-e0001-g0001"), epochs=(epoch(0, 0),))
    kept.keep(shown)
    read = FineTuneJobStatus.model_validate(yaml.safe_load((tmp_path / "status.yaml").read_text()))
    assert read == status(shown)
    assert read.checkpoint.step == 14


def test_epochs_survive_from_one_start_to_the_next(tmp_path):
    first = recorder.Recorder(LocalFolder(tmp_path), "1234abcd")
    first.keep(view(epochs=(epoch(0, 0),)))
    first.keep(view(epochs=(epoch(0, 0), epoch(0, 1))))
    with (tmp_path / "epochs.jsonl").open("a") as log:
        log.write('{"event": "epo')
    assert recorder.Recorder(LocalFolder(tmp_path), "1234abcd").known_epochs() == (epoch(0, 0), epoch(0, 1))


def test_a_refused_job_leaves_status_and_report(tmp_path):
    error = MissingInput("FolderNotFound", "there is no folder", "an existing folder", "correct the path")
    folder = LocalFolder(tmp_path)
    recorder.write_refused(folder, ending.of_error(error))
    read = FineTuneJobStatus.model_validate(yaml.safe_load(folder.status.read_text()))
    assert (read.phase, read.last_failure.reason, read.last_failure.exit_code) == (
        "Failed",
        "FolderNotFound",
        66,
    )
    assert '"reason": "FolderNotFound"' in folder.termination(0).read_text()
