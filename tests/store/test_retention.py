"""Old versions go, one after the other and each at once for whoever looks, whatever is cut off on the way."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune_api.errors import TryAgain
from finetune_store.publish import identity, publish
from finetune_store.retention import remove_old_versions
from finetune_store.run_folder import RunFolder
from finetune_store.storage import Store
from model_versions import assert_loadable, assert_sound, assert_whole, export_of, versions

MOST_WRITES = 30
"""Of the removal of one version."""


def published(store: Store, folder: Path, count: int, name: str = "flowers") -> list[RunFolder]:
    """Runs of one job, each of which has published a version: 1, 2 …"""
    export = export_of(folder / "export", seed=1)
    runs = [RunFolder(store, "team", name, f"run{number}") for number in range(1, count + 1)]
    for run in runs:
        run.claim_generation(1, {})
        publish(run, identity(run.run_id, "plan", "checkpoint", "weights"), 1, export)
    return runs


def notes(run: RunFolder) -> list[str]:
    return [entry.key for entry in run.store.list(run.removals)]


def test_the_newest_stay_whole_and_of_the_others_nothing_is_left(store: Store, tmp_path: Path) -> None:
    run = published(store, tmp_path, 5)[-1]
    ticks: list[int] = []
    assert remove_old_versions(run, 2, 5, lambda: ticks.append(1)) == [3, 2, 1]
    assert versions(run) == [4, 5]
    for version in (4, 5):
        assert_whole(run, version)
    assert not notes(run)
    assert ticks
    before = {entry.key for entry in store.list()}
    assert remove_old_versions(run, 2, 5) == []
    assert {entry.key for entry in store.list()} == before
    following = published(store, tmp_path / "next", 6)[-1]
    assert versions(following) == [4, 5, 6], "numbers are never used again"


def test_fewer_versions_than_may_stay_all_stay(store: Store, tmp_path: Path) -> None:
    run = published(store, tmp_path, 2)[-1]
    assert remove_old_versions(run, 5, 2) == []
    assert versions(run) == [1, 2]


def _latest_is_rolled_back(runs: list[RunFolder]) -> None:
    run = runs[0]
    latest = {"version": 1, "uri": run.store.uri("team/flowers/model/1"), "identity": "x"}
    run.store.put("team/flowers/latest.json", json.dumps(latest).encode())


def _has_not_finished(runs: list[RunFolder]) -> None:
    runs[0].store.delete(runs[0].key("published.json"))


def _is_not_committed(runs: list[RunFolder]) -> None:
    runs[0].store.delete("team/flowers/model/1/manifest.json")


def _is_somebody_elses(runs: list[RunFolder]) -> None:
    runs[0].store.put("team/flowers/model/1/manifest.json", b'{"made": "by hand"}')


def _has_a_number_of_another(runs: list[RunFolder]) -> None:
    runs[0].store.put("team/flowers/model/1/manifest.json", b'{"version": 9, "runId": "run1"}')


STAY: dict[str, Callable[[list[RunFolder]], None]] = {
    "latest.json names it": _latest_is_rolled_back,
    "its run has not finished": _has_not_finished,
    "it has no manifest, so somebody may be at it": _is_not_committed,
    "its manifest is not ours": _is_somebody_elses,
    "its manifest is of another version": _has_a_number_of_another,
}


@pytest.mark.parametrize("happen", STAY.values(), ids=STAY)
def test_an_old_version_stays_when(
    happen: Callable[[list[RunFolder]], None], store: Store, tmp_path: Path
) -> None:
    runs = published(store, tmp_path, 4)
    happen(runs)
    files = {entry.key for entry in store.list("team/flowers/model/1")}
    assert remove_old_versions(runs[-1], 2, 4) == [2]
    assert versions(runs[-1]) == [1, 3, 4]
    assert {entry.key for entry in store.list("team/flowers/model/1")} == files


def test_the_version_published_just_now_stays_though_others_are_newer(store: Store, tmp_path: Path) -> None:
    slow, *_ = published(store, tmp_path, 4)
    assert remove_old_versions(slow, 2, 1) == [2]
    assert versions(slow) == [1, 3, 4]


def test_a_run_whose_folder_was_cleaned_up_has_finished(store: Store, tmp_path: Path) -> None:
    first, last = published(store, tmp_path, 2)
    store.delete_all(first.folder)
    assert remove_old_versions(last, 1, 2) == [1]


class CutError(Exception):
    """The process ended here."""


def cut(store: Store, patch: pytest.MonkeyPatch, number: int, after: bool) -> Callable[[], bool]:
    """Ends everything at write `number`, before it is done or after; whether it came that far."""
    seen = 0

    def cutting(write: Callable[..., None]) -> Callable[..., None]:
        def counted(*args: Any) -> None:
            nonlocal seen
            seen += 1
            if seen == number and not after:
                raise CutError
            write(*args)
            if seen >= number:
                raise CutError

        return counted

    for name in ("put", "delete"):
        patch.setattr(store, name, cutting(getattr(store, name)))
    return lambda: seen >= number


@pytest.mark.parametrize("after", [False, True], ids=["before a write", "after a write"])
def test_what_was_cut_off_is_finished_next_time(store: Store, tmp_path: Path, after: bool) -> None:
    for number in range(1, MOST_WRITES):
        last = published(store, tmp_path / str(number), 3, f"flowers{number}")[-1]
        with pytest.MonkeyPatch.context() as patch:
            reached = cut(store, patch, number, after)
            with contextlib.suppress(CutError):
                remove_old_versions(last, 2, 3)
            if not reached():
                break
        assert_sound(last)
        assert_loadable(store, f"{last.results}/model")
        remove_old_versions(last, 2, 3)
        assert versions(last) == [2, 3]
        assert not notes(last)
        assert_sound(last)
    assert 4 <= number - 1 < MOST_WRITES - 2, "the note, the manifest, the graph, the note again at least"


def test_a_note_about_a_version_that_is_there_removes_nothing_by_itself(store: Store, tmp_path: Path) -> None:
    """Its writer was cut off before the first deletion, and by now somebody has gone back to that version."""
    runs = published(store, tmp_path, 3)
    store.put(f"{runs[0].removals}/000001.json", b"{}")
    _latest_is_rolled_back(runs)
    assert remove_old_versions(runs[-1], 1, 3) == [2]
    assert_whole(runs[0], 1)


def test_storage_that_fails_is_the_callers_to_judge(store: Store, tmp_path: Path) -> None:
    last = published(store, tmp_path, 2)[-1]
    with pytest.MonkeyPatch.context() as patch:

        def away(_: str) -> None:
            raise TryAgain("StorageAway", "no answer")

        patch.setattr(store, "delete", away)
        with pytest.raises(TryAgain):
            remove_old_versions(last, 1, 2)
    assert_sound(last)
