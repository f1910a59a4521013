from dataclasses import replace

import pytest

from finetune_api import reported
from finetune_api.events import WarningEvent
from finetune_cli import view
from finetune_cli.view import Ending
from local_runs import epoch, progress
from local_runs import view as a_view


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, "Starting", id="nothing heard yet"),
        pytest.param({"progress": progress(generation=0, phase=None)}, "Starting", id="no generation yet"),
        pytest.param({"replaced": 1}, "Restarting", id="supervisor 0 was replaced and says nothing yet"),
        pytest.param({"progress": progress(phase="Start")}, "Starting", id="joining for the first time"),
        pytest.param({"progress": progress(phase="Start", generation=2)}, "Restarting", id="joining again"),
        pytest.param({"progress": progress(workers_ready=1)}, "Restarting", id="a worker is away"),
        pytest.param({"progress": progress()}, "Running", id="steps"),
        pytest.param({"progress": progress(phase="Verify")}, "Exporting", id="verifying the export"),
        pytest.param({"ending": Ending("Complete", 0)}, "Complete", id="published"),
        pytest.param({"ending": Ending("Failed", 65)}, "Failed", id="failed"),
        pytest.param({"ending": Ending("Suspended", 130)}, "Suspended", id="stopped by the user"),
    ],
)
def test_phase(changes, expected):
    assert view.phase(a_view(**changes)) == expected


def test_an_epoch_run_again_counts_as_it_was_run_last():
    first, again = epoch(0, 1, 0.8), epoch(0, 1, 0.9)
    assert reported.merge_epochs([first, epoch(1, 0)], [again, epoch(0, 0)]) == (
        epoch(0, 0),
        again,
        epoch(1, 0),
    )


def test_a_replaced_supervisor_0_forgets_epochs_but_the_view_does_not():
    before = a_view().seen(progress(epochs_log=[epoch(0, 0), epoch(0, 1)]))
    after = before.seen(progress(epochs_log=[epoch(1, 0)]))
    assert [(event.stage, event.epoch) for event in after.epochs] == [(0, 0), (0, 1), (1, 0)]


def test_a_warning_is_said_once_whoever_repeats_it():
    warning = WarningEvent(reason="Rotated", message="3 images carry a rotation")
    twice = a_view().seen(progress(warnings=[warning])).seen(progress(warnings=[warning]))
    assert twice.warnings == (warning,)


def test_the_best_epoch_is_the_first_of_equals():
    assert reported.best_epoch([epoch(0, 0, 0.8), epoch(0, 1, 0.9), epoch(1, 0, 0.9)]) == epoch(0, 1, 0.9)


def test_without_validation_epochs_are_compared_by_training_accuracy():
    plain = epoch(0, 0, None, accuracy=0.6)
    assert (reported.score(plain), reported.metric_name(plain)) == (0.6, "accuracy")


def test_a_percentage_of_100_is_for_a_published_model_alone():
    trained = a_view(progress=progress(percent=100))
    assert view.percent(trained) == 99
    assert view.percent(replace(trained, ending=Ending("Complete", 0))) == 100


def states(shown):
    return [row.state for row in view.stage_rows(shown)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, ["Pending", "Pending"], id="before anything"),
        pytest.param({"progress": progress(num_stages=0)}, ["Pending", "Pending"], id="no plan yet"),
        pytest.param({"progress": progress()}, ["Running", "Pending"], id="first stage"),
        pytest.param({"progress": progress(stage=1)}, ["Complete", "Running"], id="second stage"),
        pytest.param({"progress": progress(phase="Upload")}, ["Complete", "Complete"], id="publishing"),
        pytest.param(
            {"ending": Ending("Failed", 69), "progress": progress()}, ["Failed", "Pending"], id="failed"
        ),
        pytest.param({"epochs": (epoch(1, 0),)}, ["Complete", "Running"], id="resumed, nothing heard yet"),
        pytest.param({"ending": Ending("Complete", 0)}, ["Complete", "Complete"], id="complete"),
    ],
)
def test_stage_states(changes, expected):
    assert states(a_view(**changes)) == expected


def test_a_stage_row_sums_up_its_own_epochs():
    row = view.stage_rows(a_view(epochs=(epoch(0, 0, 0.8), epoch(0, 1, 0.9), epoch(1, 0, 0.95))))[0]
    assert (row.epochs_done, row.seconds, row.best) == (2, 3.0, epoch(0, 1, 0.9))
