"""The background copier: training goes on while the storage is away, and the newest wins."""

import threading
from collections.abc import Callable

import pytest

from finetune_api.errors import Denied, TryAgain
from finetune_store.uploader import Uploader
from waiting import eventually


class Storage:
    """Takes an id, waits, refuses, as a test says."""

    def __init__(self) -> None:
        self.arrived: list[str] = []
        self.tried: list[str] = []
        self.open = threading.Event()
        self.error: Exception | None = None
        self.uploader = Uploader(self._take)

    def _take(self, id: str, _seconds: Callable[[], float]) -> None:
        self.tried.append(id)
        if self.error is not None:
            raise self.error
        assert self.open.wait(30)
        self.arrived.append(id)

    def wait(self, timeout: float = 30.0) -> None:
        self.uploader.wait(timeout, lambda: None)


@pytest.fixture
def storage() -> Storage:
    return Storage()


def test_everything_arrives_when_there_is_time(storage: Storage) -> None:
    storage.open.set()
    for id in "abc":
        storage.uploader.submit(id)
        storage.wait()
    assert storage.arrived == ["a", "b", "c"]


def test_the_newest_takes_the_place_of_one_that_waits(storage: Storage) -> None:
    storage.uploader.submit("a")
    eventually(lambda: storage.tried == ["a"])
    for id in "bcd":
        storage.uploader.submit(id)
    assert storage.uploader.waiting == ["a", "d"]
    storage.open.set()
    storage.wait()
    assert storage.arrived == ["a", "d"]


def test_the_best_keeps_its_place(storage: Storage) -> None:
    storage.uploader.submit("a")
    eventually(lambda: storage.tried == ["a"])
    storage.uploader.submit("best")
    storage.uploader.protect("best")
    for id in "bc":
        storage.uploader.submit(id)
    storage.open.set()
    storage.wait()
    assert storage.arrived == ["a", "best", "c"]


def test_a_storage_that_is_away_holds_nothing_up_and_is_found_again(storage: Storage) -> None:
    storage.error = TryAgain("StorageUnavailable", "no connection")
    storage.open.set()
    storage.uploader.submit("a")
    eventually(lambda: storage.uploader.problem is not None)
    storage.uploader.raise_failure()
    storage.uploader.submit("b")
    with pytest.raises(TryAgain, match="no connection"):
        storage.wait(timeout=0.0)
    storage.error = None
    storage.wait()
    assert storage.arrived[-1] == "b"
    assert storage.uploader.problem is None


def test_a_refusal_is_told_to_whoever_asks_next(storage: Storage) -> None:
    storage.error = Denied("AccessDenied", "no")
    storage.uploader.submit("a")
    with pytest.raises(Denied):
        storage.wait()
    with pytest.raises(Denied):
        storage.uploader.raise_failure()


def test_a_mistake_of_ours_is_told_too(storage: Storage) -> None:
    storage.error = KeyError("a bug")
    storage.uploader.submit("a")
    with pytest.raises(KeyError):
        storage.wait()


def test_waiting_ticks(storage: Storage) -> None:
    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        storage.open.set()

    storage.uploader.submit("a")
    storage.uploader.wait(30, tick)
    assert ticks
