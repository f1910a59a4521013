"""Exports to publish, and what must hold for every version in a store at any time."""

import contextlib
import hashlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path

from finetune_store.publish import Export, read_version
from finetune_store.run_folder import RunFolder
from finetune_store.storage import Store

FILES = (
    "saved_model.pb",
    "fingerprint.pb",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
    "assets/labels.txt",
)


def export_of(folder: Path, seed: int) -> Export:
    """The files of a SavedModel, with contents (and sizes) that depend on `seed`."""
    generator = random.Random(seed)
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(generator.randbytes(generator.randrange(1, 5000)))
    documents = {"README.md": f"model {seed}".encode(), "metrics.csv": b"stage,epoch\n"}
    return Export(folder, {"metrics": {"val_accuracy": 0.97}}, documents)


def assert_whole(run: RunFolder, version: int) -> None:
    """The version has a manifest, and every file is there just as the manifest says."""
    manifest = read_version(run, version)
    assert manifest is not None
    assert set(manifest["files"]) == set(FILES)
    for name, facts in manifest["files"].items():
        content = run.store.get(f"{run.results}/model/{version}/{name}")
        assert len(content) == facts["size"], name
        assert hashlib.sha256(content).hexdigest() == facts["sha256"], name


def versions(run: RunFolder) -> list[int]:
    return [int(name) for name in run.store.folders(f"{run.results}/model")]


def assert_sound(run: RunFolder) -> None:
    """No version with a manifest lacks anything, and latest.json, if there is one, points to a version."""
    committed = [version for version in versions(run) if read_version(run, version) is not None]
    for version in committed:
        assert_whole(run, version)
    latest = run.store.find(f"{run.results}/latest.json")
    assert latest is None or any(f'"version": {version}\n' in latest.decode() for version in committed)


def assert_loadable(store: Store, folder: str) -> None:
    """No numbered folder has a saved_model.pb without its variables, for readers that know no manifest."""
    for number in store.folders(folder):
        # In this order: what is there when saved_model.pb is seen stays there.
        if store.exists(f"{folder}/{number}/saved_model.pb"):
            for name in FILES:
                assert store.exists(f"{folder}/{number}/{name}"), f"{number} has a graph and no {name}"


@contextlib.contextmanager
def numeric_folders_are_loadable(store: Store, folder: str) -> Iterator[None]:
    """Look every few milliseconds until the block ends."""
    over = threading.Event()
    problems: list[AssertionError] = []

    def look() -> None:
        while not over.wait(0.005) and not problems:
            try:
                assert_loadable(store, folder)
            except AssertionError as error:
                problems.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not problems, problems[0]
