"""The informer: whatever the server does, the store ends up equal to what the server has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

import coroutines
from finetune_operator import api_paths, views
from finetune_operator.cluster import Limits
from finetune_operator.informer import Backoff, Informer, Source
from finetune_operator.observed import PodView
from finetune_operator.store import Store
from small_api import FAST, SmallApi, small_api, until

ERROR = {"kind": "Status", "message": "injected"}


class Watched:
    """A store that an informer keeps equal to the small API."""

    def __init__(self, api: SmallApi, store: Store[PodView], informer: Informer) -> None:
        self.api, self.store, self.informer = api, store, informer

    @property
    def names(self) -> set[str]:
        return {pod.name for pod in self.store}

    async def until_equal(self) -> None:
        await until(lambda: self.names == set(self.api.pods))

    async def until_watching(self) -> None:
        await until(lambda: self.api.watches == 1)


@asynccontextmanager
async def watched(*names: str, limits: Limits = FAST) -> AsyncIterator[Watched]:
    async with small_api(limits) as (api, cluster):
        for name in names:
            api.put(name)
        store: Store[PodView] = Store(views.pod, {"name": lambda pod: pod.name})
        informer = Informer(cluster, Source(api_paths.POD, store, "ns"), Backoff(0.01, 0.05))
        task = asyncio.create_task(informer.run())
        try:
            async with asyncio.timeout(60):
                await informer.synced.wait()
            found = Watched(api, store, informer)
            await found.until_watching()
            yield found
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@coroutines.run
async def test_all_pages_are_read_and_changes_followed() -> None:
    async with watched("a", "b", "c", "d", "e") as found:
        assert found.names == {"a", "b", "c", "d", "e"}
        assert found.api.requests.count("GET") == 3  # two to a page
        found.api.put("f")
        found.api.delete("a")
        await found.until_equal()
        found.api.put("b", status={"phase": "Running"})
        await until(lambda: found.store.one("name", "b").phase == "Running")  # type: ignore[union-attr]


FRAMES = {
    f"an ERROR frame with code {code}": {"type": "ERROR", "object": {**ERROR, "code": code}}
    for code in (410, 500, 504, 429, 403)
} | {"a frame that is no event": {"no": "event"}}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
@coroutines.run
async def test_what_was_deleted_behind_a_broken_watch_goes(frame: dict[str, Any]) -> None:
    async with watched("a", "b") as found:
        found.api.delete("a", seen=False)
        found.api.put("c")
        found.api.send(frame)
        await found.until_equal()


@pytest.mark.parametrize("code", [500, 503, 403, 404, 401])
@coroutines.run
async def test_it_comes_back_after_answers_of(code: int) -> None:
    async with watched("a") as found:
        found.api.fail(code, times=4)
        found.api.send(None)
        await until(lambda: not found.api.faults)
        await found.until_watching()
        found.api.put("b")
        await found.until_equal()


@coroutines.run
async def test_it_waits_as_long_as_the_server_says() -> None:
    async with watched("a") as found:
        found.api.fail(429, {"Retry-After": "1"})
        before = asyncio.get_running_loop().time()
        found.api.send(None)
        await until(lambda: not found.api.faults)
        await found.until_watching()
        assert asyncio.get_running_loop().time() - before >= 1.0


@coroutines.run
async def test_silence_is_taken_for_a_dead_connection() -> None:
    async with watched("a", limits=replace(FAST, silence=0.3)) as found:
        # As half-open TCP: the server has forgotten us and says nothing; the client has to notice by itself.
        watches = found.api.requests.count("WATCH")
        found.api.delete("a", seen=False)
        await until(lambda: found.api.requests.count("WATCH") > watches)
        found.api.fail(410)
        await found.until_equal()


@coroutines.run
async def test_a_page_whose_token_is_too_old_starts_the_list_again() -> None:
    async with watched("a", "b", "c") as found:

        def gone(request: web.Request) -> web.Response | None:
            if "continue" not in request.query:
                found.api.faults.insert(0, gone)
                return None
            return web.json_response({**ERROR, "code": 410}, status=410)

        found.api.delete("b", seen=False)
        found.api.put("d")
        found.api.faults.append(gone)
        found.api.send({"type": "ERROR", "object": {**ERROR, "code": 410}})
        await found.until_equal()
        assert not found.api.faults


@coroutines.run
async def test_a_server_that_ends_every_watch_at_once_is_not_hammered() -> None:
    async with watched("a") as found:
        empty = [lambda _: web.Response(status=200)] * 100
        found.api.faults += empty
        found.api.send(None)
        await asyncio.sleep(1.2)  # what is measured is how little happens
        assert 1 <= 100 - len(found.api.faults) <= 4


def test_back_off_doubles_up_to_its_limit_and_starts_anew() -> None:
    backoff = Backoff(1.0, 5.0, spread=lambda: 1.0)
    assert [backoff.next() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert backoff.next() == 1.0
    assert 0.8 <= Backoff(1.0).next() <= 1.2
