"""One way to read and write, whatever the storage: S3, Google Cloud Storage, Azure blobs or a local folder.

A `Store` is rooted at a URI; keys are relative to it, with `/` between their parts. What a reader sees of a
key is always one whole write of it, never half. Errors are those of `finetune_api.errors`:

    MissingInput      66  no such bucket, no such object
    Denied            77  credentials refused or missing, folder not writable
    BadConfiguration  78  wrong region, clock far off, disk full, credentials folder incomplete
    TryAgain          75  the storage did not answer within `StorageOptions.patience`
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from finetune_api.errors import BadJob, TryAgain

BUCKETS = ("s3", "gs", "az")


@dataclass(frozen=True)
class StorageOptions:
    """How to reach the object storage that a URI names."""

    endpoint: str | None = None
    """URL of an S3-compatible server; None means the one in AWS_ENDPOINT_URL, else the cloud's own."""
    region: str | None = None
    patience: float = 60.0
    """Seconds to go on trying when the storage does not answer."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object in a listing."""

    key: str
    size: int
    """Bytes."""
    etag: str | None
    """Changes when the content does; its meaning is the storage's own."""


class Store(ABC):
    """A folder in some storage. Methods may be called from several threads."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")

    def uri(self, key: str = "") -> str:
        """The full URI (or local path) of `key`, as people write it."""
        return f"{self._root}/{key}" if key else self._root

    @abstractmethod
    def require_root(self) -> None:
        """Raise MissingInput when this store's folder does not exist; object storage has no folders."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """The whole content; MissingInput when there is none."""

    @abstractmethod
    def find(self, key: str) -> bytes | None:
        """The whole content; None when there is none."""

    @abstractmethod
    def get_range(self, key: str, start: int, length: int) -> bytes:
        """At most `length` bytes from `start` on; fewer at the end of the object, none beyond it."""

    @abstractmethod
    def get_versioned(self, key: str) -> tuple[bytes, str] | None:
        """Content and its version for `compare_and_swap`; None when there is no such key."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Write, replacing what is there."""

    @abstractmethod
    def create(self, key: str, data: bytes) -> bool:
        """Write only if the key is free: True when `data` is what is stored there now.

        So of several writers with different data exactly one is told True, and a writer whose first answer
        was lost on the way still learns that it won.
        """

    @abstractmethod
    def compare_and_swap(self, key: str, data: bytes, version: str | None) -> bool:
        """Replace just the version that `get_versioned` returned (None: the key must be free).

        False when it is another by now; True when `data` is what is stored there, as for `create`.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every object in the folder `prefix`, at any depth and in no promised order."""

    @abstractmethod
    def folders(self, prefix: str = "") -> Sequence[str]:
        """Names of the folders directly in the folder `prefix`, sorted."""

    @abstractmethod
    def head(self, key: str) -> Entry | None:
        """Size and etag of one object; None when there is none."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the object; no error when there is none."""

    @abstractmethod
    def upload(self, path: Path, key: str) -> None:
        """Copy a local file into the storage, in parts when it is large."""

    @abstractmethod
    def download(self, key: str, path: Path) -> None:
        """Copy an object to a local file, which appears whole or not at all."""

    @abstractmethod
    def copy(self, source: str, target: str) -> None:
        """Copy an object inside the storage, replacing `target`."""

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        return self.head(key) is not None

    def create_or_read(self, key: str, data: bytes) -> bytes:
        """Write if the key is free; the content that is there afterwards, whoever wrote it."""
        for _ in range(10):
            if self.create(key, data):
                return data
            if (found := self.find(key)) is not None:
                return found
        raise TryAgain(
            "StorageUnstable", f"{self.uri(key)} is created and deleted again and again by somebody else"
        )

    def delete_all(self, prefix: str) -> None:
        """Remove every object in the folder `prefix`."""
        for entry in list(self.list(prefix)):
            self.delete(entry.key)

    def check_writable(self, prefix: str) -> None:
        """Write and remove a small object in the folder `prefix`; raises what any write would raise."""
        key = f"{prefix}/write-test"
        self.put(key, b"write test\n")
        self.delete(key)


def open_store(uri: str, storage: StorageOptions | None = None, credentials: Path | None = None) -> Store:
    """The store rooted at `uri`: s3://bucket/…, gs://…, az://container/…, file://… or a local path. No I/O.

    `credentials` is a folder with one file per value (a mounted secret), read again whenever it changes;
    without it the environment decides (AWS_ACCESS_KEY_ID …). Raises BadJob for a URI that is none of these.
    """
    scheme, place = split_uri(uri)
    if scheme == "file":
        from finetune_store.local_store import LocalStore

        return LocalStore(Path(place))
    # Imported only where needed: a run on local folders never loads the object storage client.
    from finetune_store.object_store import ObjectStore

    return ObjectStore(uri, storage or StorageOptions(), credentials)


def split_uri(uri: str) -> tuple[str, str]:
    """Scheme and the rest: ("s3", "bucket/prefix"), ("file", absolute path). BadJob for other schemes."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return "file", str(Path(uri).expanduser().absolute())
    if scheme == "file" and rest.startswith("/"):
        return "file", unquote(rest)
    if scheme not in BUCKETS or not rest.strip("/") or rest.startswith("/"):
        raise BadJob(
            "BadUri",
            f"`{uri}` is not a place to read from or write to",
            "s3://bucket/path, gs://bucket/path, az://container/path, file:///path or a local path",
            "correct the URI in the job",
        )
    return scheme, rest.strip("/")
