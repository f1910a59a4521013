"""What a proxy writes down of each request, and what it can do to it."""

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from http_messages import Request, answer

WRITES = ("POST", "PUT", "PATCH", "DELETE")
NOT_COUNTED = ("/apis/coordination.k8s.io/", "/apis/authorization.k8s.io/", "/apis/authentication.k8s.io/")


@dataclass
class Exchange:
    """One request and how it ended."""

    method: str
    target: str
    started: float
    """Of `time.monotonic`."""
    number: int = 0
    """Its place among the counted writes, from 1; 0 for one that is not counted."""
    served: int = 0
    """What the API server answered; 0 for a request that it did not answer, or never got."""
    code: int = 0
    """What the client was answered; 0 without an answer."""
    ended: float = 0.0
    body: bytes = b""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass(frozen=True)
class Crash:
    """What happens at the `number`-th counted write (1, 2, …)."""

    number: int
    when: Literal["before", "after", "lost", "frozen"]
    """Killed before it is forwarded, or after it is served; or served, the answer lost, and the client lives; or the
    client is stopped (SIGSTOP) with the request on its way, which arrives when it is woken by `wake`."""


@dataclass(frozen=True)
class Refusal:
    """The same answer to every request that `concerns` picks, instead of forwarding it."""

    code: int
    reason: str
    retry_after: int | None = None
    concerns: Callable[[Request], bool] = lambda _: True


async def turn_down(refusal: Refusal, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    """Answer instead of the API server; the connection can take another request."""
    exchange.code, exchange.ended = refusal.code, time.monotonic()
    writer.write(answer(refusal.code, refusal.reason, "refused by a test", refusal.retry_after))
    await writer.drain()
    return True


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST: the other side learns at once, with nothing flushed."""
    with contextlib.suppress(OSError, AttributeError):
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
