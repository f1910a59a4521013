"""S3, Google Cloud Storage and Azure blobs, through obstore.

obstore starts threads at its first request, and they do not live through a fork: a process that forks
must not have used an `ObjectStore` before.
"""

import json
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import obstore
from obstore import exceptions
from obstore.store import ObjectStore as Client

from finetune_api.errors import Denied, TryAgain
from finetune_store import storage_errors
from finetune_store.clients import connect
from finetune_store.credentials import Credentials
from finetune_store.local_files import writing
from finetune_store.storage import Entry, StorageOptions, Store, split_uri

if TYPE_CHECKING:
    from obstore import PutMode

T = TypeVar("T")

PART_BYTES = 8 * 2**20
PARALLEL_PARTS = 4
_CONFLICT = (exceptions.AlreadyExistsError, exceptions.PreconditionError)


class ObjectStore(Store):
    """A prefix in a bucket."""

    def __init__(self, uri: str, options: StorageOptions, credentials: Path | None) -> None:
        super().__init__(uri)
        self._scheme, self._place = split_uri(uri)
        self._options = options
        self._credentials = Credentials(credentials)
        self._client: Client | None = None

    def require_root(self) -> None:
        """Object storage has no folders: nothing to check before something is read."""

    def get(self, key: str) -> bytes:
        """GET."""
        return self._do(key, lambda client: bytes(obstore.get(client, key).bytes()))

    def find(self, key: str) -> bytes | None:
        """GET."""
        return self._do(key, lambda client: _unless_absent(lambda: bytes(obstore.get(client, key).bytes())))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """GET with a Range."""

        def read(client: Client) -> bytes:
            try:
                return bytes(obstore.get_range(client, key, start=start, length=length))
            except exceptions.GenericError as error:
                if storage_errors.is_beyond_end(error):
                    return b""
                raise

        return self._do(key, read)

    def get_versioned(self, key: str) -> tuple[bytes, str] | None:
        """GET, with the etag (and generation, where the storage has one) as version."""

        def read(client: Client) -> tuple[bytes, str]:
            while True:
                # Some servers answer a GET during a PUT with the new etag and the old content, and then
                # `compare_and_swap` would undo that PUT. Content read after its etag is at least as new.
                seen = obstore.head(client, key)["e_tag"]
                result = obstore.get(client, key)
                data, meta = bytes(result.bytes()), result.meta
                if meta["e_tag"] == seen:
                    version = {name: meta[name] for name in ("e_tag", "version") if meta[name] is not None}
                    return data, json.dumps(version)

        return self._do(key, lambda client: _unless_absent(lambda: read(client)))

    def put(self, key: str, data: bytes) -> None:
        """PUT; in parts when large."""
        self._do(key, lambda client: _put(client, key, data))

    def create(self, key: str, data: bytes) -> bool:
        """PUT with If-None-Match: *."""
        return self._put_if(key, data, "create")

    def compare_and_swap(self, key: str, data: bytes, version: str | None) -> bool:
        """PUT with If-Match."""
        if version is None:
            return self.create(key, data)
        return self._put_if(key, data, json.loads(version))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """LIST, to its end before the first entry is handed out."""

        def read(client: Client) -> Sequence[Entry]:
            pages = obstore.list(client, prefix or None, chunk_size=1000)
            return [Entry(found["path"], found["size"], found["e_tag"]) for page in pages for found in page]

        yield from self._do(prefix, read)

    def folders(self, prefix: str = "") -> Sequence[str]:
        """LIST with a delimiter."""
        found = self._do(prefix, lambda client: obstore.list_with_delimiter(client, prefix or None))
        return sorted(path.rstrip("/").rpartition("/")[2] for path in found["common_prefixes"])

    def head(self, key: str) -> Entry | None:
        """HEAD."""
        found = self._do(key, lambda client: _unless_absent(lambda: obstore.head(client, key)))
        return None if found is None else Entry(key, found["size"], found["e_tag"])

    def delete(self, key: str) -> None:
        """DELETE."""
        self._do(key, lambda client: _unless_absent(lambda: obstore.delete(client, key)))

    def upload(self, path: Path, key: str) -> None:
        """PUT from a file; in parts when large, each with its checksum."""
        self._do(key, lambda client: _put(client, key, path))

    def download(self, key: str, path: Path) -> None:
        """GET into a file beside the target, renamed once it is whole."""
        unfinished = path.with_name(f".unfinished-{secrets.token_hex(8)}")

        def read(client: Client, file: BinaryIO) -> None:
            file.seek(0)
            file.truncate()
            for chunk in obstore.get(client, key).stream(min_chunk_size=PART_BYTES):
                file.write(chunk)

        with writing(str(path)):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with unfinished.open("wb") as file:
                    self._do(key, lambda client: read(client, file))
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)

    def copy(self, source: str, target: str) -> None:
        """COPY on the server."""
        self._do(source, lambda client: obstore.copy(client, source, target))

    def _put_if(self, key: str, data: bytes, mode: "PutMode") -> bool:
        def write(client: Client) -> bool:
            try:
                obstore.put(client, key, data, mode=mode)
            except _CONFLICT:
                return False
            return True

        if self._do(key, write):
            return True
        # The conflict may be with ourselves: a write that arrived and whose answer was lost.
        return self.find(key) == data

    def _do(self, key: str, operation: Callable[[Client], T]) -> T:
        """Run `operation`, again while the storage is away and patience lasts; translate its errors."""
        deadline = time.monotonic() + self._options.patience
        pause = 0.1
        while True:
            try:
                return operation(self._connected())
            except (exceptions.BaseError, FileNotFoundError, ValueError) as error:
                problem = storage_errors.translate(error, self.uri(key), self.uri())
            if isinstance(problem, Denied) and self._credentials.changed(at_once=True):
                self._client = None  # they were rotated a moment ago; again with the new ones
            elif not isinstance(problem, TryAgain):
                raise problem
            if time.monotonic() + pause > deadline:
                raise problem
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, 5.0)

    def _connected(self) -> Client:
        if self._client is None or self._credentials.changed():
            self._client = connect(self._scheme, self._place, self._options, self._credentials.read())
        return self._client


def _unless_absent(operation: Callable[[], T]) -> T | None:
    try:
        return operation()
    except FileNotFoundError as error:
        if storage_errors.is_absent(error):
            return None
        raise


def _put(client: Client, key: str, content: bytes | Path) -> None:
    obstore.put(client, key, content, chunk_size=PART_BYTES, max_concurrency=PARALLEL_PARTS)
