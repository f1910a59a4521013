"""Kubernetes Events about FineTuneJobs: each fact is one Event object, also across restarts.

An Event's name follows from what it says, so saying it again meets the object that is there and at most
raises its count. A fact that keeps coming back costs one write per `QUIET` seconds.
"""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from finetune_api import reported
from finetune_api.contract import MANAGER
from finetune_operator import api_paths
from finetune_operator.api_errors import ApiError, Conflict, NotFound
from finetune_operator.cluster import Cluster
from finetune_operator.logs import scrub
from finetune_operator.observed import Resource
from finetune_operator.plan import Note

log = logging.getLogger(__name__)

QUIET = 300.0
"""Seconds in which the same fact is not written again."""
DIFFERENT = 10
"""Events of one reason with different messages that one FineTuneJob may have in `QUIET` seconds."""
REMEMBERED = 10_000
LONGEST_MESSAGE = 1024
"""Kubernetes refuses longer ones."""


@dataclass
class _Written:
    count: int
    time: float


class Recorder:
    """Writes Events; a failure to do so is logged and forgotten, for they are a courtesy."""

    def __init__(self, cluster: Cluster, instance: str = "", clock: Callable[[], float] = monotonic) -> None:
        self._cluster = cluster
        self._instance = instance
        self._clock = clock
        self._written: OrderedDict[str, _Written] = OrderedDict()
        self._recent: OrderedDict[tuple[str, str], list[float]] = OrderedDict()

    async def record(self, resource: Resource, note: Note) -> None:
        """Writes the note as an Event about the resource, unless that was done a moment ago."""
        message = scrub(note.message).replace("\n", " ").strip()[:LONGEST_MESSAGE]
        name = event_name(resource, note.reason, message)
        if self._is_fresh(name) or self._is_too_much(resource.uid, note.reason):
            return
        try:
            written = await self._write(resource, note, name, message)
        except ApiError as error:
            log.warning("cannot record %s: %s", note.reason, error, extra=_about(resource))
            return
        self._remember(name, written)

    async def _write(self, resource: Resource, note: Note, name: str, message: str) -> int:
        if known := self._written.get(name):
            return await self._repeat(resource, name, known.count)
        body = self._body(resource, note, name, message)
        try:
            await self._cluster.create(api_paths.EVENT.path(resource.namespace), body)
        except Conflict:
            return await self._repeat(resource, name, await self._count(resource, name))
        return 1

    async def _repeat(self, resource: Resource, name: str, count: int) -> int:
        body = {"count": count + 1, "lastTimestamp": _now()}
        try:
            await self._cluster.patch(api_paths.EVENT.path(resource.namespace, name), body)
        except NotFound:
            # Events expire after an hour; the next time it is made anew.
            self._written.pop(name, None)
            return 0
        return count + 1

    async def _count(self, resource: Resource, name: str) -> int:
        # Permission to list is there for other reasons; to get is not.
        path = api_paths.EVENT.path(resource.namespace)
        async for page in self._cluster.list(path, fieldSelector=f"metadata.name={name}"):
            for event in page.get("items") or ():
                count = event.get("count")
                return count if isinstance(count, int) else 1
        return 1

    def _is_fresh(self, name: str) -> bool:
        known = self._written.get(name)
        return known is not None and self._clock() - known.time < QUIET

    def _is_too_much(self, uid: str, reason: str) -> bool:
        """Whether messages that differ each time, by a number perhaps, come too often."""
        now = self._clock()
        times = [time for time in self._recent.get((uid, reason), []) if now - time < QUIET]
        if len(times) >= DIFFERENT:
            return True
        self._recent[uid, reason] = [*times, now]
        self._recent.move_to_end((uid, reason))
        if len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        return False

    def _remember(self, name: str, count: int) -> None:
        if count:
            self._written[name] = _Written(count, self._clock())
            self._written.move_to_end(name)
        if len(self._written) > REMEMBERED:
            self._written.popitem(last=False)

    def _body(self, resource: Resource, note: Note, name: str, message: str) -> dict[str, Any]:
        now = _now()
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": resource.namespace},
            "involvedObject": {
                "apiVersion": api_paths.FINETUNEJOB.version,
                "kind": api_paths.FINETUNEJOB.kind,
                "namespace": resource.namespace,
                "name": resource.name,
                "uid": resource.uid,
            },
            "type": note.type,
            "reason": note.reason,
            "message": message,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "source": {"component": MANAGER},
            "reportingComponent": MANAGER,
            "reportingInstance": self._instance,
        }


def event_name(resource: Resource, reason: str, message: str) -> str:
    """Name of the Event that says this: the same for the same fact about the same FineTuneJob."""
    digest = hashlib.sha256(f"{resource.uid}\0{reason}\0{message}".encode()).hexdigest()
    # A FineTuneJob's name has up to 253 characters, and so may an Event's.
    return f"{resource.name[:220].rstrip('.-')}.{digest[:16]}"


def _about(resource: Resource) -> dict[str, str]:
    return {"job": f"{resource.namespace}/{resource.name}"}


def _now() -> str:
    return reported.timestamp(datetime.now(UTC))
