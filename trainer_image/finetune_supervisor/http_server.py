"""GET /metrics, /progress, /healthz and /ready: just enough of HTTP/1.1, on the supervisor's own event loop.

On the loop on purpose: when the loop is stuck, /healthz does not answer.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from finetune_supervisor.settings import Address

LONGEST_REQUEST_BYTES = 1 << 14
SECONDS_PER_REQUEST = 5.0


class Page:
    """What a path answers: a media type and a function that makes the body."""

    def __init__(self, media_type: str, body: Callable[[], bytes]) -> None:
        self.media_type = media_type
        self.body = body


async def serve(address: Address, pages: Mapping[str, Page]) -> asyncio.Server:
    """Serves `pages` by path until the server is closed. Raises OSError if the address cannot be had."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(SECONDS_PER_REQUEST):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, pages))
                await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, address.host or None, address.port, limit=LONGEST_REQUEST_BYTES)


def _response(head: bytes, pages: Mapping[str, Page]) -> bytes:
    method, target, *_ = [*head.split(b"\r\n", 1)[0].decode("latin-1").split(" "), "", ""]
    page = pages.get(target.partition("?")[0])
    if method not in ("GET", "HEAD"):
        return _message("405 Method Not Allowed", "text/plain", b"only GET\n", "Allow: GET, HEAD\r\n")
    if page is None:
        return _message("404 Not Found", "text/plain", f"there are {', '.join(sorted(pages))}\n".encode())
    whole = _message("200 OK", page.media_type, page.body())
    return whole if method == "GET" else whole[: whole.index(b"\r\n\r\n") + 4]


def _message(status: str, media_type: str, body: bytes, more: str = "") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\n"
        f"Content-Type: {media_type}; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        f"{more}"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body
