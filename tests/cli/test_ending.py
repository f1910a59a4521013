import pytest

from finetune_api.errors import BadData
from finetune_api.events import TrainerReport
from finetune_cli import ending
from finetune_cli.local_gang import Outcome
from finetune_cli.view import Ending
from local_runs import published

TOLD = TrainerReport(exit_code=65, reason="OneClass", message="there is one class. Expected: two or more.")


def test_success_names_the_model():
    found = ending.of_outcome(Outcome(0), [published("/m/1"), None])
    assert found == Ending("Complete", 0, model_uri="/m/1", version=1)


@pytest.mark.parametrize(
    ("outcome", "reports", "expected"),
    [
        pytest.param(
            Outcome(65, "WorkerFailed", worker=1, worker_code=65),
            [None, TOLD],
            Ending("Failed", 65, "OneClass", TOLD.message, worker=1),
            id="the failed worker's own words",
        ),
        pytest.param(
            Outcome(78, "WorkerFailed", worker=1, worker_code=78),
            [TOLD, None],
            Ending(
                "Failed", 78, "WorkerFailed", "worker 1 ended with exit code 78 and left no report", worker=1
            ),
            id="no words left behind",
        ),
        pytest.param(
            Outcome(69, "BackoffLimitExceeded", worker=0, worker_code=137),
            [None, None],
            Ending(
                "Failed",
                69,
                "BackoffLimitExceeded",
                "worker 0 was started again as often as maxRestarts allows; its last end: "
                "worker 0 ended with exit code 137 and left no report",
                worker=0,
            ),
            id="crash after crash",
        ),
        pytest.param(
            Outcome(69, "StartDeadlineExceeded", message="the workers were not all there"),
            [TOLD, None],
            Ending("Failed", 69, "StartDeadlineExceeded", "the workers were not all there", worker=0),
            id="the command's own verdict",
        ),
        pytest.param(
            Outcome(70, "WorkerFailed", worker=1, worker_code=70),
            [published("/m/1"), None],
            Ending("Complete", 0, model_uri="/m/1", version=1),
            id="a published model wins",
        ),
    ],
)
def test_of_outcome(outcome, reports, expected):
    assert ending.of_outcome(outcome, reports) == expected


@pytest.mark.parametrize(
    ("codes", "checkpoint", "message"),
    [
        pytest.param(
            [143, 143], "0014-s01", "stopped; saved at 0014-s01. The same command goes on from there", id="ok"
        ),
        pytest.param(
            [143, 143], None, "stopped; nothing was saved yet. The same command begins again", id="early"
        ),
        pytest.param(
            [143, 137],
            "0014-s01",
            "stopped; saved at 0014-s01 (not every worker could leave in time). "
            "The same command goes on from there",
            id="a worker had to be killed",
        ),
    ],
)
def test_of_stop(codes, checkpoint, message):
    found = ending.of_stop(2, codes, [None, None], checkpoint)
    assert found == Ending("Suspended", 130, "Stopped", message)


def test_a_stop_that_comes_after_the_commit_is_a_success():
    assert ending.of_stop(2, [0, 143], [published("/m/1"), None], None).phase == "Complete"


def test_a_refusal_keeps_code_and_sentences():
    found = ending.of_error(BadData("OneClass", "there is one class", "two", "add images"))
    assert (found.exit_code, found.reason) == (65, "OneClass")
    assert found.message == "there is one class. Expected: two. Fix: add images."


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        pytest.param(Ending("Failed", 65, worker=0), False, id="the message explains bad data"),
        pytest.param(Ending("Failed", 69, worker=0), True, id="a worker gave up"),
        pytest.param(Ending("Failed", 65), False, id="refused before the start: there is no log"),
        pytest.param(Ending("Suspended", 130), False, id="stopped"),
    ],
)
def test_when_the_log_is_shown(how, expected):
    assert ending.needs_log(how) is expected
