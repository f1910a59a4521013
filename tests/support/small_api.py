"""A few lines of Kubernetes API for faults that no real server shows on demand: LIST, WATCH, and what goes wrong.

Everything that can be had from a real API server is tested with one, in tests/integration.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from finetune_operator.api_calls import Call
from finetune_operator.cluster import Cluster, Limits

Body = dict[str, Any]
FAST = Limits(rate=0, page=2, request=30, watch=300, silence=60)


class SmallApi:
    """Pods of one namespace; faults are put into `faults` and met in order, one by each request."""

    def __init__(self) -> None:
        self.version = 100
        self.pods: dict[str, Body] = {}
        self.requests: list[str] = []
        self.bodies: list[Body] = []
        self.faults: list[Callable[[web.Request], web.Response | None]] = []
        self._watches: set[asyncio.Queue[Body | None]] = set()
        self.url = ""

    def put(self, name: str, **more: Any) -> Body:
        """Makes or changes a pod; the watches see it."""
        self.version += 1
        kind = "MODIFIED" if name in self.pods else "ADDED"
        metadata = {
            "name": name,
            "namespace": "ns",
            "uid": f"uid-{name}",
            "resourceVersion": str(self.version),
        }
        self.pods[name] = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, **more}
        self.send({"type": kind, "object": self.pods[name]})
        return self.pods[name]

    def delete(self, name: str, *, seen: bool = True) -> None:
        """Deletes a pod; unless `seen`, no watch is told."""
        self.version += 1
        gone = self.pods.pop(name)
        gone["metadata"]["resourceVersion"] = str(self.version)
        if seen:
            self.send({"type": "DELETED", "object": gone})

    def send(self, event: Body | None) -> None:
        """To all watches; None ends them."""
        for queue in self._watches:
            queue.put_nowait(json.loads(json.dumps(event)))

    def fail(self, code: int, headers: dict[str, str] | None = None, times: int = 1) -> None:
        """The next requests are answered with this status."""
        status = {"kind": "Status", "code": code, "reason": "Injected", "message": f"injected {code}"}
        answer = lambda _: web.json_response(status, status=code, headers=headers)  # noqa: E731
        self.faults += [answer] * times

    @property
    def watches(self) -> int:
        """How many there are."""
        return len(self._watches)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        watching = "watch" in request.query
        self.requests.append("WATCH" if watching else request.method)
        if self.faults and (answer := self.faults.pop(0)(request)):
            return answer
        if watching:
            return await self._watch(request)
        if request.method != "GET":
            self.bodies.append(await request.json())
            return web.json_response(self.bodies[-1], status=201)
        return self._list(request)

    def _list(self, request: web.Request) -> web.Response:
        # The continue token is where the next page begins.
        start, limit = int(request.query.get("continue", "0")), int(request.query.get("limit", "500"))
        items = [{**pod} for pod in self.pods.values()]
        for item in items:
            del item["kind"], item["apiVersion"]
        more = str(start + limit) if start + limit < len(items) else ""
        metadata = {"resourceVersion": str(self.version), "continue": more}
        return web.json_response(
            {"kind": "PodList", "metadata": metadata, "items": items[start : start + limit]}
        )

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        queue: asyncio.Queue[Body | None] = asyncio.Queue()
        self._watches.add(queue)
        try:
            while (event := await queue.get()) is not None:
                await response.write(json.dumps(event).encode() + b"\n")
        finally:
            self._watches.discard(queue)
        return response


Served = TypeVar("Served", bound=SmallApi)


@asynccontextmanager
async def serve(
    api: Served, limits: Limits = FAST, on_call: Callable[[Call], None] | None = None
) -> AsyncIterator[tuple[Served, Cluster]]:
    """The API, and a client that is connected to it."""
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", api.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    api.url = f"http://{host}:{port}"

    async def login() -> Configuration:
        return Configuration(host=api.url)

    cluster = Cluster(login, limits, on_call)
    await cluster.open()
    try:
        yield api, cluster
    finally:
        await cluster.close()
        api.send(None)
        await runner.cleanup()


def small_api(
    limits: Limits = FAST, on_call: Callable[[Call], None] | None = None
) -> AbstractAsyncContextManager[tuple[SmallApi, Cluster]]:
    """A new one, served."""
    return serve(SmallApi(), limits, on_call)


async def until(holds: Callable[[], bool], within: float = 60.0) -> None:
    """Waits until it holds; TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.005)
