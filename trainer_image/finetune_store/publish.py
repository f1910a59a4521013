"""From an export on local disk to a version that readers may trust, whatever is cut off on the way.

    1. claim     a version number, and which trained weights it is for (their identity)
    2. stage     the exported files go to the run folder, under a name of this attempt's own
    3. elect     one attempt's files become *the* export, create-if-absent: two exports of the same model
                 differ in bytes, and from here on every attempt publishes the same ones
    4. copy      to model/<version>/, inside the storage; saved_model.pb last, since readers without our
                 manifest (TensorFlow Serving) take its presence for a whole model
    5. commit    manifest.json, create-if-absent: before it there is no version, after it the version is whole
    6. announce  the documents beside the model, then latest.json by compare-and-swap, never backwards
    7. finish    staged files deleted, published.json in the run folder: nothing remains to be done

Every step may be repeated, and done by two processes at once; an attempt begins with the first not done yet.
What happens to versions that are old by then: see `retention`.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune_api.errors import GaveUp, MissingInput, TryAgain
from finetune_store.checkpoint_index import sha256_of
from finetune_store.run_folder import Document, RunFolder, from_json, to_json
from finetune_store.versions import claim_version

MANIFEST = "manifest.json"
LATEST = "latest.json"
GRAPH = "saved_model.pb"
"""What readers without our manifest take for the sign of a whole version."""
_ELECTED = "export.json"

Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Export:
    """What one attempt has to publish."""

    folder: Path
    """The SavedModel, verified."""
    facts: Mapping[str, Any]
    """For the manifest, plain JSON: metrics, bestStage, bestEpoch, plan digest …."""
    documents: Mapping[str, bytes] = field(default_factory=dict)
    """Files beside the model by name: README.md, metrics.csv, history.json."""


@dataclass(frozen=True)
class Publication:
    """A committed version."""

    version: int
    uri: str
    """Of the folder with saved_model.pb."""
    manifest: Document


def identity(run_id: str, plan: str, checkpoint: str, weights_sha256: str) -> str:
    """Which model this is: the same for every attempt of a run to publish the same trained weights."""
    parts = "\0".join((run_id, plan, checkpoint, weights_sha256))
    return hashlib.sha256(parts.encode()).hexdigest()


def elected(run: RunFolder) -> bool:
    """Whether an export has been chosen: `publish` can go on without another one."""
    return run.store.exists(run.key(_ELECTED))


def publish(
    run: RunFolder,
    identity: str,
    generation: int,
    export: Export | None,
    tick: Tick = lambda _done, _total: None,
) -> Publication:
    """Publish the model `identity`, or finish what an earlier attempt at it began.

    `export` may be None when `elected(run)`. `tick(done, total)` counts files. Raises GaveUp
    (ConflictingVersion) when the version is another model's, TryAgain (Fenced) when `generation` is over, and
    what storage raises.
    """
    version = claim_version(run, identity)
    if (finished := _finished(run)) is not None:
        return finished
    run.require_current(generation)
    try:
        elected = _elect(run, identity, version, export, tick)
        run.require_current(generation)
        _copy(run, elected["manifest"], tick)
        publication = _commit(run, elected["manifest"])
        _announce(run, publication, elected["documents"])
    except MissingInput:
        # Staged files are deleted once everything has been announced: another attempt has come that far.
        if (manifest := read_version(run, version)) is None:
            raise
        publication = _publication(run, manifest)
    _finish(run, publication)
    return publication


def read_version(run: RunFolder, version: int) -> Document | None:
    """The manifest of a version, or None when there is no such version, whatever files are lying there."""
    key = version_key(run, version, MANIFEST)
    found = run.store.find(key)
    return None if found is None else from_json(found, run.store.uri(key))


def whole(run: RunFolder, manifest: Document) -> bool:
    """Whether every file of a manifest is there with the size that it says."""
    folder = version_key(run, manifest["version"])
    sizes = {entry.key.removeprefix(f"{folder}/"): entry.size for entry in run.store.list(folder)}
    return all(sizes.get(name) == facts["size"] for name, facts in manifest["files"].items())


def _elect(run: RunFolder, identity: str, version: int, export: Export | None, tick: Tick) -> Document:
    """What to publish, `{manifest, documents}`: the elected export, else this attempt's, staged first."""
    if (elected := run.read(_ELECTED)) is None:
        if export is None:
            raise TryAgain("ExportMissing", "nothing has been exported yet")
        manifest = {
            **export.facts,
            "formatVersion": 1,
            "version": version,
            "identity": identity,
            "runId": run.run_id,
            **_stage(run, export, tick),
        }
        mine = to_json({"manifest": manifest, "documents": sorted(export.documents)})
        key = run.key(_ELECTED)
        elected = from_json(run.store.create_or_read(key, mine), run.store.uri(key))
    _require_identity(run, elected["manifest"], identity)
    return elected


def _stage(run: RunFolder, export: Export, tick: Tick) -> Document:
    attempt = secrets.token_hex(8)
    paths = sorted(path for path in export.folder.rglob("*") if path.is_file())
    files: dict[str, Any] = {}
    for done, path in enumerate(paths, start=1):
        name = path.relative_to(export.folder).as_posix()
        files[name] = {"size": path.stat().st_size, "sha256": sha256_of(path)}
        run.store.upload(path, _staged(run, attempt, f"model/{name}"))
        tick(done, 2 * len(paths))
    for name, content in export.documents.items():
        run.store.put(_staged(run, attempt, name), content)
    return {"attempt": attempt, "files": files}


def _copy(run: RunFolder, manifest: Document, tick: Tick) -> None:
    version, names = manifest["version"], _in_order(manifest["files"])
    if read_version(run, version) is not None:
        return  # committed; if as another identity, `_commit` finds out
    for done, name in enumerate(names, start=1):
        run.store.copy(_staged(run, manifest["attempt"], f"model/{name}"), version_key(run, version, name))
        tick(len(names) + done, 2 * len(names))
    if not whole(run, manifest):
        raise TryAgain(
            "CopyIncomplete", f"{run.store.uri(version_key(run, version))} is not what was copied there"
        )


def _commit(run: RunFolder, manifest: Document) -> Publication:
    key = version_key(run, manifest["version"], MANIFEST)
    committed = from_json(run.store.create_or_read(key, to_json(manifest)), run.store.uri(key))
    _require_identity(run, committed, manifest["identity"])
    return _publication(run, committed)


def _announce(run: RunFolder, publication: Publication, documents: Sequence[str]) -> None:
    """Write the documents and latest.json, unless a later version has been announced."""
    key = f"{run.results}/{LATEST}"
    version, manifest = publication.version, publication.manifest
    pointer = to_json({"version": version, "uri": publication.uri, "identity": manifest["identity"]})
    for _ in range(100):
        found = run.store.get_versioned(key)
        current = 0 if found is None else from_json(found[0], run.store.uri(key)).get("version", 0)
        if current > version:
            return
        for name in documents:
            run.store.copy(_staged(run, manifest["attempt"], name), f"{run.results}/{name}")
        if current == version or run.store.compare_and_swap(key, pointer, found[1] if found else None):
            return
    raise TryAgain("LatestContended", f"{run.store.uri(key)} is being changed all the time")


def _finish(run: RunFolder, publication: Publication) -> None:
    run.store.delete_all(run.key("exports"))
    document = {**publication.manifest, "modelUri": publication.uri}
    run.store.put(run.key("published.json"), to_json(document))


def _finished(run: RunFolder) -> Publication | None:
    if (document := run.published()) is None:
        return None
    return _publication(run, {name: value for name, value in document.items() if name != "modelUri"})


def _publication(run: RunFolder, manifest: Document) -> Publication:
    return Publication(manifest["version"], run.store.uri(version_key(run, manifest["version"])), manifest)


def _require_identity(run: RunFolder, manifest: Document, identity: str) -> None:
    if manifest.get("identity") != identity:
        raise GaveUp(
            "ConflictingVersion",
            f"{run.store.uri(version_key(run, manifest.get('version', 0)))} is another model than this run's",
            "a version of its own for each run",
            "run again with --new-version, or under another name",
        )


def _in_order(files: Mapping[str, Any]) -> Sequence[str]:
    """Variables and assets before the graph that needs them."""
    return sorted(files, key=lambda name: (name == GRAPH, name))


def version_key(run: RunFolder, version: int, name: str = "") -> str:
    """Key of a version's folder, or of a file in it."""
    folder = f"{run.results}/model/{version}"
    return f"{folder}/{name}" if name else folder


def _staged(run: RunFolder, attempt: str, name: str) -> str:
    return run.key(f"exports/{attempt}/{name}")
