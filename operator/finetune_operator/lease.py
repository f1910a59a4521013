"""Which of several operators acts: the holder of one Lease, as long as it renews it in time.

Clocks of different machines are never compared: a holder counts as lost when its record has not changed
for the lease's duration on this machine's own monotonic clock, and a holder itself stops acting some seconds
earlier. `Cluster` asks as each write goes out, so a process or machine that slept does nothing more.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from finetune_operator import api_paths
from finetune_operator.api_errors import ApiError, Conflict, NotFound
from finetune_operator.clock import boot_time
from finetune_operator.cluster import Cluster
from finetune_operator.knobs import Lease as LeaseSettings

log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """This process must not act any more."""


@dataclass(frozen=True)
class _Seen:
    """A record of the Lease, and when this process first saw it like that."""

    version: str
    holder: str
    duration: float
    since: float
    transitions: int


class Lease:
    """One campaign after another for the same Lease. Times are monotonic seconds."""

    def __init__(
        self,
        cluster: Cluster,
        settings: LeaseSettings,
        namespace: str,
        name: str = "",
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._collection = api_paths.LEASE.path(namespace or "default")
        self._path = api_paths.LEASE.path(namespace or "default", settings.name)
        # A container that starts again has the same name but is another process.
        self.identity = f"{name or 'operator'}_{secrets.token_hex(4)}"
        self._clock = clock
        self._seen: _Seen | None = None
        self._renewed: float | None = None

    @property
    def held(self) -> bool:
        """Whether this process may act, at this moment."""
        if not self._settings.enabled:
            return True
        return self._renewed is not None and self._clock() - self._renewed < self._settings.renew_seconds

    def check(self) -> None:
        """Raises LeaseLost unless this process may act."""
        if not self.held:
            raise LeaseLost(f"{self.identity} does not hold the lease")

    async def acquire(self) -> None:
        """Returns once this process holds the Lease; tries for ever."""
        while self._settings.enabled and not await self._try():
            await asyncio.sleep(self._settings.retry_seconds)
        if self._settings.enabled:
            log.info("leading", extra={"identity": self.identity})

    async def keep(self) -> None:
        """Renews the Lease; returns when it is lost."""
        while self._settings.enabled:
            await asyncio.sleep(self._settings.retry_seconds)
            await self._try()
            if not self.held:
                self._renewed = None
                log.error("the lease is lost: another operator may act now")
                return
        await asyncio.Event().wait()

    async def release(self) -> None:
        """Lets another operator take over at once."""
        if not (self._settings.enabled and self.held and self._seen):
            return
        self._renewed = None
        spec = {"holderIdentity": "", "leaseDurationSeconds": 1}
        body = {"metadata": {"resourceVersion": self._seen.version}, "spec": spec}
        try:
            await self._cluster.patch(self._path, body, urgent=True)
        except ApiError as error:
            log.warning("cannot release the lease: %s", error)

    async def _try(self) -> bool:
        began = self._clock()
        try:
            async with asyncio.timeout(self._settings.renew_seconds):
                await self._take()
        except (ApiError, TimeoutError) as error:
            if isinstance(error, NotFound):
                self._seen = None  # deleted by hand: the next try makes it
            if not isinstance(error, Conflict):
                log.warning("lease %s: %s", self._settings.name, str(error) or type(error).__name__)
            return False
        if self._seen is None or self._seen.holder != self.identity:
            self._renewed = None
            return False
        # From before the request: by then at the latest others count the duration.
        self._renewed = began
        return True

    async def _take(self) -> None:
        if self._seen is None or self._seen.holder != self.identity:
            try:
                self._look(await self._cluster.get(self._path, urgent=True))
            except NotFound:
                return self._look(await self._create())
        seen = self._seen
        assert seen is not None
        if seen.holder in ("", self.identity) or self._clock() - seen.since > seen.duration:
            await self._write(seen)
        return None

    async def _create(self) -> dict[str, Any]:
        metadata = {"name": self._settings.name}
        body = {
            "apiVersion": api_paths.LEASE.version,
            "kind": "Lease",
            "metadata": metadata,
            "spec": self._spec(),
        }
        return await self._cluster.create(self._collection, body, urgent=True)

    async def _write(self, seen: _Seen) -> None:
        spec = self._spec()
        if seen.holder == self.identity:
            del spec["acquireTime"]
        else:
            spec["leaseTransitions"] = seen.transitions + 1
        body = {"metadata": {"resourceVersion": seen.version}, "spec": spec}
        try:
            self._look(await self._cluster.patch(self._path, body, urgent=True))
        except Conflict:
            # Somebody was quicker, or our own last write was done without our learning of it.
            self._look(await self._cluster.get(self._path, urgent=True))
            raise

    def _spec(self) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self._settings.duration_seconds)),
            "acquireTime": now,
            "renewTime": now,
        }

    def _look(self, body: dict[str, Any]) -> None:
        version = body["metadata"]["resourceVersion"]
        if self._seen and self._seen.version == version:
            return
        spec = body.get("spec") or {}
        self._seen = _Seen(
            version=version,
            holder=spec.get("holderIdentity") or "",
            duration=float(spec.get("leaseDurationSeconds") or self._settings.duration_seconds),
            since=self._clock(),
            transitions=int(spec.get("leaseTransitions") or 0),
        )
