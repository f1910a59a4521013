"""A few pages over HTTP/1.1, as operator and supervisor both serve them: just enough of it, on the caller's event loop.

On the loop on purpose: when the loop is stuck, /healthz does not answer.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

LONGEST_REQUEST_BYTES = 1 << 14
SECONDS_PER_REQUEST = 10.0


@dataclass(frozen=True)
class Answer:
    """What a path answers."""

    body: bytes
    status: int = 200
    media_type: str = "text/plain"


Page = Callable[[], Awaitable[Answer]]


def page(media_type: str, body: Callable[[], bytes]) -> Page:
    """A page whose body is at hand."""

    async def answer() -> Answer:
        return Answer(body(), media_type=media_type)

    return answer


async def serve(host: str, port: int, pages: Mapping[str, Page]) -> asyncio.Server:
    """Serves `pages` by path until the server is closed; an empty host is every address of this machine.

    Raises OSError if the address cannot be had.
    """

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
    found = pages.get(target.partition("?")[0])
    if method not in ("GET", "HEAD"):
        return _message(Answer(b"only GET\n", 405), "Allow: GET, HEAD\r\n")
    if found is None:
        return _message(Answer(f"there are {', '.join(sorted(pages))}\n".encode(), 404))
    whole = _message(await found())
    return whole if method == "GET" else whole[: whole.index(b"\r\n\r\n") + 4]


def _message(answer: Answer, more: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
        f"Content-Type: {answer.media_type}; charset=utf-8\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Cache-Control: no-store\r\n"
        f"{more}"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + answer.body
