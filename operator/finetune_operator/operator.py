"""The outer loop: campaign for the Lease, act while it is held, and again when that ends, whatever ended it."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from time import monotonic
from typing import Any

from finetune_api.http_pages import Answer, serve
from finetune_operator import api_paths, health
from finetune_operator.api_errors import ApiError, NotFound, Unavailable
from finetune_operator.cluster import Cluster
from finetune_operator.health import LoopLag
from finetune_operator.informer import Backoff
from finetune_operator.lease import Lease, LeaseLost
from finetune_operator.metrics import Metrics
from finetune_operator.settings import Settings
from finetune_operator.term import Term

log = logging.getLogger(__name__)

INSTALLED_WITHIN = 10.0
"""Seconds: an API server that has just started does not know its custom resources at once."""
STABLE = 30.0
"""Seconds after which the end of a term is no failure to begin it."""


class NotInstalled(Exception):
    """The API server does not know FineTuneJobs."""


class Operator:
    """One process. `run` returns after `stop`, and raises only what no retry can cure."""

    def __init__(self, settings: Settings, cluster: Cluster, metrics: Metrics) -> None:
        self._settings = settings
        self._cluster = cluster
        self._metrics = metrics
        self._lease = Lease(cluster, settings.lease, settings.pod_namespace, settings.pod_name)
        cluster.guard = self._lease.check
        self._lag = LoopLag()
        self._term: Term | None = None
        self._started = False
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ends in good order."""
        self._stopping.set()
        if self._term:
            self._term.stop()

    async def run(self) -> None:
        """Serves until stopped. Raises NotInstalled, ConfigurationError, and OSError without a port."""
        server = await serve(
            self._settings.http.host,
            self._settings.http.port,
            {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics_page},
        )
        host, port, *_ = server.sockets[0].getsockname()
        log.info("serving", extra={"host": host, "port": port, "identity": self._lease.identity})
        beside = asyncio.create_task(self._lag.run())
        try:
            await self._cluster.open()
            await self._unless_stopped(self._installed())
            self._started = True
            await self._serve_terms()
        finally:
            beside.cancel()
            server.close()
            await self._lease.release()

    async def _serve_terms(self) -> None:
        """One term after another; returns when stopped."""
        backoff = Backoff(0.5, 15.0)
        while not self._stopping.is_set():
            began = monotonic()
            await self._unless_stopped(self._lease.acquire())
            if self._stopping.is_set():
                return
            await self._serve_term()
            if monotonic() - began > STABLE:
                backoff.reset()
            if not self._stopping.is_set():
                await self._unless_stopped(asyncio.sleep(backoff.next()))

    async def _serve_term(self) -> None:
        self._term = Term(self._settings, self._cluster, self._lease, self._metrics)
        self._metrics.leader.set(1)
        try:
            await self._term.run(self._lag)
        except LeaseLost as error:
            log.error("%s", error)
        except Exception:
            log.exception("the term ended")
        finally:
            self._metrics.leader.set(0)
            self._term = None

    async def _installed(self) -> None:
        backoff = Backoff(0.2, 10.0)
        began = monotonic()
        while True:
            try:
                found = await self._cluster.get(f"/apis/{api_paths.FINETUNEJOB.version}", urgent=True)
                names = {one["name"] for one in found["resources"]}
                if api_paths.FINETUNEJOB.plural in names:
                    return
            except NotFound:
                pass
            except ApiError as error:
                log.warning("waiting for the API server: %s", error)
                least = error.retry_after if isinstance(error, Unavailable) else 0.0
                await asyncio.sleep(max(least, backoff.next()))
                began = monotonic()
                continue
            if monotonic() - began > INSTALLED_WITHIN:
                raise NotInstalled(
                    f"the API server does not know {api_paths.FINETUNEJOB.plural} ({api_paths.FINETUNEJOB.version}):"
                    " install the CustomResourceDefinition first, `finetune crd | kubectl apply -f -`"
                )
            await asyncio.sleep(min(1.0, backoff.next()))

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            for one in (task, stopping):
                one.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task

    async def _metrics_page(self) -> Answer:
        # In a thread: with a thousand jobs it takes a while, in which the loop has better things to do.
        return Answer(await asyncio.to_thread(self._metrics.text), media_type="text/plain; version=0.0.4")

    async def _healthz(self) -> Answer:
        term = self._term
        return health.alive(self._lag, term.informers if term else (), term.queue if term else None)

    async def _readyz(self) -> Answer:
        return health.ready(started=self._started, synced=self._term is None or self._term.synced)
