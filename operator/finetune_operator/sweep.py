"""A whole look at all FineTuneJobs, now and then: no event that got lost is lost for long.

kopf does not say what was deleted while its watch was broken; comparing with a list does.
"""

import asyncio
import contextlib
import logging
import random
from typing import Any

from finetune_operator import api_paths
from finetune_operator.api_errors import ApiError, Unavailable
from finetune_operator.cluster import Cluster
from finetune_operator.discovery import discover
from finetune_operator.informer import Backoff
from finetune_operator.store import version_of
from finetune_operator.world import World

log = logging.getLogger(__name__)

LONGEST_PAUSE = 5.0
"""Seconds between two tries."""
SOON = 1.0
"""Seconds after the front-end was seen to list again, so that one sweep serves the whole list."""

HEARD_WITHIN = 30.0
"""Seconds in which the front-end must have heard of what a list showed."""


class Sweep:
    """Fills the store of FineTuneJobs, and keeps it right where the front-end's events leave holes."""

    def __init__(self, cluster: Cluster, world: World, namespaces: list[str], interval: float) -> None:
        self._cluster = cluster
        self._world = world
        self._namespaces = namespaces or [""]
        self._interval = interval
        self._relisted = asyncio.Event()
        self._heard = 0
        self._listed = 0
        self.deaf = asyncio.Event()
        """Set when the front-end was found not to hear what a list shows."""
        self.discovered = asyncio.Event()
        """Set once it is known what the API server serves."""
        self.synced = asyncio.Event()
        """Set once all FineTuneJobs are known."""

    def observe(self, kind: str, body: dict[str, Any]) -> None:
        """Takes in an event of the front-end."""
        scope = body["metadata"].get("namespace", "") if self._namespaces != [""] else ""
        version = version_of(body)
        self._heard = max(self._heard, version)
        if kind == "DELETED":
            self._world.resources.reach(version, scope)
            self._world.resources.drop(body["metadata"]["uid"], version)
            return
        if not kind and self.synced.is_set():
            self._relisted.set()
        self._world.resources.put(body, scope)

    async def run(self) -> None:
        """Runs until cancelled."""
        backoff = Backoff(longest=LONGEST_PAUSE)
        while True:
            try:
                self._world.served = await discover(self._cluster, self._world.settings.gangs)
                self.discovered.set()
                for namespace in self._namespaces:
                    await self.once(namespace)
            except ApiError as error:
                log.warning("list of FineTuneJobs: %s", error)
                least = error.retry_after if isinstance(error, Unavailable) else 0.0
                await asyncio.sleep(max(least, backoff.next()))
                continue
            backoff.reset()
            self.synced.set()
            await self._wait()

    async def once(self, namespace: str) -> None:
        """Lists one namespace, or all with an empty name. Raises ApiError."""
        seen = set()
        version = "0"
        async for page in self._cluster.list(api_paths.FINETUNEJOB.path(namespace or None)):
            version = page["metadata"]["resourceVersion"]
            for body in page.get("items") or ():
                self._world.resources.put(body, namespace)
                self._listed = max(self._listed, version_of(body))
                seen.add(body["metadata"]["uid"])
        self._world.resources.keep_only(seen, int(version), namespace)

    async def _wait(self) -> None:
        self._relisted.clear()
        pause = self._interval * random.uniform(0.8, 1.2)
        if not await self._is_relisted(min(pause, HEARD_WITHIN)):
            if self._listed > self._heard:
                log.warning("the front-end has not heard of the newest FineTuneJob")
                self.deaf.set()
            await self._is_relisted(max(0.0, pause - HEARD_WITHIN))
        await asyncio.sleep(SOON)

    async def _is_relisted(self, within: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                return await self._relisted.wait()
        return False
