"""The event loop that proxies live in, and its connections to the API server."""

import asyncio
import ssl
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from cluster_view import Door
from http_messages import LIMIT

T = TypeVar("T")


@dataclass
class Connection:
    """To the API server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    idle: "list[Connection]"
    """Where it waits between two requests."""


async def stop_listening(server: asyncio.Server) -> None:
    """Close `server`, with every connection accepted until now in the hands of its callback.

    asyncio takes a connection in several steps of the loop, and one that is between two of them when the server is
    closed is dropped with its socket open (CPython 3.11, `_SelectorTransport.__init__`). So nothing new first.
    """
    for listener in server.sockets:
        asyncio.get_running_loop().remove_reader(listener.fileno())
    await _steps(4)
    server.close()


async def _steps(count: int) -> None:
    """Let the loop go round so often."""
    for _ in range(count):
        await asyncio.sleep(0)


class ProxyHub:
    """The thread and the event loop of all proxies, and the connections to the API server that are free."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.free: dict[Door, list[Connection]] = {}
        self._contexts: dict[Door, ssl.SSLContext] = {}
        self._thread = threading.Thread(target=self.loop.run_forever, name="api-proxies", daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run in the loop, from any other thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=30)

    def close(self) -> None:
        self.call(self._cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=10)
        self.loop.close()

    async def connect(self, door: Door) -> Connection:
        """A free connection to the API server, or a new one."""
        idle = self.free.setdefault(door, [])
        while idle:
            connection = idle.pop()
            if not connection.reader.at_eof() and not connection.writer.is_closing():
                return connection
            connection.writer.transport.abort()
        if door not in self._contexts:
            self._contexts[door] = ssl.create_default_context(cafile=door.ca)
            self._contexts[door].load_cert_chain(door.certificate, door.key)
        parts, context = urlsplit(door.url), self._contexts[door]
        ends = await asyncio.open_connection(parts.hostname, parts.port, ssl=context, limit=LIMIT)
        return Connection(*ends, idle)

    async def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in [each for idle in self.free.values() for each in idle]:
            connection.writer.transport.abort()
        await _steps(3)  # in which transports are told that they are closed
