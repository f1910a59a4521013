"""Old versions go once there are enough newer ones, without a reader ever seeing a part of one.

    1. note      in the job's .run folder: what is cut off here is finished after the next publish
    2. retract   manifest.json: from here on there is no such version
    3. close     saved_model.pb: nor for readers that know no manifest
    4. clear     everything else in its folder, then the note

Four kinds of versions stay in any case: one without a manifest, for somebody may be at it; the one that latest.json
names; one of a run that has not finished, for it would publish it again; and one that is not ours.
"""

from collections.abc import Callable, Iterator
from typing import Any

from finetune_store.publish import GRAPH, LATEST, MANIFEST, read_version, version_key
from finetune_store.run_folder import RunFolder, from_json, to_json

Tick = Callable[[], None]


def remove_old_versions(run: RunFolder, keep: int, published: int, tick: Tick = lambda: None) -> list[int]:
    """Remove all but the newest `keep` versions and the one `published` just now; those that went.

    Call it when `run` has finished. Safe to repeat, and for several runs at once. Raises what storage raises.
    """
    removed = []
    for version in _begun(run):
        _clear(run, version)
        tick()
    committed = dict(_committed(run))
    for version in sorted(committed, reverse=True)[keep:]:
        if version != published and _is_over(run, committed[version]) and version != _latest(run):
            _remove(run, version, committed[version])
            removed.append(version)
        tick()
    return removed


def _begun(run: RunFolder) -> Iterator[int]:
    """Versions that somebody has retracted, and not cleared."""
    for entry in list(run.store.list(run.removals)):
        number = entry.key.rpartition("/")[2].removesuffix(".json")
        # Not retracted yet: whether it is to go is asked anew.
        if number.isdigit() and read_version(run, int(number)) is None:
            yield int(number)


def _committed(run: RunFolder) -> Iterator[tuple[int, dict[str, Any]]]:
    for name in run.store.folders(f"{run.results}/model"):
        manifest = read_version(run, int(name)) if name.isdigit() else None
        if manifest is not None and manifest.get("version") == int(name) and "runId" in manifest:
            yield int(name), manifest


def _is_over(run: RunFolder, manifest: dict[str, Any]) -> bool:
    """Whether nothing remains to be done by the run that made this version."""
    maker = run.other(str(manifest["runId"]))
    # Without a claim its folder was cleaned up, as a lifecycle rule does.
    return maker.published() is not None or maker.read("claim.json") is None


def _latest(run: RunFolder) -> int | None:
    key = f"{run.results}/{LATEST}"
    found = run.store.find(key)
    return None if found is None else from_json(found, run.store.uri(key)).get("version")


def _remove(run: RunFolder, version: int, manifest: dict[str, Any]) -> None:
    note = to_json({"version": version, "identity": manifest.get("identity")})
    run.store.put(_note(run, version), note)
    run.store.delete(version_key(run, version, MANIFEST))
    _clear(run, version)


def _clear(run: RunFolder, version: int) -> None:
    run.store.delete(version_key(run, version, GRAPH))
    run.store.delete_all(version_key(run, version))
    run.store.delete(_note(run, version))


def _note(run: RunFolder, version: int) -> str:
    return f"{run.removals}/{version:06d}.json"
