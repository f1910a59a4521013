"""Asks worker 0 of each job that trains for its progress, not more often than status can be patched."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from finetune_api.progress import Progress
from finetune_operator.observed import Observed, PodView, Resource, Sample
from finetune_operator.progress_client import ProgressClient, Unreachable
from finetune_operator.world import Key, Memory, World

log = logging.getLogger(__name__)

JOBS_PER_SECOND = 10
"""With many jobs each is asked less often, so that the sum stays at this."""
FIRST_AFTER = 0.5
"""Seconds after a worker is found running."""
SHOWN = "generation phase stage num_stages epoch epochs percent best_metric workers_ready restarts checkpoint report"
"""What a status may show; other changes wake nobody."""


@dataclass
class _Target:
    key: Key
    pod: PodView
    due: float


class Poller:
    """Keeps the newest sample of each job in the world's memory and wakes the key when it shows something."""

    def __init__(
        self,
        world: World,
        client: ProgressClient,
        wake: Callable[[Key], None],
        now: Callable[[], datetime],
        failed: Callable[[], None],
    ) -> None:
        settings = world.settings
        self._world = world
        self._client = client
        self._wake = wake
        self._interval = settings.progress_interval_seconds
        self._now = now
        self._failed = failed
        self._targets: dict[str, _Target] = {}
        self._changed = asyncio.Event()
        self._slots = asyncio.Semaphore(settings.client.polls)

    def want(self, resource: Resource, observed: Observed) -> None:
        """Asks for this job's progress from now on, if there is a worker 0 that can answer."""
        pods = [pod for pod in observed.pods if pod.index == 0 and pod.ip and pod.phase == "Running"]
        known = self._targets.get(resource.uid)
        if not pods:
            self.leave(resource.uid)
        elif known is None or known.pod.uid != pods[-1].uid:
            key = (resource.namespace, resource.name)
            self._targets[resource.uid] = _Target(key, pods[-1], monotonic() + FIRST_AFTER)
            self._changed.set()
        else:
            known.pod = pods[-1]

    def leave(self, uid: str) -> None:
        """Asks no more."""
        if self._targets.pop(uid, None):
            self._world.memory(uid).poll_failing_since = None

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                now = monotonic()
                for uid, target in list(self._targets.items()):
                    if target.due <= now:
                        target.due = now + self._pause()
                        group.create_task(self._poll(uid, target))
                wait = min((target.due for target in self._targets.values()), default=now + 60) - monotonic()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.05, wait)):
                        await self._changed.wait()

    def _pause(self) -> float:
        return max(self._interval, self._world.running / JOBS_PER_SECOND) * random.uniform(0.9, 1.1)

    async def _poll(self, uid: str, target: _Target) -> None:
        async with self._slots:
            try:
                progress = await self._client.fetch(target.pod.ip)
            except Unreachable as error:
                self._missed(uid, target, error)
                return
        if uid in self._targets:
            self._answered(self._world.memory(uid), target, progress)

    def _missed(self, uid: str, target: _Target, error: Unreachable) -> None:
        self._failed()
        if uid not in self._targets:
            return
        memory = self._world.memory(uid)
        if memory.poll_failing_since is None:
            memory.poll_failing_since = self._now()
            log.info("no progress: %s", error, extra={"job": "/".join(target.key)})
            self._wake(target.key)

    def _answered(self, memory: Memory, target: _Target, progress: Progress) -> None:
        before = memory.sample
        healed = memory.poll_failing_since is not None
        memory.sample = Sample(progress, self._now(), target.pod.uid)
        memory.poll_failing_since = None
        if healed or before is None or _shown(before.progress) != _shown(progress):
            self._wake(target.key)


def _shown(progress: Progress) -> list[Any]:
    return [getattr(progress, name) for name in SHOWN.split()]
