"""Keeps a store equal to what the API server has of one kind: LIST once, then WATCH."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from finetune_operator.api_errors import ApiError, Gone, Unavailable
from finetune_operator.api_paths import Api
from finetune_operator.cluster import Cluster
from finetune_operator.store import Store, version_of

log = logging.getLogger(__name__)

LONG_ENOUGH = 5.0
"""Seconds: a watch that lived so long was no failure."""


@dataclass(frozen=True)
class Source:
    """What one informer keeps in step."""

    api: Api
    store: Store[Any]
    namespace: str = ""
    """Empty: all."""
    selector: str = ""
    optional: bool = False
    """Whether the API server may not know the kind: nobody waits for it."""
    now: Callable[[], Api] | None = None
    """Where the kind is at the moment, if not always at `api`."""


class Informer:
    """One list and watch; survives every error, and never believes that silence is health.

    A list after an error is compared with the store, so that what was deleted meanwhile goes from it.
    """

    def __init__(self, cluster: Cluster, source: Source, backoff: "Backoff | None" = None) -> None:
        self._cluster = cluster
        self.source = source
        self._query = {"labelSelector": source.selector} if source.selector else {}
        self._store = source.store
        self._backoff = backoff or Backoff()
        self._version = ""
        self._complaint = ""
        self._heard = self._tried = monotonic()
        self._runs = False
        self.synced = asyncio.Event()
        """Set once the store has been filled."""

    @property
    def kind(self) -> str:
        """What it watches, for logs and metrics."""
        return self.source.api.kind

    @property
    def silence(self) -> float:
        """Seconds since the API server last sent anything."""
        return monotonic() - self._heard

    @property
    def idle(self) -> float:
        """Seconds since it last got anything at all, be it an error: it is not hung. 0 before it runs."""
        return monotonic() - max(self._heard, self._tried) if self._runs else 0.0

    async def run(self) -> None:
        """Runs until cancelled."""
        self._heard = self._tried = monotonic()
        self._runs = True
        while True:
            began = monotonic()
            try:
                await self._follow()
                failure: ApiError | None = None
            except ApiError as error:
                failure = error
                self._note(error)
            if failure is None or monotonic() - began > LONG_ENOUGH:
                self._backoff.reset()
                self._complaint = ""
            await asyncio.sleep(self._pause(failure, monotonic() - began))

    def _note(self, error: ApiError) -> None:
        self._tried = monotonic()
        if isinstance(error, Gone):
            self._version = ""
        if str(error) != self._complaint:
            self._complaint = str(error)
            # A connection that breaks or falls silent is nothing unusual: some kinds hardly ever change.
            level = logging.WARNING if error.code else logging.INFO
            log.log(level, "watch of %s: %s", self.source.api.plural, error)

    def _pause(self, failure: ApiError | None, lasted: float) -> float:
        if failure is None:
            # An orderly end; a server that ends each stream at once must not be hammered either.
            return 0.0 if lasted > 1 else 0.5
        least = failure.retry_after if isinstance(failure, Unavailable) else 0.0
        return max(least, self._backoff.next())

    @property
    def _path(self) -> str:
        api = self.source.now() if self.source.now else self.source.api
        return api.path(self.source.namespace or None)

    async def _follow(self) -> None:
        if not self._version:
            await self._fill()
        watch = self._cluster.watch(self._path, self._version, **self._query)
        async with contextlib.aclosing(watch) as events:
            async for event in events:
                self._heard = monotonic()
                self._take(event["type"], event["object"])

    def _take(self, change: str, body: dict[str, Any]) -> None:
        self._version = body["metadata"]["resourceVersion"]
        if change == "BOOKMARK":
            self._store.reach(version_of(body), self.source.namespace)
        elif change == "DELETED":
            self._store.reach(version_of(body), self.source.namespace)
            self._store.drop(body["metadata"]["uid"], version_of(body))
        else:
            self._store.put(body, self.source.namespace)

    async def _fill(self) -> None:
        seen = set()
        version = ""
        async for page in self._cluster.list(self._path, **self._query):
            self._heard = monotonic()
            version = page["metadata"]["resourceVersion"]
            for body in page.get("items") or ():
                # Items of a list do not say what they are.
                body.setdefault("kind", self.source.api.kind)
                body.setdefault("apiVersion", self.source.api.version)
                self._store.put(body, self.source.namespace)
                seen.add(body["metadata"]["uid"])
        self._store.keep_only(seen, int(version) if version.isdecimal() else 0, self.source.namespace)
        self._version = version
        self.synced.set()


class Backoff:
    """Waits that double, up to a limit, each with ±20 % so that many do not come back at once. Seconds."""

    def __init__(
        self, first: float = 0.2, longest: float = 30.0, spread: Callable[[], float] | None = None
    ) -> None:
        self._first = first
        self._longest = longest
        self._spread = spread or (lambda: random.uniform(0.8, 1.2))
        self._failures = 0

    def next(self) -> float:
        """How long to wait after one more failure."""
        wait = min(self._longest, self._first * 2.0**self._failures)
        self._failures = min(self._failures + 1, 30)
        return wait * self._spread()

    def reset(self) -> None:
        """It went well."""
        self._failures = 0
