"""How worker 0 deals with a storage that does not answer."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune_api.errors import Denied, FineTuneError, TryAgain
from finetune_store.checkpoint_index import CheckpointIndex
from finetune_store.local_store import LocalStore
from finetune_store.run_folder import RunFolder
from finetune_supervisor import chief
from finetune_supervisor.board import Board
from finetune_supervisor.chief import Chief
from finetune_supervisor.messages import Order, Ready, Start, Verdict
from finetune_supervisor.report import ReportFile
from finetune_supervisor.run_state import RunState

AWAY = TryAgain("StorageAway", "the storage does not answer")
DENIED = Denied("AccessDenied", "the storage refuses these credentials")


@pytest.fixture
def state(tmp_path: Path) -> RunState:
    folder = RunFolder(LocalStore(tmp_path / "output"), "default", "flowers", "run-1")
    return RunState(folder, CheckpointIndex(folder, tmp_path / "scratch"), workers=1, max_restarts=1)


class Errors:
    """Raises these, one a call, before it does what it stands for."""

    def __init__(self, errors: list[FineTuneError], real: Callable[[], object]) -> None:
        self.errors, self.real = errors, real

    def __call__(self) -> object:
        if self.errors:
            raise self.errors.pop(0)
        return self.real()


def first_of(state: RunState, folder: Path, patience: float) -> Order | Verdict:
    """What a chief with one ready worker comes to: its first order, or its verdict."""

    async def story() -> Order | Verdict:
        came: asyncio.Future[Order | Verdict] = asyncio.get_running_loop().create_future()
        board = Board(0, ReportFile(folder / "report.json"))
        leading = Chief(state, board, patience, lambda _, order: came.set_result(order), came.set_result)
        leading.joined(0)
        leading.start()
        leading.reported(0, Ready())
        return await asyncio.wait_for(came, 30)

    return asyncio.run(story())


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chief, "SHORTEST_STORAGE_PAUSE", 0.01)


@pytest.mark.parametrize("call", ["published", "trained", "latest_generation"])
def test_a_storage_that_comes_back_is_waited_for(
    state: RunState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    errors = Errors([AWAY, AWAY], getattr(state.folder, call))
    monkeypatch.setattr(state.folder, call, errors)
    assert isinstance(first_of(state, tmp_path, patience=20.0), Start)
    assert errors.errors == []


def test_a_storage_that_stays_away_exhausts_patience(
    state: RunState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state.folder, "published", Errors([AWAY] * 1000, lambda: None))
    verdict = first_of(state, tmp_path, patience=0.1)
    assert isinstance(verdict, Verdict)
    assert (verdict.code, verdict.reason) == (75, "StorageAway")


def test_a_storage_that_refuses_is_not_asked_twice(
    state: RunState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state.folder, "published", Errors([DENIED], lambda: None))
    verdict = first_of(state, tmp_path, patience=20.0)
    assert isinstance(verdict, Verdict)
    assert (verdict.code, verdict.reason) == (77, "AccessDenied")


def test_a_mistake_of_our_own_is_never_silent(
    state: RunState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistake() -> None:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(state.folder, "published", mistake)
    verdict = first_of(state, tmp_path, patience=20.0)
    assert isinstance(verdict, Verdict)
    assert (verdict.code, verdict.reason) == (70, "SupervisorError")
