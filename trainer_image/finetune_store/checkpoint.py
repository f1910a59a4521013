"""Checkpoints of a training process: on local disk at once, copied to the run folder in the background."""

import contextlib
import hashlib
import json
import secrets
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_api.errors import TryAgain
from finetune_store.checkpoint_index import (
    MANIFEST,
    CheckpointDamagedError,
    CheckpointIndex,
    CheckpointInfo,
    sha256_of,
)
from finetune_store.local_files import flush, writing
from finetune_store.run_folder import RunFolder, to_json
from finetune_store.uploader import Uploader

Arrays = dict[str, NDArray[Any]]

ARRAYS = "arrays.npz"
STATE = "state.json"


class CheckpointStore:
    """Checkpoints of one run, seen from one training process.

    `local` is a folder on this machine that outlives the process, for later generations to find. The newest
    `keep` and the pinned one are kept, here and in the run folder. `on_stored` is called, on another thread,
    with each checkpoint that has arrived in the run folder and the seconds that took.
    """

    def __init__(
        self,
        run: RunFolder,
        local: Path,
        keep: int,
        on_stored: Callable[[CheckpointInfo, float], None] = lambda _info, _seconds: None,
    ) -> None:
        self._index = CheckpointIndex(run, local)
        self._local = local
        self._keep = keep
        self._pinned: str | None = None
        self._infos: dict[str, CheckpointInfo] = {}
        self._generations: dict[str, int] = {}
        self._on_stored = on_stored
        self._uploader = Uploader(self._upload)
        for left_by_the_killed in local.glob(".unfinished-*"):
            shutil.rmtree(left_by_the_killed, ignore_errors=True)

    def save(
        self, id: str, arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any], generation: int
    ) -> CheckpointInfo:
        """Write a checkpoint to local disk, durable when this returns, and have it copied to the run folder.

        `arrays` by name, of any shapes and plain dtypes; `state` is JSON. While an earlier one is still being
        copied, the newest waits, and takes the place of another that waits.

        Raises what made an earlier copy fail for good: Denied, TryAgain (Fenced) …; BadConfiguration when the
        disk is full, with the earlier checkpoints untouched.
        """
        self._uploader.raise_failure()
        with writing(str(self._local / id)):
            info = write(self._local / id, arrays, state)
        self._infos[id] = info
        self._generations[id] = generation
        self._uploader.submit(id)
        self._index.prune_local(self._keep, self._wanted())
        return info

    def pin(self, id: str) -> None:
        """Keep this checkpoint (the best so far) until another is pinned."""
        self._pinned = id
        self._uploader.protect(id)

    def wait(self, timeout: float = 600.0, tick: Callable[[], None] = lambda: None) -> None:
        """Until everything saved is in the run folder; `tick` is called about once a second.

        Raises what stands in the way: at once when it is for good, after `timeout` seconds when the storage
        is away.
        """
        self._uploader.wait(timeout, tick)

    @property
    def problem(self) -> str | None:
        """Why copying does not get on at the moment, or None."""
        return self._uploader.problem

    def newest(self) -> CheckpointInfo | None:
        """The furthest whole checkpoint of the run; damaged ones are passed over for the one before."""
        return self._index.newest()

    def load(self, id: str) -> tuple[Arrays, dict[str, Any]]:
        """Arrays and state of a checkpoint, from this machine or the run folder, checksums compared.

        Raises CheckpointDamagedError (a TryAgain), after marking it in the run folder for `newest`.
        """
        self._index.fetch(id)
        loaded = read(self._index.path(id))
        self._index.prune_local(self._keep, {id, *self._wanted()})
        return loaded

    def clear(self) -> None:
        """Delete every checkpoint of the run; for after the commit."""
        self._index.clear()

    def _wanted(self) -> set[str]:
        return {*self._uploader.waiting, *([self._pinned] if self._pinned else [])}

    def _upload(self, id: str, seconds: Callable[[], float]) -> None:
        self._index.upload(id, self._generations[id])
        self._on_stored(self._infos[id], seconds())
        # What cannot be deleted now is deleted after the next one.
        with contextlib.suppress(TryAgain):
            self._index.prune(self._keep, self._wanted())


def write(folder: Path, arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> CheckpointInfo:
    """Write a checkpoint folder that appears whole or not at all; its name is the checkpoint's id."""
    unfinished = folder.with_name(f".unfinished-{secrets.token_hex(8)}")
    unfinished.mkdir(parents=True)
    try:
        _write_arrays(unfinished / ARRAYS, arrays)
        (unfinished / STATE).write_bytes(to_json(state))
        files = {
            n: {"sha256": sha256_of(unfinished / n), "size": (unfinished / n).stat().st_size}
            for n in (ARRAYS, STATE)
        }
        manifest = to_json({"formatVersion": 1, "id": folder.name, "files": files})
        (unfinished / MANIFEST).write_bytes(manifest)
        for path in (*unfinished.iterdir(), unfinished):
            flush(path)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
        flush(folder.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    size = len(manifest) + sum((folder / name).stat().st_size for name in files)
    return CheckpointInfo(folder.name, hashlib.sha256(manifest).hexdigest(), size)


def read(folder: Path) -> tuple[Arrays, dict[str, Any]]:
    """Arrays and state of a checkpoint folder. Never unpickles. Raises CheckpointDamagedError."""
    try:
        with zipfile.ZipFile(folder / ARRAYS) as archive:
            arrays = {name.removesuffix(".npy"): _read_array(archive, name) for name in archive.namelist()}
        return arrays, json.loads((folder / STATE).read_bytes())
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise CheckpointDamagedError(folder.name, str(error)) from error


def _write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    # numpy.savez takes names for keyword arguments, and stamps the time; here equal arrays are equal bytes.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    with archive.open(name) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array
