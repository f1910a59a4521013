"""Local folders as storage: whole files by rename, creation by link, compare-and-swap under a lock."""

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from finetune_api.errors import MissingInput
from finetune_store.local_files import flush, reading, writing
from finetune_store.storage import Entry, Store

_UNFINISHED = ".unfinished-"
_LOCK = ".lock"
_COPY_BYTES = 2**20
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)


class LocalStore(Store):
    """A folder on a file system, shared between processes or not."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self._folder = root

    def require_root(self) -> None:
        """Raise MissingInput when the folder does not exist."""
        if not self._folder.is_dir():
            raise MissingInput(
                "FolderNotFound",
                f"{self._folder} is not a folder",
                "an existing folder",
                "correct the path in the job",
            )

    def get(self, key: str) -> bytes:
        """The whole file."""
        with reading(self.uri(key)):
            return self._path(key).read_bytes()

    def find(self, key: str) -> bytes | None:
        """The whole file."""
        with reading(self.uri(key)):
            try:
                return self._path(key).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Part of the file."""
        with reading(self.uri(key)), self._path(key).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def get_versioned(self, key: str) -> tuple[bytes, str] | None:
        """Content and its sha256."""
        data = self.find(key)
        return None if data is None else (data, hashlib.sha256(data).hexdigest())

    def put(self, key: str, data: bytes) -> None:
        """Write a new file and rename it over the old one."""
        self._write(key, lambda unfinished: unfinished.write_bytes(data))

    def create(self, key: str, data: bytes) -> bool:
        """Write a new file and link it to the name, which fails when the name is taken."""
        try:
            self._write(key, lambda unfinished: unfinished.write_bytes(data), _link)
        except FileExistsError:
            return self.find(key) == data
        return True

    def compare_and_swap(self, key: str, data: bytes, version: str | None) -> bool:
        """Compare and replace under the folder's lock."""
        if version is None:
            return self.create(key, data)
        with writing(self.uri(key)), _locked(self._path(key).parent):
            found = self.get_versioned(key)
            if found is None or found[1] != version:
                return found is not None and found[0] == data
            self.put(key, data)
            return True

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Walk the folder, following links to files and folders."""
        with reading(self.uri(prefix)):
            for folder, _, names in self._walk(self._path(prefix)):
                for name in names:
                    if not _is_own(name) and (entry := self._entry(Path(folder) / name)) is not None:
                        yield entry

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Names of sub-folders; those with nothing in them do not count, as in object storage."""
        path = self._path(prefix)
        with reading(self.uri(prefix)):
            children = [child.name for child in path.iterdir() if child.is_dir()] if path.is_dir() else []
            return sorted(name for name in children if next(iter((path / name).iterdir()), None) is not None)

    def head(self, key: str) -> Entry | None:
        """Size, and modification time as etag."""
        with reading(self.uri(key)):
            return self._entry(self._path(key))

    def delete(self, key: str) -> None:
        """Remove the file, and the folders that are empty then."""
        path = self._path(key)
        with writing(self.uri(key)):
            path.unlink(missing_ok=True)
        self._tidy(path)

    def delete_all(self, prefix: str) -> None:
        """Remove the folder, with what killed writers have left in it."""
        path = self._path(prefix)
        shutil.rmtree(path, ignore_errors=True)
        super().delete_all(prefix)  # raises for what is still there, but for what another process has deleted
        self._tidy(path)

    def upload(self, path: Path, key: str) -> None:
        """Copy a file in."""
        with reading(str(path)), path.open("rb") as source:
            self._write(key, lambda unfinished: _copy_content(source, unfinished))

    def download(self, key: str, path: Path) -> None:
        """Copy a file out; missing folders on the way are made."""
        with reading(self.uri(key)):
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_name(f"{_UNFINISHED}{secrets.token_hex(8)}")
            try:
                with self._path(key).open("rb") as source:
                    _copy_content(source, unfinished)
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)

    def copy(self, source: str, target: str) -> None:
        """Copy a file."""
        self.upload(self._path(source), target)

    def _path(self, key: str) -> Path:
        return self._folder / key

    def _tidy(self, deleted: Path) -> None:
        """Remove the folders that are empty now, as object storage would not show them either."""
        for parent in deleted.parents:
            if parent == self._folder or not _removed(parent):
                break

    def _entry(self, path: Path) -> Entry | None:
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None  # deleted since it was listed, or a link that leads nowhere
        etag = f"{status.st_mtime_ns:x}-{status.st_size:x}"
        return (
            Entry(path.relative_to(self._folder).as_posix(), status.st_size, etag) if path.is_file() else None
        )

    def _walk(self, top: Path) -> Iterator[tuple[str, Sequence[str], Sequence[str]]]:
        seen: set[str] = set()
        for folder, children, names in os.walk(top, followlinks=True):
            # A link to a folder above would lead round in circles.
            seen.add(os.path.realpath(folder))
            children[:] = [c for c in children if os.path.realpath(f"{folder}/{c}") not in seen]
            yield folder, children, names

    def _write(
        self, key: str, fill: Callable[[Path], object], place: Callable[[Path, Path], object] = os.replace
    ) -> None:
        """Fill a new file beside the target, make it durable, then `place` it under the target's name."""
        target = self._path(key)

        def attempt() -> None:
            unfinished = target.with_name(f"{_UNFINISHED}{secrets.token_hex(8)}")
            try:
                fill(unfinished)
                flush(unfinished)
                place(unfinished, target)
                flush(target.parent)
            finally:
                _forget(unfinished)

        with writing(self.uri(key)):
            _make_folder_and(target.parent, attempt)


def _is_own(name: str) -> bool:
    return name == _LOCK or name.startswith(_UNFINISHED)


def _make_folder_and(folder: Path, write: Callable[[], object]) -> None:
    """Write into a folder that another process may be removing meanwhile."""
    for _ in range(10):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from error
        try:
            write()
            return
        except FileNotFoundError:
            continue
    write()


def _link(source: Path, target: Path) -> None:
    """Give `source` the name `target`, or raise FileExistsError; also where hard links are not to be had."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with _locked(target.parent):
            if target.exists():
                raise FileExistsError(target) from None
            source.replace(target)


def _copy_content(source: BinaryIO, target: Path) -> None:
    source.seek(0)
    with target.open("wb") as file:
        shutil.copyfileobj(source, file, _COPY_BYTES)


def _forget(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # the first error is the one to tell


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; a killed holder frees it. A lock file, since NFS cannot lock folders."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
