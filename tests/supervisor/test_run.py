"""Whole runs of real supervisor processes, whose training process counts instead of training."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from actor import Fault, value_after
from finetune_api.contract import Env
from finetune_api.events import Phase, ResultEvent
from gangs import Gang, children, training_process
from waiting import eventually

MakeGang = Callable[..., Gang]
PUBLISHED = ResultEvent(
    result="Published", model_uri="file:///model/1", version=1, metrics={"val_accuracy": 0.5}
)

HELD = Fault(0, "hang", step=7, generation=1)
"""Keeps the first generation from ending before the test has done its worst."""


def is_as_if_uninterrupted(gang: Gang) -> bool:
    """Whether the count is that of a run in which nothing went wrong."""
    trained = gang.run.trained()
    return trained is not None and trained["value"] == value_after(10 * gang.epochs)


def steps(gang: Gang, generation: int, index: int = 0) -> list[int]:
    """Global steps that a worker's process did in a generation."""
    chunks = gang.events(index, "chunk")
    return [int(str(event["globalStep"])) for event in chunks if event["generation"] == generation]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_is_trained_exported_and_published(gang: MakeGang, workers: int) -> None:
    run = gang(workers).start()
    assert run.exit_codes() == [0] * workers
    assert is_as_if_uninterrupted(run)
    for index in range(workers):
        report = run.report(index)
        assert report.exit_code == 0
        assert report.result is not None
        assert (report.result.model_uri, report.result.version) == ("file:///model/1", 1)


def test_a_published_run_is_over_at_once(gang: MakeGang) -> None:
    run = gang(2)
    document = {"modelUri": "file:///model/1", "version": 1, "metrics": {"val_accuracy": 0.5}, "more": [1]}
    run.run.store.put(run.run.key("published.json"), json.dumps(document).encode())
    assert run.start().exit_codes() == [0, 0]
    assert [run.report(index).result for index in range(2)] == [PUBLISHED, PUBLISHED]
    assert run.run.latest_generation() is None


def test_a_trained_run_needs_worker_0_only(gang: MakeGang) -> None:
    run = gang(2)
    run.run.mark_trained({"value": 1})
    assert run.start(0).exit_codes() == [0]
    assert not run.events(0, "chunk")


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_is_replaced_everywhere_at_once(gang: MakeGang, victim: int) -> None:
    run = gang(2, faults=[Fault(victim, "signal:SIGKILL", step=7, generation=1)]).start()
    assert run.exit_codes() == [0, 0]
    assert is_as_if_uninterrupted(run)
    assert steps(run, 2)[0] == 6, "it goes on from the checkpoint of step 5"
    claim = run.run.read("generations/000002.json")
    assert claim is not None
    assert (claim["role"], claim["trainings"], claim["workers"]) == ("Train", 2, 2)
    assert claim["checkpoint"].startswith("0000000005-")
    assert len(claim["sha256"]) == 64


def test_a_process_that_was_killed_is_told_of_while_the_run_goes_on(gang: MakeGang) -> None:
    faults = [Fault(1, "signal:SIGKILL", step=7, generation=1), Fault(0, "hang", step=9, generation=2)]
    run = gang(2, faults=faults).start()
    failure = run.reaches(8, generation=2).last_failure
    assert failure is not None
    assert (failure.reason, failure.worker, failure.exit_code) == ("Killed", 1, 137)
    assert "SIGKILL" in failure.message
    assert abs(time.time() - failure.time) < 60


def test_a_checkpoint_that_was_not_uploaded_yet_counts(gang: MakeGang) -> None:
    """Whole on worker 0's disk, but its process was killed before it reached the run folder."""
    run = gang(2, faults=[HELD]).start()
    run.reaches(7)
    for name in ("manifest.json", "arrays.npz", "state.json"):
        run.run.store.delete(run.run.key(f"checkpoints/0000000005-s00-e0000-g0001/{name}"))
    os.kill(training_process(run, 1), signal.SIGKILL)
    assert run.exit_codes() == [0, 0]
    assert is_as_if_uninterrupted(run)
    assert steps(run, 2)[0] == 6


@pytest.mark.parametrize("index", [0, 1])
def test_a_permanent_error_of_any_worker_ends_the_job_on_all(gang: MakeGang, index: int) -> None:
    run = gang(2, faults=[Fault(index, "error:65:BadImages")]).start()
    assert run.exit_codes() == [65, 65]
    for each in range(2):
        report = run.report(each)
        assert (report.exit_code, report.reason) == (65, "BadImages")
        assert report.message == "BadImages was asked for."


def test_an_endless_failure_spends_the_budget(gang: MakeGang) -> None:
    run = gang(2, faults=[Fault(1, "exit:3", step=2)], spec={"maxRestarts": 2}).start()
    assert run.exit_codes() == [69, 69]
    report = run.report(1)
    assert (report.exit_code, report.reason) == (69, "Crashed")
    assert report.message is not None
    assert "failed 3 times without a newer checkpoint" in report.message
    assert "on worker 1" in report.message


def test_failures_with_checkpoints_in_between_do_not_spend_it(gang: MakeGang) -> None:
    faults = [Fault(0, "exit:3", step=6 * generation, generation=generation) for generation in range(1, 5)]
    run = gang(1, faults=faults, spec={"maxRestarts": 1}).start()
    assert run.exit_codes() == [0]
    assert is_as_if_uninterrupted(run)


def test_a_lost_peer_is_not_counted(gang: MakeGang) -> None:
    faults = [Fault(0, "error:75:PeerLost", step=3, generation=generation) for generation in (1, 2, 3)]
    run = gang(2, faults=faults, spec={"maxRestarts": 0}).start()
    assert run.exit_codes() == [0, 0]
    assert run.run.budget() is None


def test_peers_that_are_lost_again_and_again_exhaust_patience(gang: MakeGang) -> None:
    run = gang(1, faults=[Fault(0, "error:75:PeerLost")], spec={"startDeadlineSeconds": 6}).start()
    assert run.exit_codes() == [75]
    assert run.report().reason == "PeerLost"


@pytest.mark.parametrize("role", ["Export", "Publish"])
def test_a_chief_that_fails_after_training_trains_nothing_again(gang: MakeGang, role: str) -> None:
    run = gang(2, faults=[Fault(0, "signal:SIGKILL", role=role, generation=2)]).start()
    assert run.exit_codes() == [0, 0]
    assert {event["generation"] for event in run.events(0, "chunk")} == {1}


@pytest.mark.parametrize("index", [0, 1])
def test_a_killed_supervisor_is_waited_for(gang: MakeGang, index: int) -> None:
    run = gang(2, faults=[HELD]).start()
    run.reaches(7)
    orphan = training_process(run, index)
    run.signal(index, signal.SIGKILL)
    run.processes[index].wait()
    eventually(lambda: not is_alive(orphan), what="a training process dies with its supervisor")
    run.start(index)
    assert run.exit_codes() == [0, 0]
    assert is_as_if_uninterrupted(run)
    assert run.run.budget() is None, "a disruption is never counted"
    assert steps(run, 2)[0] > 5


@pytest.mark.parametrize("leaver", [0, 1])
def test_told_to_stop_nothing_is_lost(gang: MakeGang, leaver: int) -> None:
    # It trains while the signal comes, and however late that is, it has not ended.
    run = gang(2, epochs=6, faults=[Fault(leaver, "stay", step=55, generation=1)]).start()
    run.reaches(7)
    eventually(lambda: run.progress(leaver).global_step, what="a worker that knows of something to save")
    run.signal(leaver, signal.SIGTERM)
    assert run.processes[leaver].wait(60) == 143
    assert (run.report(leaver).exit_code, run.report(leaver).reason) == (143, "Stopped")
    run.start(leaver)
    assert run.exit_codes() == [0, 0]
    assert is_as_if_uninterrupted(run)
    assert run.run.budget() is None
    done = [*steps(run, 1), *steps(run, 2)]
    assert done == list(range(1, 61)), "every step was done exactly once"


def test_all_told_to_stop_and_started_again_go_on(gang: MakeGang) -> None:
    run = gang(2, epochs=6, faults=[Fault(0, "stay", step=55, generation=1)]).start()
    run.reaches(7)
    eventually(lambda: run.progress(1).global_step, what="a worker that knows of something to save")
    for index in range(2):
        run.signal(index, signal.SIGTERM)
    assert run.exit_codes() == [143, 143]
    assert run.start().exit_codes() == [0, 0]
    assert is_as_if_uninterrupted(run)
    assert steps(run, 2)[0] == steps(run, 1)[-1] + 1


def test_told_to_stop_before_the_first_step(gang: MakeGang) -> None:
    run = gang(2, faults=[Fault(0, "hang", generation=1)]).start()
    eventually(lambda: run.progress().phase is Phase.START)
    run.signal(1, signal.SIGTERM)
    assert run.processes[1].wait(60) == 143
    run.start(1)
    assert run.exit_codes() == [0, 0]
    assert run.run.budget() is None


def test_told_to_stop_while_publishing_the_commit_is_waited_for(gang: MakeGang) -> None:
    run = gang(1, epochs=1, faults=[Fault(0, "wait:commit", role="Publish")]).start()
    eventually(lambda: run.progress().phase is Phase.UPLOAD)
    run.signal(0, signal.SIGTERM)
    eventually(lambda: "told to stop" in run.log(0))
    time.sleep(2.0)  # so long the commit takes
    (run.folder / "commit").touch()
    assert run.exit_codes() == [0]


def test_told_to_stop_twice_there_is_no_waiting(gang: MakeGang) -> None:
    run = gang(1, faults=[Fault(0, "hang", step=3)]).start()
    run.reaches(3)
    run.signal(0, signal.SIGTERM)
    eventually(lambda: "told to stop" in run.log(0))
    run.signal(0, signal.SIGTERM)
    assert run.exit_codes() == [143]


def test_a_hang_is_found_and_its_stacks_are_printed(gang: MakeGang) -> None:
    faults = [Fault(1, "hang", step=7, generation=1)]
    # Longer than a busy machine may keep a process from its first word: that would be another hang.
    run = gang(2, faults=faults, spec={"progressDeadlineSeconds": 6}).start()
    assert run.exit_codes() == [0, 0]
    assert is_as_if_uninterrupted(run)
    for index, function in ((0, "_all_agree"), (1, "_fail")):
        assert f"in {function}" in run.log(index), "every worker says where it was"
    budget = run.run.budget()
    assert budget is not None
    assert budget["failures"] == 1


def test_a_stopped_process_is_found(gang: MakeGang) -> None:
    """SIGSTOP: it cannot print anything, and dies only by SIGKILL."""
    faults = [Fault(0, "signal:SIGSTOP", step=7, generation=1)]
    run = gang(2, faults=faults, spec={"progressDeadlineSeconds": 2}).start()
    assert run.exit_codes() == [0, 0]
    assert is_as_if_uninterrupted(run)


def test_a_stopped_supervisor_is_found(gang: MakeGang) -> None:
    run = gang(2, faults=[HELD]).start()
    run.reaches(7)
    run.signal(1, signal.SIGSTOP)
    eventually(lambda: "worker 1 is gone" in run.log(0))
    run.signal(1, signal.SIGCONT)
    assert run.exit_codes() == [0, 0]
    assert is_as_if_uninterrupted(run)


def test_a_killed_zygote_is_replaced(gang: MakeGang) -> None:
    run = gang(2, faults=[HELD]).start()
    run.reaches(7)
    (zygote,) = children(run.processes[1].pid)
    os.kill(zygote, signal.SIGKILL)
    assert run.exit_codes() == [0, 0]
    assert is_as_if_uninterrupted(run)
    assert "starting another" in run.log(1)


def test_a_worker_that_never_comes_exhausts_patience(gang: MakeGang) -> None:
    # Long enough for worker 0 to be ready itself.
    run = gang(2, spec={"startDeadlineSeconds": 6}).start(0)
    assert run.exit_codes() == [75]
    assert run.report().reason == "PeersMissing"
    assert run.report().message == "Not ready after 6 seconds: worker 1 of 2."


def test_a_supervisor_0_that_never_comes_exhausts_patience(gang: MakeGang) -> None:
    run = gang(2, spec={"startDeadlineSeconds": 2}).start(1)
    assert run.exit_codes() == [75]
    assert run.report(1).reason == "PeersMissing"


def test_a_wrong_token_is_turned_away(gang: MakeGang) -> None:
    run = gang(2, epochs=1).start(0)
    run.start(1, **{Env.TOKEN: "a guess"})
    assert run.processes[1].wait(60) == 78
    assert run.report(1).reason == "WrongToken"
    run.start(1)
    assert run.exit_codes() == [0, 0]


def is_alive(pid: int) -> bool:
    """Whether there is such a process that is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter if it goes between opening and reading
        return False
