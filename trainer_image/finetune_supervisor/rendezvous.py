"""Supervisor 0's meeting point: every other supervisor holds one session with it.

The port is open to whoever reaches it, so a session begins with the job's token, and before that nothing is
told and little is read.
"""

import asyncio
import contextlib
import hmac
import ipaddress
import logging
from dataclasses import dataclass
from typing import Protocol

from pydantic import ValidationError

from finetune_supervisor.connection import Connection, pinging
from finetune_supervisor.messages import REPORT, Beat, Finish, Hello, Order, Refused, Report, Welcome
from finetune_supervisor.settings import Address

SECONDS_FOR_HELLO = 5.0
log = logging.getLogger(__name__)


class Host(Protocol):
    """Who is told of sessions."""

    def joined(self, worker: int) -> None:
        """A session with `worker` began; an older one is void."""

    def reported(self, worker: int, report: Report) -> None:
        """`worker` said something."""

    def gone(self, worker: int) -> None:
        """The session with `worker` ended."""

    def beat(self) -> Beat:
        """What each worker is told every second."""


@dataclass(frozen=True)
class Admission:
    """Who may join."""

    token: str
    job_digest: str
    workers: int

    def refusal(self, hello: Hello) -> Refused | None:
        """Why `hello` is turned away, or None."""
        if not hmac.compare_digest(hello.token.encode(), self.token.encode()):
            return Refused(reason="WrongToken", message="Supervisor 0 has another token than this worker.")
        if hello.job_digest != self.job_digest:
            return Refused(
                reason="JobMismatch", message="Supervisor 0 has another job.json than this worker."
            )
        if not 0 < hello.index < self.workers:
            return Refused(reason="BadIndex", message=f"There is no worker {hello.index} in this gang.")
        return None


class Rendezvous:
    """The server. One session per worker; a newer one of the same worker replaces the older."""

    def __init__(self, admission: Admission, host: Host) -> None:
        self._admission = admission
        self._host = host
        self._sessions: dict[int, Connection] = {}
        self._empty = asyncio.Event()
        self._empty.set()
        self._farewell: Finish | None = None
        self._server: asyncio.Server | None = None

    async def listen(self, address: Address) -> None:
        """Opens the port. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, _interface(address.host), address.port)

    @property
    def ports(self) -> tuple[int, ...]:
        """Ports it listens on, one per interface; none before `listen`."""
        sockets = self._server.sockets if self._server else ()
        return tuple(socket.getsockname()[1] for socket in sockets)

    def send(self, worker: int, order: Order) -> None:
        """Sends `order`; if the worker is gone it is dropped, and `Host.gone` has said so or will."""
        if session := self._sessions.get(worker):
            session.send(order)

    async def close(self, farewell: Finish | None, patience: float) -> None:
        """Says farewell, waits up to `patience` seconds for all workers to leave, then closes what is left.

        Closing at once could lose the farewell: unread pings make the kernel reset the connection.
        """
        self._farewell = farewell
        if farewell:
            for session in self._sessions.values():
                session.send(farewell)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), patience)
        if self._server:
            self._server.close()
        for session in self._sessions.values():
            session.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        hello = await _hello(connection)
        if hello is None:
            connection.close()
        elif refusal := self._admission.refusal(hello):
            log.warning("turned away worker %d: %s", hello.index, refusal.reason)
            connection.send(refusal)
            await connection.finish()
        else:
            await self._session(hello.index, connection)

    async def _session(self, worker: int, connection: Connection) -> None:
        if older := self._sessions.get(worker):
            older.close()
        self._sessions[worker] = connection
        self._empty.clear()
        self._host.joined(worker)
        connection.send(self._farewell or Welcome())
        async with pinging(connection, self._host.beat):
            with contextlib.suppress(ValidationError):
                async for line in connection.lines():
                    if self._sessions.get(worker) is not connection:
                        return
                    self._host.reported(worker, REPORT.validate_json(line))
        if self._sessions.get(worker) is connection:
            del self._sessions[worker]
            self._host.gone(worker)
            if not self._sessions:
                self._empty.set()


async def _hello(connection: Connection) -> Hello | None:
    with contextlib.suppress(TimeoutError, ValidationError):
        line = await asyncio.wait_for(connection.receive(), SECONDS_FOR_HELLO)
        return Hello.model_validate_json(line) if line else None
    return None


def _interface(host: str) -> str | None:
    """The interface to listen on: a loopback address is itself, any other host stands for all interfaces."""
    with contextlib.suppress(ValueError):
        return host if ipaddress.ip_address(host).is_loopback else None
    return None
