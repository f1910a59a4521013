"""A reverse proxy before the API server: it writes down what one client asks, and fails it on demand.

Plain HTTP on loopback towards the client, TLS with that client's certificate towards the API server. All proxies
share one event loop in one thread (`ProxyHub`); each listens on a port of its own, so an operator's requests are
known by where they come in.
"""

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cluster_view import Door
from http_messages import LIMIT, Request, body_of, read_head, read_request
from proxy_faults import NOT_COUNTED, WRITES, Crash, Exchange, Refusal, reset, turn_down
from proxy_hub import ProxyHub, stop_listening
from watch_streams import WatchStream


@dataclass(eq=False)
class ApiProxy:
    """One client's way to the API server. Faults are set from any thread and hold until they are cleared."""

    hub: ProxyHub
    door: Door
    exchanges: list[Exchange] = field(default_factory=list)
    crash: Crash | None = None
    victim: int | None = None
    """Process id of the client, for `crash`."""
    struck: threading.Event = field(default_factory=threading.Event)
    """Set when `crash` has happened."""
    refusal: Refusal | None = None
    watches: "set[WatchStream]" = field(default_factory=set)
    port: int = 0
    last_write: float = field(default_factory=time.monotonic)
    """When the newest counted write came in, of `time.monotonic`; the start before the first."""
    _writes: int = 0
    _clients: "dict[asyncio.StreamWriter, asyncio.Task[None] | None]" = field(default_factory=dict)
    """Connections, and who serves them: nobody else holds on to a task whose client is gone."""
    _half_open: "set[asyncio.StreamWriter]" = field(default_factory=set)
    _held: bool = False
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None

    def __post_init__(self) -> None:
        self.accept()

    def __enter__(self) -> "ApiProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where the client finds it."""
        return f"http://127.0.0.1:{self.port}"

    def writes(self) -> list[Exchange]:
        """The counted writes so far: all but Leases and access reviews."""
        return [each for each in self.exchanges if each.number]

    def until_at_rest(self, quiet: float = 0.5, within: float = 30.0) -> None:
        """The client has not written for `quiet` seconds."""
        deadline = time.monotonic() + within
        while (since := time.monotonic() - self.last_write) < quiet:
            assert time.monotonic() < deadline, f"still writes: {self.writes()[-3:]}"
            time.sleep(quiet - since)

    def accept(self) -> None:
        """Listen, again at the same port after `refuse`."""

        async def listen() -> None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=LIMIT)
            self.port = self._server.sockets[0].getsockname()[1]

        self.hub.call(listen())

    def refuse(self) -> None:
        """Connections are refused from now on, those that stand are reset."""

        async def shut() -> None:
            assert self._server is not None
            await stop_listening(self._server)
            self._reset_all()

        self.hub.call(shut())

    def half_open(self) -> None:
        """The connections of now carry nothing any more and nobody is told; new ones work."""

        async def silence() -> None:
            self._half_open |= self._clients.keys()

        self.hub.call(silence())

    def hold_watches(self) -> None:
        """No event gets through from now on."""
        self.hub.call(self._each_watch(WatchStream.hold, held=True))

    def fail_watches(self, code: int, reason: str) -> int:
        """End every watch of now with an ERROR frame; events held back are lost. The number of watches."""
        count = len(self.watches)
        self.hub.call(self._each_watch(lambda watch: watch.fail(code, reason), held=False))
        return count

    def close(self) -> None:
        """Stop listening and end what stands."""
        self.refuse()

    def wake(self) -> None:
        """Wake a frozen client; the request that was on its way arrives first."""

        async def go() -> None:
            assert self.victim is not None
            self._woken.set()
            os.kill(self.victim, signal.SIGCONT)

        self.hub.call(go())

    async def _each_watch(self, act: "Callable[[WatchStream], None]", held: bool) -> None:
        self._held = held
        for watch in set(self.watches):
            act(watch)

    def _reset_all(self) -> None:
        for writer in list(self._clients):
            reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients[writer] = asyncio.current_task()
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while (request := await read_request(reader)) and await self._answer(request, reader, writer):
                    pass
                if writer in self._half_open:
                    await reader.read()
        finally:
            self._clients.pop(writer)
            self._half_open.discard(writer)
            writer.close()

    async def _answer(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; whether the connection can take another."""
        if writer in self._half_open:
            return True
        exchange = self._note(request)
        crash = self.crash if self.crash and exchange.number == self.crash.number else None
        if crash and crash.when == "before":
            return self._strike(crash, writer)
        if crash and crash.when == "frozen":
            await self._freeze()
            crash = None
        if self.refusal and self.refusal.concerns(request):
            return await turn_down(self.refusal, exchange, writer)
        if request.watches:
            return await self._watch(request, exchange, reader, writer)
        head, body = await self._forward(request, exchange)
        if crash:
            return self._strike(crash, writer)
        if writer in self._half_open:
            return True
        exchange.code, exchange.ended = exchange.served, time.monotonic()
        writer.write(head + body)
        await writer.drain()
        return True

    def _note(self, request: Request) -> Exchange:
        exchange = Exchange(request.method, request.target, time.monotonic(), body=request.body)
        if request.method in WRITES and not request.path.startswith(NOT_COUNTED):
            self._writes += 1
            exchange.number, self.last_write = self._writes, exchange.started
        self.exchanges.append(exchange)
        return exchange

    async def _freeze(self) -> None:
        """Stop the client until `wake`."""
        assert self.victim is not None
        self.crash, self._woken = None, asyncio.Event()
        os.kill(self.victim, signal.SIGSTOP)
        self.struck.set()
        await self._woken.wait()

    def _strike(self, crash: Crash, writer: asyncio.StreamWriter) -> bool:
        """Kill the client, all its connections gone with it; or lose one answer."""
        self.crash = None
        if crash.when == "lost":
            reset(writer)
        elif self.victim is not None:
            os.kill(self.victim, signal.SIGKILL)
            self._reset_all()
        self.struck.set()
        return False

    async def _forward(self, request: Request, exchange: Exchange) -> tuple[bytes, bytes]:
        """Head and body of the API server's answer."""
        upstream = await self.hub.connect(self.door)
        try:
            upstream.writer.write(request.head.raw + request.body)
            head = await read_head(upstream.reader)
            if head is None:
                raise ConnectionResetError
            body = b"".join([piece async for piece in body_of(upstream.reader, head)])
        except BaseException:
            upstream.writer.transport.abort()
            raise
        exchange.served = int(head.first.split(" ")[1])
        upstream.idle.append(upstream)
        return head.raw, body

    async def _watch(
        self,
        request: Request,
        exchange: Exchange,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Pass a watch on until either side ends it."""
        upstream = await self.hub.connect(self.door)
        stream = WatchStream(upstream.reader, writer, lambda: writer in self._half_open)
        if self._held:
            stream.hold()
        self.watches.add(stream)
        try:
            upstream.writer.write(request.head.raw)
            await stream.relay(reader, exchange)
        finally:
            self.watches.discard(stream)
            upstream.writer.transport.abort()
            exchange.ended = time.monotonic()
        return False
