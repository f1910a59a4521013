"""GET /healthz, /readyz and /metrics, on the operator's own event loop: when that is stuck, nothing answers."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

LONGEST_REQUEST_BYTES = 1 << 14
SECONDS_PER_REQUEST = 10.0
REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


@dataclass(frozen=True)
class Answer:
    """What a path answers."""

    body: bytes
    status: int = 200
    media_type: str = "text/plain"


Page = Callable[[], Awaitable[Answer]]


async def serve(host: str, port: int, pages: Mapping[str, Page]) -> asyncio.Server:
    """Serves `pages` by path until the server is closed. Raises OSError if the address cannot be had."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(SECONDS_PER_REQUEST):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await _respond(head, pages))
                await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, host or None, port, limit=LONGEST_REQUEST_BYTES)


async def _respond(head: bytes, pages: Mapping[str, Page]) -> bytes:
    method, target, *_ = [*head.split(b"\r\n", 1)[0].decode("latin-1").split(" "), "", ""]
    page = pages.get(target.partition("?")[0])
    if method not in ("GET", "HEAD"):
        return _message(Answer(b"only GET\n", 405), whole=True)
    if page is None:
        return _message(Answer(f"there are {', '.join(sorted(pages))}\n".encode(), 404), whole=True)
    return _message(await page(), whole=method == "GET")


def _message(answer: Answer, *, whole: bool) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status} {REASONS[answer.status]}\r\n"
        f"Content-Type: {answer.media_type}; charset=utf-8\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    ).encode()
    return head + answer.body if whole else head
