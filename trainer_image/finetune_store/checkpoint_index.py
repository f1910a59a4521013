"""Which checkpoints a run has, and which of them are whole. No numpy: the supervisor imports it.

A checkpoint is a folder, on local disk and in the run folder, with `arrays.npz`, `state.json` and, written
last, `manifest.json` with size and sha256 of the other two. No manifest, no checkpoint. Ids sort by progress.
"""

import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from finetune_api.errors import TryAgain
from finetune_store.run_folder import RunFolder, to_json

MANIFEST = "manifest.json"
_DAMAGED = "damaged"
_ID = re.compile(r"(\d{10})-s(\d{2,})-e(\d{4,})-g(\d{4,})")


@dataclass(frozen=True)
class CheckpointInfo:
    """A whole checkpoint."""

    id: str
    sha256: str
    """Of the manifest, which has the sha256 of everything else."""
    bytes: int


class CheckpointDamagedError(TryAgain):
    """The checkpoint is not what was written; there may be one before it."""

    def __init__(self, checkpoint: str, why: str) -> None:
        super().__init__("CheckpointDamaged", f"checkpoint {checkpoint} is damaged: {why}")


def checkpoint_id(global_step: int, stage: int, epoch: int, generation: int) -> str:
    """An id that sorts by progress, unique to the generation that writes it."""
    return f"{global_step:010d}-s{stage:02d}-e{epoch:04d}-g{generation:04d}"


def global_step_of(checkpoint: str) -> int:
    """Steps done when the checkpoint was taken."""
    return int(checkpoint.partition("-")[0])


class CheckpointIndex:
    """Checkpoints of a run: those in its folder, and copies on this machine in `local`."""

    def __init__(self, run: RunFolder, local: Path) -> None:
        self._run = run
        self._store = run.store
        self._local = local

    def stored(self) -> Sequence[str]:
        """Ids in the run folder that have a manifest and are not known to be damaged, oldest first."""
        names = self._names()
        return sorted(id for id, files in names.items() if MANIFEST in files and _DAMAGED not in files)

    def held(self) -> Sequence[str]:
        """Ids with a manifest on this machine, oldest first."""
        return sorted(
            path.parent.name
            for path in self._local.glob(f"*-g*/{MANIFEST}")
            if _ID.fullmatch(path.parent.name)
        )

    def newest(self) -> CheckpointInfo | None:
        """The furthest whole checkpoint, checked byte by byte; here and in the run folder when this returns.

        Damaged ones are passed over for the one before. None: start from the initial weights.
        """
        stored = self.stored()
        for id in sorted({*stored, *self.held()}, reverse=True):
            try:
                info = self.fetch(id)
            except CheckpointDamagedError:
                continue
            if id not in stored:
                self.upload(id)
            return info
        return None

    def path(self, id: str) -> Path:
        """Folder of the checkpoint on this machine."""
        return self._local / id

    def fetch(self, id: str) -> CheckpointInfo:
        """Make sure that a whole copy is on this machine. Raises CheckpointDamagedError when none can be had.

        One that is damaged in the run folder gets a mark there, so that no later generation tries it again.
        """
        try:
            return check(self.path(id))
        except CheckpointDamagedError:
            shutil.rmtree(self.path(id), ignore_errors=True)
        return self._download(id)

    def upload(self, id: str, generation: int | None = None) -> None:
        """Copy this machine's checkpoint to the run folder, the manifest last.

        Raises TryAgain (Fenced) instead of completing it when `generation` is given and over.
        """
        for path in sorted(self.path(id).iterdir()):
            if path.name != MANIFEST:
                self._store.upload(path, self._key(id, path.name))
        if generation is not None:
            self._run.require_current(generation)
        self._store.put(self._key(id, MANIFEST), (self.path(id) / MANIFEST).read_bytes())

    def prune(self, keep: int, spare: Collection[str]) -> None:
        """Leave the newest `keep` whole checkpoints and those in `spare` in the run folder."""
        stored = self.stored()
        kept = {*stored[-keep:], *spare}
        oldest = stored[-keep:][0] if stored else ""
        for id in self._names():
            # Beyond the oldest one kept there may be some that are being uploaded.
            if id not in kept and id < oldest:
                self._delete(id)

    def prune_local(self, keep: int, spare: Collection[str]) -> None:
        """Leave the newest `keep` checkpoints and those in `spare` on this machine."""
        held = self.held()
        for id in set(held[:-keep]) - set(spare):
            shutil.rmtree(self.path(id), ignore_errors=True)

    def clear(self) -> None:
        """Delete all checkpoints, here and in the run folder."""
        for id in self._names():
            self._delete(id)
        shutil.rmtree(self._local, ignore_errors=True)

    def _download(self, id: str) -> CheckpointInfo:
        unfinished = self._local / f".unfinished-{secrets.token_hex(8)}"
        try:
            manifest = self._store.find(self._key(id, MANIFEST))
            if manifest is None:
                raise CheckpointDamagedError(id, "it has no manifest")
            for name in _files(id, manifest):
                self._download_file(id, name, unfinished / name)
            unfinished.mkdir(parents=True, exist_ok=True)
            (unfinished / MANIFEST).write_bytes(manifest)
            info = check(unfinished, id)
            unfinished.rename(self.path(id))
        except CheckpointDamagedError as error:
            self._store.put(self._key(id, _DAMAGED), to_json({"why": error.happened}))
            raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return info

    def _download_file(self, id: str, name: str, path: Path) -> None:
        if not self._store.exists(self._key(id, name)):
            raise CheckpointDamagedError(id, f"{name} is missing")
        self._store.download(self._key(id, name), path)

    def _delete(self, id: str) -> None:
        # The manifest first: what is half deleted must not look whole.
        self._store.delete(self._key(id, MANIFEST))
        self._store.delete_all(self._key(id))

    def _key(self, id: str, name: str = "") -> str:
        return self._run.key(f"checkpoints/{id}/{name}" if name else f"checkpoints/{id}")

    def _names(self) -> dict[str, set[str]]:
        """File names by checkpoint id, in the run folder."""
        names: dict[str, set[str]] = {}
        for entry in self._store.list(self._run.key("checkpoints")):
            *_, id, name = entry.key.split("/")
            if _ID.fullmatch(id):
                names.setdefault(id, set()).add(name)
        return names


def check(folder: Path, id: str | None = None) -> CheckpointInfo:
    """Compare every file of a local checkpoint with its manifest. Raises CheckpointDamagedError."""
    id = id or folder.name
    try:
        manifest = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise CheckpointDamagedError(id, "it has no manifest") from error
    size = len(manifest)
    for name, sha256 in _files(id, manifest).items():
        path = folder / name
        if not path.is_file() or sha256_of(path) != sha256:
            raise CheckpointDamagedError(id, f"{name} is not what was written")
        size += path.stat().st_size
    return CheckpointInfo(id, hashlib.sha256(manifest).hexdigest(), size)


def sha256_of(path: Path) -> str:
    """Checksum of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(id: str, manifest: bytes) -> dict[str, str]:
    """Name to sha256 of each file in a manifest that belongs to `id`."""
    try:
        document = json.loads(manifest)
        files = {str(name): str(facts["sha256"]) for name, facts in document["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointDamagedError(id, "its manifest cannot be read") from error
    if document.get("id") != id or any("/" in name or name.startswith(".") for name in files):
        raise CheckpointDamagedError(id, "its manifest is that of something else")
    return files
