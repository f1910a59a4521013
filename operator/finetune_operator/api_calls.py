"""Every request to the API server, counted and timed; the front-end's too."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import aiohttp
from yarl import URL

from finetune_operator.clock import ServerClock


@dataclass(frozen=True)
class Call:
    """One finished request, for metrics."""

    verb: str
    """get, list, watch, create, patch or delete."""
    code: str
    """HTTP status, or `error` without an answer."""
    seconds: float


def trace(on_call: Callable[[Call], None], clock: ServerClock) -> aiohttp.TraceConfig:
    """Reports to `on_call` each request when its answer's head is there: a watch that lives long counts as fast."""
    config = aiohttp.TraceConfig()

    async def start(_: Any, context: Any, _params: aiohttp.TraceRequestStartParams) -> None:
        context.began = monotonic()

    async def end(_: Any, context: Any, params: aiohttp.TraceRequestEndParams) -> None:
        seconds = monotonic() - context.began
        clock.heard(params.response.headers.get("Date"))
        on_call(Call(_verb(params.method, params.url), str(params.response.status), seconds))

    async def failed(_: Any, context: Any, params: aiohttp.TraceRequestExceptionParams) -> None:
        on_call(Call(_verb(params.method, params.url), "error", monotonic() - context.began))

    config.on_request_start.append(start)
    config.on_request_end.append(end)
    config.on_request_exception.append(failed)
    return config


def _verb(method: str, url: URL) -> str:
    if method != "GET":
        return {"POST": "create", "PUT": "update"}.get(method, method.lower())
    if "watch" in url.query:
        return "watch"
    return "list" if "limit" in url.query else "get"
