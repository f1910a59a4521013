"""The publish protocol when nothing is cut off: identities, versions, races."""

import hashlib
import json
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from finetune_api.errors import GaveUp, TryAgain
from finetune_store.publish import Publication, elected, identity, publish, read_version
from finetune_store.run_folder import RunFolder
from finetune_store.storage import Store
from finetune_store.versions import claim_version
from model_versions import assert_whole, export_of, numeric_folders_are_loadable

MODEL = identity("run1", "plan", "checkpoint", "weights")


def run_of(store: Store, run_id: str = "run1") -> RunFolder:
    run = RunFolder(store, "team", "flowers", run_id)
    run.claim_generation(1, {})
    return run


def model_of(run: RunFolder) -> str:
    return identity(run.run_id, "plan", "checkpoint", "weights")


def latest(store: Store) -> dict[str, object]:
    document = json.loads(store.get("team/flowers/latest.json"))
    assert isinstance(document, dict)
    return document


def test_a_published_version_is_complete_and_announced(store: Store, tmp_path: Path) -> None:
    run = run_of(store)
    export = export_of(tmp_path / "export", seed=1)
    ticks: list[tuple[int, int]] = []
    publication = publish(run, MODEL, 1, export, lambda done, total: ticks.append((done, total)))
    assert publication == Publication(1, store.uri("team/flowers/model/1"), publication.manifest)
    assert_whole(run, 1)
    assert {e.key.removeprefix("team/flowers/") for e in store.list("team")} == {
        "latest.json",
        "README.md",
        "metrics.csv",
        "model/1/manifest.json",
        "model/1/saved_model.pb",
        "model/1/fingerprint.pb",
        "model/1/variables/variables.index",
        "model/1/variables/variables.data-00000-of-00001",
        "model/1/assets/labels.txt",
    }
    assert publication.manifest["metrics"] == {"val_accuracy": 0.97}
    assert publication.manifest["identity"] == MODEL
    assert latest(store) == {"version": 1, "uri": publication.uri, "identity": MODEL}
    assert ticks[-1] == (10, 10)
    published = run.published()
    assert published is not None
    assert (published["version"], published["modelUri"]) == (1, publication.uri)
    assert list(store.list(run.key("exports"))) == [], "nothing staged is left behind"


def test_publishing_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    run = run_of(store)
    first = publish(run, MODEL, 1, export_of(tmp_path / "one", seed=1))
    before = {e.key: store.get(e.key) for e in store.list()}
    assert publish(run, MODEL, 1, export_of(tmp_path / "two", seed=2)) == first
    assert publish(run, MODEL, 1, None) == first
    assert {e.key: store.get(e.key) for e in store.list()} == before


def test_each_run_gets_a_version_and_latest_never_goes_back(store: Store, tmp_path: Path) -> None:
    export = export_of(tmp_path / "export", seed=1)
    runs = [run_of(store, f"run{number}") for number in (1, 2, 3)]
    early = runs[0]
    assert claim_version(early, model_of(early)) == 1, "it has its number, and is slow"
    assert publish(runs[1], model_of(runs[1]), 1, export).version == 2
    assert publish(runs[2], model_of(runs[2]), 1, export).version == 3
    store.put("team/flowers/README.md", b"of version 3")
    assert publish(early, model_of(early), 1, export).version == 1
    assert latest(store)["version"] == 3
    assert store.get("team/flowers/README.md") == b"of version 3"
    for version in (1, 2, 3):
        assert_whole(early, version)


def test_numbers_are_not_used_again_when_claims_were_cleaned_up(store: Store, tmp_path: Path) -> None:
    export = export_of(tmp_path / "export", seed=1)
    publish(run_of(store), MODEL, 1, export)
    store.delete_all(".run")
    other = run_of(store, "run2")
    assert publish(other, model_of(other), 1, export).version == 2


def test_a_run_publishes_one_model(store: Store, tmp_path: Path) -> None:
    run = run_of(store)
    export = export_of(tmp_path / "export", seed=1)
    publish(run, MODEL, 1, export)
    with pytest.raises(GaveUp, match="--new-version") as raised:
        publish(run, identity("run1", "plan", "another checkpoint", "weights"), 1, export)
    assert raised.value.reason == "ConflictingVersion"
    assert raised.value.exit_code == 69


def test_a_version_that_is_somebody_elses_is_left_alone(store: Store, tmp_path: Path) -> None:
    run = run_of(store)
    store.put("team/flowers/model/1/manifest.json", b'{"version": 1, "identity": "foreign", "files": {}}')
    store.put(run.key("claim.json"), json.dumps({"version": 1, "identity": MODEL}).encode())
    with pytest.raises(GaveUp, match="another model") as raised:
        publish(run, MODEL, 1, export_of(tmp_path / "export", seed=1))
    assert raised.value.reason == "ConflictingVersion"
    assert [e.key for e in store.list("team")] == ["team/flowers/model/1/manifest.json"]


def test_a_fenced_generation_publishes_nothing(store: Store, tmp_path: Path) -> None:
    run = run_of(store)
    run.claim_generation(2, {})
    with pytest.raises(TryAgain, match="generation 1 is over"):
        publish(run, MODEL, 1, export_of(tmp_path / "export", seed=1))
    assert list(store.list("team")) == []


def test_without_an_export_there_is_nothing_to_finish(store: Store) -> None:
    run = run_of(store)
    assert not elected(run)
    with pytest.raises(TryAgain, match="nothing has been exported yet"):
        publish(run, MODEL, 1, None)


def test_ten_publishers_of_one_model_agree(store: Store, tmp_path: Path) -> None:
    exports = [export_of(tmp_path / str(number), seed=number) for number in range(10)]
    barrier = threading.Barrier(10)

    def race(number: int) -> Publication:
        run = RunFolder(store, "team", "flowers", "run1")
        barrier.wait()
        return publish(run, MODEL, 1, exports[number])

    run = run_of(store)
    with ThreadPoolExecutor(10) as pool, numeric_folders_are_loadable(store, "team/flowers/model"):
        publications = list(pool.map(race, range(10)))
    assert len({json.dumps(p.manifest, sort_keys=True) for p in publications}) == 1
    assert store.folders("team/flowers/model") == ["1"]
    assert_whole(run, 1)


def test_eight_runs_at_once_get_eight_versions(store: Store, tmp_path: Path) -> None:
    exports = [export_of(tmp_path / str(number), seed=number) for number in range(8)]
    runs = [run_of(store, f"run-{secrets.token_hex(4)}") for _ in range(8)]
    barrier = threading.Barrier(8)

    def race(number: int) -> int:
        barrier.wait()
        return publish(runs[number], model_of(runs[number]), 1, exports[number]).version

    with ThreadPoolExecutor(8) as pool, numeric_folders_are_loadable(store, "team/flowers/model"):
        versions = list(pool.map(race, range(8)))
    assert sorted(versions) == list(range(1, 9))
    assert latest(store)["version"] == 8
    for version, number in zip(versions, range(8), strict=True):
        assert_whole(runs[0], version)
        manifest = read_version(runs[0], version)
        assert manifest is not None
        assert manifest["identity"] == model_of(runs[number])
        pb = (exports[number].folder / "saved_model.pb").read_bytes()
        assert manifest["files"]["saved_model.pb"]["sha256"] == hashlib.sha256(pb).hexdigest()
