"""Checkpoints come back as they were saved, or not at all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from finetune_api.errors import FineTuneError, TryAgain
from finetune_store.checkpoint import Arrays, CheckpointStore
from finetune_store.checkpoint_index import (
    CheckpointDamagedError,
    CheckpointIndex,
    check,
    checkpoint_id,
    global_step_of,
)
from finetune_store.run_folder import RunFolder
from s3 import S3, Cut, CuttingProxy


def arrays(seed: int = 0) -> Arrays:
    generator = np.random.default_rng(seed)
    return {
        "block1/conv/kernel:0": generator.standard_normal((3, 3, 4, 8), dtype=np.float32),
        "file": np.arange(5, dtype=np.int64),
        "optimizer/step": np.array(7, dtype=np.int64),
        "nothing": np.zeros((0, 4), dtype=np.float16),
    }


def assert_equal(left: Arrays, right: Arrays) -> None:
    assert left.keys() == right.keys()
    for name, array in left.items():
        assert array.dtype == right[name].dtype
        np.testing.assert_array_equal(array, right[name])


def identifier(step: int, generation: int = 1) -> str:
    return checkpoint_id(step, 0, 0, generation)


def save(run: RunFolder, local: Path, *steps: int, keep: int = 9) -> CheckpointStore:
    """Save a checkpoint after each of these steps, each with arrays of its own."""
    store = CheckpointStore(run, local, keep)
    for step in steps:
        store.save(identifier(step), arrays(step), {"step": step}, 1)
        store.wait()
    return store


def test_ids_sort_by_progress() -> None:
    ids = [
        checkpoint_id(9, 0, 3, 2),
        checkpoint_id(10, 0, 0, 1),
        checkpoint_id(10, 1, 0, 1),
        checkpoint_id(10, 1, 0, 2),
    ]
    assert ids == sorted(ids)
    assert [global_step_of(id) for id in ids] == [9, 10, 10, 10]


def test_a_checkpoint_comes_back_on_another_machine(run: RunFolder, tmp_path: Path) -> None:
    saved = save(run, tmp_path / "here", 10, 20)
    other = CheckpointStore(run, tmp_path / "there", 2)
    newest = other.newest()
    assert newest == saved.newest()
    assert newest is not None
    loaded, state = other.load(newest.id)
    assert_equal(loaded, arrays(20))
    assert state == {"step": 20}


def test_equal_contents_are_equal_bytes(run: RunFolder, tmp_path: Path) -> None:
    infos = [
        CheckpointStore(run, tmp_path / place, 2).save(identifier(1), arrays(1), {"b": 1, "a": 2}, 1)
        for place in ("one", "two")
    ]
    assert infos[0] == infos[1]


def test_there_is_nothing_before_the_first(run: RunFolder, tmp_path: Path) -> None:
    assert CheckpointStore(run, tmp_path, 2).newest() is None


def test_the_last_two_and_the_best_are_kept(run: RunFolder, tmp_path: Path) -> None:
    local = tmp_path / "local"
    store = save(run, local, 10, keep=2)
    store.pin(identifier(10))
    for step in (20, 30, 40):
        store.save(identifier(step), arrays(step), {}, 1)
        store.wait()
    index = CheckpointIndex(run, local)
    assert index.stored() == index.held() == [identifier(10), identifier(30), identifier(40)]
    store.pin(identifier(30))
    for step in (50, 60):
        store.save(identifier(step), arrays(step), {}, 1)
        store.wait()
    assert index.stored() == index.held() == [identifier(30), identifier(50), identifier(60)]


def test_clear_leaves_nothing(run: RunFolder, tmp_path: Path) -> None:
    save(run, tmp_path / "local", 10, 20).clear()
    assert list(run.store.list()) == []
    assert not (tmp_path / "local").exists()


def test_pickles_are_neither_written_nor_read(run: RunFolder, tmp_path: Path) -> None:
    store = CheckpointStore(run, tmp_path / "local", 2)
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        store.save(identifier(1), {"x": np.array([{}], dtype=object)}, {}, 1)
    assert store.newest() is None
    assert list((tmp_path / "local").iterdir()) == [], "nothing unfinished is left"


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def swap_identity(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "id": identifier(99)}))


def escape(path: Path) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "files": {"../../x": {"sha256": "0"}}}))


DAMAGES = [
    pytest.param("arrays.npz", truncate, id="arrays truncated"),
    pytest.param("arrays.npz", flip, id="one bit of the arrays flipped"),
    pytest.param("arrays.npz", empty, id="arrays empty"),
    pytest.param("arrays.npz", Path.unlink, id="arrays gone"),
    pytest.param("state.json", flip, id="one bit of the state flipped"),
    pytest.param("state.json", Path.unlink, id="state gone"),
    pytest.param("manifest.json", truncate, id="manifest truncated"),
    pytest.param("manifest.json", empty, id="manifest empty"),
    pytest.param("manifest.json", swap_identity, id="manifest of another checkpoint"),
    pytest.param("manifest.json", escape, id="manifest that names files elsewhere"),
]


def damage(run: RunFolder, id: str, name: str, act: Callable[[Path], object], work: Path) -> None:
    """Do something to a file in the run folder."""
    key = run.key(f"checkpoints/{id}/{name}")
    run.store.download(key, work / name)
    act(work / name)
    if (work / name).exists():
        run.store.upload(work / name, key)
    else:
        run.store.delete(key)


@pytest.mark.parametrize(("name", "act"), DAMAGES)
def test_a_damaged_one_is_passed_over_for_the_one_before(
    run: RunFolder, tmp_path: Path, name: str, act: Callable[[Path], object]
) -> None:
    save(run, tmp_path / "here", 10, 20)
    damage(run, identifier(20), name, act, tmp_path / "work")
    other = CheckpointStore(run, tmp_path / "there", 2)
    newest = other.newest()
    assert newest is not None
    assert newest.id == identifier(10)
    assert_equal(other.load(newest.id)[0], arrays(10))
    assert CheckpointIndex(run, tmp_path).stored() == [identifier(10)], "no later generation tries it again"


@pytest.mark.parametrize(("name", "act"), DAMAGES)
def test_a_damaged_local_copy_is_fetched_again(
    run: RunFolder, tmp_path: Path, name: str, act: Callable[[Path], object]
) -> None:
    store = save(run, tmp_path / "here", 10, 20)
    act(tmp_path / "here" / identifier(20) / name)
    newest = store.newest()
    assert newest is not None
    assert newest.id == identifier(20)
    assert_equal(store.load(newest.id)[0], arrays(20))


def test_when_all_are_damaged_the_run_starts_over(run: RunFolder, tmp_path: Path) -> None:
    save(run, tmp_path / "here", 10)
    damage(run, identifier(10), "arrays.npz", flip, tmp_path / "work")
    there = CheckpointStore(run, tmp_path / "there", 2)
    assert there.newest() is None
    with pytest.raises(CheckpointDamagedError, match="is damaged") as raised:
        there.load(identifier(10))
    assert raised.value.exit_code == 75


def test_one_that_a_killed_process_had_not_copied_yet_is_copied_and_used(
    run: RunFolder, tmp_path: Path
) -> None:
    local = tmp_path / "here"
    save(run, local, 10, 20)
    run.store.delete_all(run.key(f"checkpoints/{identifier(20)}"))
    newest = CheckpointIndex(run, local).newest()
    assert newest is not None
    assert newest.id == identifier(20)
    assert CheckpointIndex(run, tmp_path / "there").newest() == newest


def test_a_fenced_process_stores_nothing_that_counts(run: RunFolder, tmp_path: Path) -> None:
    run.claim_generation(1, {})
    store = save(run, tmp_path / "old", 10)
    run.claim_generation(2, {})
    store.save(identifier(20), arrays(), {}, 1)
    with pytest.raises(TryAgain, match="generation 1 is over") as raised:
        store.wait()
    assert raised.value.reason == "Fenced"
    with pytest.raises(TryAgain, match="generation 1 is over"):
        store.save(identifier(30), arrays(), {}, 1)
    assert CheckpointIndex(run, tmp_path / "new").stored() == [identifier(10)]


def test_stored_checkpoints_are_reported_in_order(run: RunFolder, tmp_path: Path) -> None:
    seen: list[str] = []
    store = CheckpointStore(run, tmp_path, 2, on_stored=lambda info, seconds: seen.append(info.id))
    for step in (1, 2):
        store.save(identifier(step), arrays(), {}, 1)
        store.wait()
    assert seen == [identifier(1), identifier(2)]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(1, 6))
def test_a_copy_cut_off_at_any_request_leaves_a_whole_checkpoint(
    s3: S3, tmp_path: Path, number: int, when: str
) -> None:
    prefix = f"checkpoint-{number}-{when}"
    run = RunFolder(s3.store(prefix), "team", "flowers", "run1")
    run.claim_generation(1, {})
    save(run, tmp_path / "here", 10)
    shutil.copytree(tmp_path / "here", tmp_path / "machine")
    source = CheckpointStore(run, tmp_path / "machine", 2)
    source.save(identifier(20), arrays(20), {}, 1)
    source.wait()
    run.store.delete_all(run.key(f"checkpoints/{identifier(20)}"))
    with CuttingProxy(s3.endpoint, Cut(number, "before" if when == "before" else "after")) as proxy:
        cut = RunFolder(s3.store_at(proxy.endpoint, prefix, patience=0.1), "team", "flowers", "run1")
        try:
            CheckpointIndex(cut, tmp_path / "machine").upload(identifier(20), generation=1)
        except FineTuneError as error:
            assert error.exit_code == 75  # noqa: PT017
    newest = CheckpointIndex(run, tmp_path / "there").newest()
    assert newest is not None
    assert newest.id in (identifier(10), identifier(20))
    assert check(tmp_path / "there" / newest.id) == newest
