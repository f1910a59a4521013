"""What the API server tells a watcher: every version of every object, and waiting for a state.

One thread and one connection per kind; who waits for something sleeps until its namespace changes.
"""

import json
import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from waiting import PATIENCE

Body = dict[str, Any]
Found = TypeVar("Found")

PATHS = {
    "finetunejobs": "/apis/finetune.dev/v1alpha1/finetunejobs",
    "jobs": "/apis/batch/v1/jobs",
    "pods": "/api/v1/pods",
    "services": "/api/v1/services",
    "configmaps": "/api/v1/configmaps",
    "networkpolicies": "/apis/networking.k8s.io/v1/networkpolicies",
    "events": "/api/v1/events",
}
"""Where each kind is, in all namespaces."""


@dataclass(frozen=True)
class Version:
    """One state of an object and the monotonic time at which it was seen; a deleted one as it was at last."""

    at: float
    body: Body
    deleted: bool = False


@dataclass(frozen=True)
class Door:
    """How to reach an API server: its URL, and the files of a client certificate."""

    url: str
    ca: Path
    certificate: Path
    key: Path

    def connect(self, timeout: float = PATIENCE) -> HTTPSConnection:
        """A new connection."""
        context = ssl.create_default_context(cafile=self.ca)
        context.load_cert_chain(self.certificate, self.key)
        parts = urlsplit(self.url)
        assert parts.hostname
        return HTTPSConnection(parts.hostname, parts.port, context=context, timeout=timeout)


class ClusterView:
    """All objects of some kinds, now and before. Use as a context manager."""

    def __init__(self, door: Door, kinds: Iterable[str] = tuple(PATHS)) -> None:
        self._lock = threading.RLock()
        self._changed: dict[str, threading.Condition] = defaultdict(lambda: threading.Condition(self._lock))
        self._seen: dict[tuple[str, str], dict[str, list[Version]]] = defaultdict(dict)
        self._watches = [_Watch(door, kind, self._take) for kind in kinds]

    def __enter__(self) -> "ClusterView":
        for watch in self._watches:
            watch.start()
        for watch in self._watches:
            assert watch.listed.wait(PATIENCE), f"no list of {watch.kind}"
        return self

    def __exit__(self, *_: object) -> None:
        for watch in self._watches:
            watch.stop()

    def history(self, kind: str, namespace: str, name: str) -> list[Version]:
        """Every version of one object, oldest first; objects of the same name one after the other."""
        with self._lock:
            return list(self._seen[kind, namespace].get(name, ()))

    def get(self, kind: str, namespace: str, name: str) -> Body | None:
        """The object as it is."""
        with self._lock:
            return _present(self._seen[kind, namespace].get(name))

    def all(self, kind: str, namespace: str) -> list[Body]:
        """All objects of a kind in a namespace as they are, in the order in which they were first seen."""
        with self._lock:
            found = [_present(versions) for versions in self._seen[kind, namespace].values()]
        return [body for body in found if body is not None]

    def ever(self, kind: str, namespace: str) -> list[str]:
        """Names of all objects of a kind that there ever were in a namespace."""
        with self._lock:
            return list(self._seen[kind, namespace])

    def wait(
        self, namespace: str, look: Callable[[], Found | None], what: str, within: float = PATIENCE
    ) -> Found:
        """The first true thing that `look` finds, tried at every change in the namespace.

        Raises AssertionError after `within` seconds.
        """
        deadline = time.monotonic() + within
        with self._lock:
            while not (found := look()):
                left = deadline - time.monotonic()
                assert left > 0, f"no {what} in {namespace} within {within:.0f} s"
                self._changed[namespace].wait(left)
        return found

    def _take(self, kind: str, body: Body, deleted: bool) -> None:
        namespace, name = body["metadata"].get("namespace", ""), body["metadata"]["name"]
        with self._lock:
            self._seen[kind, namespace].setdefault(name, []).append(Version(time.monotonic(), body, deleted))
            self._changed[namespace].notify_all()


class _Watch:
    """One kind: a list, then a stream that is taken up again where it broke."""

    def __init__(self, door: Door, kind: str, take: Callable[[str, Body, bool], None]) -> None:
        self.kind, self.listed = kind, threading.Event()
        self._door, self._take = door, take
        self._version = ""
        self._known: dict[str, Body] = {}
        """By uid: a list after a lost stream is compared with it."""
        self._over = threading.Event()
        self._connection: HTTPSConnection | None = None
        self._thread = threading.Thread(target=self._run, name=f"watch-{kind}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._connection = self._door.connect(timeout=3600.0)
                if not self._version:
                    self._list(self._connection)
                self._stream(self._connection)
            except (OSError, HTTPException, ValueError):
                self._over.wait(0.2)
            finally:
                if self._connection is not None:
                    self._connection.close()

    def _list(self, connection: HTTPSConnection) -> None:
        listed = json.loads(_answer(connection, PATHS[self.kind]).read())
        present = {body["metadata"]["uid"] for body in listed["items"]}
        for uid in self._known.keys() - present:
            self._tell(self._known[uid], True)
        for body in listed["items"]:
            self._tell(body, False)
        self._version = listed["metadata"]["resourceVersion"]
        self.listed.set()

    def _stream(self, connection: HTTPSConnection) -> None:
        query = f"watch=1&allowWatchBookmarks=true&timeoutSeconds=3600&resourceVersion={self._version}"
        for event in _events(_answer(connection, f"{PATHS[self.kind]}?{query}")):
            if event["type"] == "ERROR":
                self._version = ""
                return
            self._version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK":
                self._tell(event["object"], event["type"] == "DELETED")

    def _tell(self, body: Body, deleted: bool) -> None:
        if deleted:
            self._known.pop(body["metadata"]["uid"], None)
        else:
            self._known[body["metadata"]["uid"]] = body
        self._take(self.kind, body, deleted)


def _answer(connection: HTTPSConnection, path: str) -> HTTPResponse:
    connection.request("GET", path)
    response = connection.getresponse()
    if response.status != 200:
        raise OSError(f"GET {path}: {response.status}")
    return response


def _events(stream: HTTPResponse) -> Iterable[Body]:
    while line := stream.readline():
        yield json.loads(line)


def _present(versions: list[Version] | None) -> Body | None:
    return versions[-1].body if versions and not versions[-1].deleted else None
