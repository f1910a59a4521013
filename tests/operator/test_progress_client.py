"""Asking a user's pod for its progress: whatever answers there, the operator comes to no harm."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic

import pytest
from aiohttp import web

import best_of
import coroutines
from finetune_operator.progress_client import MOST_BYTES, ProgressClient, Unreachable

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
TIMEOUT = 0.5
LONG = 60.0
"""For whoever answers well, however busy this machine is."""


@asynccontextmanager
async def pod(answer: Answer, timeout: float = TIMEOUT) -> AsyncIterator[tuple[ProgressClient, list[str]]]:
    """A client whose port is that of a server on loopback."""
    asked: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return await answer(request)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = ProgressClient(timeout, port=runner.addresses[0][1])
    try:
        yield client, asked
    finally:
        await client.close()
        await runner.cleanup()


async def healthy(_: web.Request) -> web.Response:
    return web.json_response({"percent": 41, "stageName": "head", "unknownToday": 1})


async def redirects(request: web.Request) -> web.Response:
    raise web.HTTPFound("/elsewhere" if request.path == "/progress" else "/further")


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * (1 << 16))


async def slow(_: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


def answers(text: str | bytes, status: int = 200) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=text, status=status)

    return answer


HOSTILE: dict[str, Answer] = {
    "redirects": redirects,
    "never ends": endless,
    "never answers": slow,
    "an error": answers("no", 500),
    "no JSON": answers("<html>"),
    "JSON of another kind": answers("[1, 2]"),
    "wrong types": answers(json.dumps({"percent": {"a": 1}})),
    "a number out of range": answers('{"percent": 1e999}'),
    "nested deeply": answers("[" * 100_000),
    "no UTF-8": answers(b"\xff\xfe{}"),
    "nothing": answers(""),
}


@coroutines.run
async def test_a_supervisor_is_understood() -> None:
    async with pod(healthy, LONG) as (client, asked):
        progress = await client.fetch("127.0.0.1")
        assert (progress.percent, progress.stage_name) == (41, "head")
        assert asked == ["/progress"]


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
@coroutines.run
async def test_anything_else_is_no_answer_and_takes_no_time(answer: Answer) -> None:
    async with pod(answer) as (client, asked):
        for times in best_of.some(5, under=TIMEOUT + 1):
            began = monotonic()
            with pytest.raises(Unreachable) as raised:
                await client.fetch("127.0.0.1")
            times.append(monotonic() - began)
            assert len(str(raised.value)) < 300
        assert asked == ["/progress"] * len(times)


def test_what_is_read_is_bounded() -> None:
    assert MOST_BYTES <= 1 << 20


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fe80::1",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "example.com",
        "127.0.0.1:80",
        "1.2.3.4/x",
        "",
    ],
)
@coroutines.run
async def test_only_addresses_that_a_pod_can_have_are_asked(address: str) -> None:
    async with pod(healthy) as (client, asked):
        with pytest.raises(Unreachable):
            await client.fetch(address)
        assert asked == []
