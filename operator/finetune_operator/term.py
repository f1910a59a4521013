"""One term in office: everything that runs while this process holds the Lease, and ends together."""

import asyncio
import logging
from time import monotonic

from finetune_operator import health
from finetune_operator.cluster import Cluster
from finetune_operator.controller import Controller
from finetune_operator.executor import Executor
from finetune_operator.frontend import FrontEnd
from finetune_operator.informer import Backoff, Informer
from finetune_operator.job_metrics import JobCollector, OperatorCollector
from finetune_operator.lease import Lease, LeaseLost
from finetune_operator.metrics import Metrics
from finetune_operator.poller import Poller
from finetune_operator.progress_client import ProgressClient
from finetune_operator.recorder import Recorder
from finetune_operator.settings import Settings
from finetune_operator.sweep import Sweep
from finetune_operator.work_queue import WorkQueue
from finetune_operator.world import Key, World

log = logging.getLogger(__name__)

LONG_ENOUGH = 30.0
"""Seconds: a front-end that lived so long had begun well; kopf takes twelve to give up."""
LONGEST_PAUSE = 5.0
"""Seconds between two tries to watch: kopf's own end takes five more, and an outage must be over within fifteen."""


class Term:
    """Starts with empty memory: what a term before knew may be out of date."""

    def __init__(self, settings: Settings, cluster: Cluster, lease: Lease, metrics: Metrics) -> None:
        timings = settings.timings
        self._settings = settings
        self._cluster = cluster
        self._lease = lease
        self._metrics = metrics
        self.queue: WorkQueue[Key] = WorkQueue(timings.retry_first_seconds, timings.retry_longest_seconds)
        self.world = World(settings, self.queue.add, self.queue.add_soon)
        self.informers = [Informer(cluster, source, self._backoff()) for source in self.world.sources()]
        self._sweep = Sweep(cluster, self.world, settings.namespaces, timings.resync_seconds)
        self._front_end = FrontEnd(cluster, settings, self._sweep.observe)
        self._stopping = asyncio.Event()

    @property
    def synced(self) -> bool:
        """Whether the whole world is known, so that decisions can be made."""
        return self._sweep.synced.is_set() and all(
            one.synced.is_set() for one in self.informers if not one.source.optional
        )

    def stop(self) -> None:
        """Ends the term in good order."""
        self._stopping.set()
        self.queue.close()

    async def run(self, lag: health.LoopLag) -> None:
        """Returns after `stop`. Raises LeaseLost, or what else ended it."""
        client = ProgressClient(self._settings.timings.poll_timeout_seconds)
        collectors = (JobCollector(self.world), OperatorCollector(self.queue, self.informers, lag))
        work = asyncio.create_task(self._work(client))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            with self._metrics.including(*collectors):
                await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done() and not work.done():
                    work.cancel()
                await asyncio.wait({work})
            if not work.cancelled():
                _raise_one(work.exception())
        finally:
            work.cancel()
            stopping.cancel()
            await asyncio.wait({work})
            await client.close()

    async def _work(self, client: ProgressClient) -> None:
        poller = Poller(
            self.world,
            client,
            self.queue.add,
            self._cluster.clock.now,
            self._metrics.poll_failed,
        )
        recorder = Recorder(self._cluster, self._lease.identity)
        executor = Executor(self._cluster, self.world, recorder)
        controller = Controller(self._cluster, self.world, self.queue, executor, poller, self._metrics)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_lease())
            for informer in self.informers:
                group.create_task(self._inform(informer))
            group.create_task(self._sweep.run())
            await self._sweep.synced.wait()
            for informer in self.informers:
                if not informer.source.optional:
                    await informer.synced.wait()
            log.info("synced", extra={"jobs": len(self.world.resources), "pods": len(self.world.pods)})
            workers = [group.create_task(controller.worker()) for _ in range(self._settings.workers)]
            group.create_task(poller.run())
            group.create_task(self._wake_front_end())
            front_end = group.create_task(self._serve_front_end())
            await self._stopping.wait()
            front_end.cancel()
            await asyncio.wait(workers, timeout=self._settings.timings.stop_seconds)
            raise _Stopped

    async def _inform(self, informer: Informer) -> None:
        if informer.source.optional:
            await self._sweep.discovered.wait()
        await informer.run()

    async def _keep_lease(self) -> None:
        await self._lease.keep()
        raise LeaseLost(f"{self._lease.identity} lost the lease")

    async def _serve_front_end(self) -> None:
        """kopf, again and again: it ends when the API server is away for longer than a moment."""
        backoff = self._backoff()
        while True:
            began = monotonic()
            try:
                await self._front_end.run()
                log.warning("the front-end ended")
            except Exception as error:
                log.warning("the front-end ended: %s", str(error) or type(error).__name__)
            if monotonic() - began > LONG_ENOUGH:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def _wake_front_end(self) -> None:
        while True:
            await self._sweep.deaf.wait()
            self._sweep.deaf.clear()
            self._front_end.end()

    def _backoff(self) -> Backoff:
        timings = self._settings.timings
        return Backoff(timings.retry_first_seconds / 2, min(LONGEST_PAUSE, timings.retry_longest_seconds))


class _Stopped(Exception):
    """Told to stop, and all is done."""


def _raise_one(error: BaseException | None) -> None:
    """Raises the first cause of what ended a group of tasks; a stop is none."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None and not isinstance(error, _Stopped):
        raise error
