"""A watch on its way through the proxy: held back, passed on, or ended with an ERROR frame of ours."""

import asyncio
import json
from collections.abc import Callable
from typing import Protocol

from http_messages import LAST_CHUNK, body_of, chunk, failure, read_head


class Noted(Protocol):
    """Where the code of the answer is written down."""

    code: int


class WatchStream:
    """One watch. An event is one or more chunks of which the last ends with a line feed."""

    def __init__(
        self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter, silent: Callable[[], bool]
    ) -> None:
        self._upstream, self._writer, self._silent = upstream, writer, silent
        self._open = asyncio.Event()
        self._open.set()
        self._failure: bytes | None = None
        self._failed = asyncio.Event()

    def hold(self) -> None:
        """Let nothing through."""
        self._open.clear()

    def fail(self, code: int, reason: str) -> None:
        """End it between two events with an ERROR frame; what is held back is lost."""
        event = {"type": "ERROR", "object": failure(code, reason, "ended by a test")}
        self._failure = json.dumps(event).encode() + b"\n"
        self._failed.set()

    async def relay(self, client: asyncio.StreamReader, exchange: Noted) -> None:
        """Pass the answer on until the API server or the client ends it, or `fail`."""
        tasks = [
            asyncio.create_task(work)
            for work in (self._pass_on(exchange), client.read(1), self._failed.wait())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._failure and exchange.code and not tasks[1].done():
                self._writer.write(chunk(self._failure) + LAST_CHUNK)
                await self._writer.drain()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pass_on(self, exchange: Noted) -> None:
        head = await read_head(self._upstream)
        if head is None:
            return
        exchange.code = int(head.first.split(" ")[1])
        self._writer.write(head.raw)
        event = b""
        async for piece in body_of(self._upstream, head):
            event += piece
            if not piece.endswith(b"\n\r\n") and piece != LAST_CHUNK and head.chunked:
                continue
            await self._open.wait()
            if not self._silent():
                self._writer.write(event)
                await self._writer.drain()
            event = b""
