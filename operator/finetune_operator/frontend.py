"""The watch of FineTuneJobs: the one module that imports kopf.

kopf only brings events. It keeps no state on objects: no annotation, no finalizer, no patch. It runs on an
event loop and thread of its own, because when it ends it cancels every task of its loop, whoever made it.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import aiohttp
import kopf

from finetune_operator import api_paths
from finetune_operator.cluster import GOODBYE, Cluster
from finetune_operator.logs import FRONT_END
from finetune_operator.settings import Settings

log = logging.getLogger(__name__)

Observe = Callable[[str, dict[str, Any]], None]
"""Told the type of each event (empty for an object that is merely listed) and the object."""

STOP_SECONDS = 4.0


class FrontEnd:
    """One run of kopf at a time; can be run again and again in one process."""

    def __init__(self, cluster: Cluster, settings: Settings, observe: Observe) -> None:
        self._cluster = cluster
        self._settings = settings
        self._observe = observe
        self._stop: Future[None] = Future()

    def end(self) -> None:
        """Makes `run` return soon."""
        if not self._stop.done():
            self._stop.set_result(None)

    async def run(self) -> None:
        """Brings events until cancelled; returns or raises when kopf gives up, as in an outage of the API."""
        loop = asyncio.get_running_loop()
        self._stop = Future()
        ended: Future[None] = Future()
        ended.set_running_or_notify_cancel()

        def deliver(kind: str, body: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(self._observe, kind, body)

        def work() -> None:
            try:
                asyncio.run(self._kopf(deliver, self._stop))
            except BaseException as error:
                ended.set_exception(error)
            else:
                ended.set_result(None)

        threading.Thread(target=work, name=FRONT_END, daemon=True).start()
        waiter = asyncio.wrap_future(ended)
        try:
            await asyncio.shield(waiter)
        finally:
            self.end()
            await asyncio.wait({waiter}, timeout=STOP_SECONDS)

    async def _kopf(self, deliver: Observe, stop: Future[None]) -> None:
        namespaces = self._settings.namespaces
        sessions: list[aiohttp.ClientSession] = []
        try:
            await kopf.operator(
                registry=self._registry(deliver, sessions),
                settings=self._kopf_settings(),
                clusterwide=not namespaces,
                namespaces=namespaces,
                standalone=True,
                # Of this loop: for any other flag kopf has a thread wait, which outlives kopf when it ends
                # by itself.
                stop_flag=asyncio.wrap_future(stop),
            )
        finally:
            for session in sessions:
                await session.close()
            await asyncio.sleep(GOODBYE)

    def _registry(self, deliver: Observe, sessions: list[aiohttp.ClientSession]) -> kopf.OperatorRegistry:
        # An explicit registry has no handlers of its own, not even for the login.
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.AiohttpSession:
            # A new one each time, for kopf closes it when the API server says 401.
            sessions.append(self._cluster.session())
            return kopf.AiohttpSession(server=self._cluster.server, aiohttp_session=sessions[-1])

        group, version = api_paths.FINETUNEJOB.version.split("/")

        @kopf.on.event(group, version, api_paths.FINETUNEJOB.plural, registry=registry)
        async def changed(type: str | None, body: kopf.Body, **_: Any) -> None:
            deliver(type or "", dict(body))

        return registry

    def _kopf_settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.peering.standalone = True
        settings.scanning.disabled = True
        settings.posting.enabled = False
        settings.watching.chunk_size = self._settings.client.page_size
        # The API server takes whole seconds only.
        settings.watching.server_timeout = max(1, int(self._settings.timings.watch_seconds))
        settings.watching.client_timeout = self._settings.timings.watch_seconds + 30
        settings.watching.connect_timeout = 10
        settings.watching.inactivity_timeout = self._settings.timings.watch_silence_seconds
        settings.networking.request_timeout = self._settings.client.timeout_seconds
        # The outer loop is there for longer outages.
        settings.networking.error_backoffs = (0.5, 1, 2)
        settings.networking.enforce_retry_after = True
        settings.process.ultimate_exiting_timeout = None
        settings.execution.max_workers = 1
        # Never used, for no handler needs them; named so that a mistake would be ours to see.
        prefix = group_of(api_paths.FINETUNEJOB.version)
        settings.persistence.finalizer = f"{prefix}/front-end"
        settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=prefix)
        settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=prefix)
        return settings


def group_of(version: str) -> str:
    """The API group of an apiVersion."""
    return version.rpartition("/")[0]
