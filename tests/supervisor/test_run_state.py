"""Claims, budget and results in a real run folder."""

from pathlib import Path

import numpy as np
import pytest

from finetune_api.errors import TryAgain
from finetune_api.events import ResultEvent, Role
from finetune_store.checkpoint import CheckpointStore
from finetune_store.checkpoint_index import CheckpointIndex
from finetune_store.local_store import LocalStore
from finetune_store.run_folder import RunFolder
from finetune_supervisor.happenings import Claimed, Condemned, Surveyed
from finetune_supervisor.messages import Ending, Outcome
from finetune_supervisor.run_state import RunState, published_result

OLD, NEW = "0000000010-s00-e0001-g0001", "0000000020-s00-e0002-g0001"
CRASH = Outcome(ending=Ending.FAILED, code=3, reason="Crashed", message="It crashed.", step=12)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(LocalStore(tmp_path / "output"), "default", "flowers", "run-1")


@pytest.fixture
def state(folder: RunFolder, tmp_path: Path) -> RunState:
    return RunState(folder, CheckpointIndex(folder, tmp_path / "scratch"), workers=2, max_restarts=1)


def save(folder: RunFolder, scratch: Path, id: str) -> None:
    checkpoints = CheckpointStore(folder, scratch, keep=5)
    checkpoints.save(id, {"w": np.zeros(3)}, {"step": 1}, 1)
    checkpoints.wait()


def test_the_first_generation_starts_from_scratch(state: RunState) -> None:
    assert state.claim(Role.TRAIN) == Claimed(1, None, restarts=0)


def test_a_later_one_starts_from_the_newest_checkpoint(
    state: RunState, folder: RunFolder, tmp_path: Path
) -> None:
    folder.claim_generation(1, {"role": "Train", "trainings": 1})
    for id in (OLD, NEW):
        save(folder, tmp_path / "elsewhere", id)
    assert state.claim(Role.TRAIN) == Claimed(2, NEW, restarts=1)
    claim = folder.read("generations/000002.json")
    assert claim is not None
    assert (claim["checkpoint"], claim["trainings"]) == (NEW, 2)


def test_a_damaged_checkpoint_is_passed_over(state: RunState, folder: RunFolder, tmp_path: Path) -> None:
    for id in (OLD, NEW):
        save(folder, tmp_path / "elsewhere", id)
    folder.store.put(folder.key(f"checkpoints/{NEW}/arrays.npz"), b"not what was written")
    assert state.claim(Role.TRAIN).checkpoint == OLD


def test_restarts_are_training_generations_before_this_one(state: RunState) -> None:
    roles = (Role.TRAIN, Role.TRAIN, Role.EXPORT, Role.TRAIN)
    assert [state.claim(role).restarts for role in roles] == [0, 1, 1, 2]


def test_an_export_needs_no_checkpoint(state: RunState, folder: RunFolder, tmp_path: Path) -> None:
    save(folder, tmp_path / "elsewhere", NEW)
    assert state.claim(Role.EXPORT).checkpoint is None


def test_two_leaders_never_get_the_same_generation(
    state: RunState, folder: RunFolder, tmp_path: Path
) -> None:
    other = RunState(folder, CheckpointIndex(folder, tmp_path / "other"), workers=2, max_restarts=1)
    assert state.claim(Role.TRAIN) == Claimed(1, None)
    assert other.take_over() == Surveyed()
    assert not folder.is_current(1)
    told = state.claim(Role.TRAIN)
    assert isinstance(told, Condemned)
    assert (told.verdict.code, told.verdict.reason) == (75, "Superseded")
    assert other.claim(Role.TRAIN) == Claimed(2, None, restarts=1)
    assert other.claim(Role.TRAIN) == Claimed(3, None, restarts=2)


def test_a_first_leader_and_one_after_the_end_take_nothing_over(state: RunState, folder: RunFolder) -> None:
    assert state.take_over() == Surveyed()
    assert folder.latest_generation() is None
    state.claim(Role.TRAIN)
    folder.store.put(folder.key("published.json"), b'{"version": 1}')
    later = RunState(folder, state.checkpoints, workers=2, max_restarts=1)
    assert later.take_over().published is not None
    assert folder.is_current(1)


def test_a_number_that_is_taken_in_between_is_left_alone(
    state: RunState, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = folder.latest_generation
    stale = iter([None, None])
    monkeypatch.setattr(folder, "latest_generation", lambda: next(stale, real()))
    assert [state.claim(Role.TRAIN).generation for _ in range(2)] == [1, 2]


def test_endless_contest_is_given_up_for_now(
    state: RunState, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "claim_generation", lambda *_: False)
    with pytest.raises(TryAgain, match="keeps claiming"):
        state.claim(Role.TRAIN)


def test_failures_are_counted_over_restarts_of_the_supervisor(
    state: RunState, folder: RunFolder, tmp_path: Path
) -> None:
    assert state.settle(CRASH) is None
    again = RunState(folder, CheckpointIndex(folder, tmp_path / "scratch"), workers=2, max_restarts=1)
    verdict = again.settle(CRASH)
    assert verdict is not None
    assert (verdict.code, verdict.reason) == (69, "Crashed")


def test_a_newer_checkpoint_forgives(state: RunState, folder: RunFolder, tmp_path: Path) -> None:
    assert state.settle(CRASH) is None
    save(folder, tmp_path / "elsewhere", NEW)
    assert state.settle(CRASH) is None
    assert state.settle(CRASH) is not None


def test_how_far_a_run_is(state: RunState, folder: RunFolder) -> None:
    assert state.survey() == Surveyed()
    folder.mark_trained({"checkpoint": NEW})
    assert state.survey() == Surveyed(trained=True)
    folder.store.put(folder.key("published.json"), b'{"modelUri": "s3://models/1", "version": 1}')
    result = ResultEvent(result="Published", model_uri="s3://models/1", version=1)
    assert state.survey() == Surveyed(published=result)


def test_of_a_manifest_what_the_result_needs_is_kept() -> None:
    document = {
        "modelUri": "s3://models/3",
        "version": 3,
        "metrics": {"val_accuracy": 0.97},
        "bestStage": "finetune",
        "bestEpoch": 4,
        "files": {"saved_model.pb": {"size": 1}},
        "result": "not this one",
    }
    assert published_result(document) == ResultEvent(
        result="Published",
        model_uri="s3://models/3",
        version=3,
        metrics={"val_accuracy": 0.97},
        best_stage="finetune",
        best_epoch=4,
    )
