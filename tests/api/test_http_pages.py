"""The pages, over real sockets."""

import asyncio
import contextlib
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from finetune_api.http_pages import Answer, page, serve


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """A server with two pages; its port."""

    async def sick() -> Answer:
        return Answer(b"sick", 503)

    pages = {
        "/progress": page("application/json", lambda: '{"percent": 7, "name": "ö"}'.encode()),
        "/healthz": sick,
    }
    async with await serve("127.0.0.1", 0, pages) as server:
        yield server.sockets[0].getsockname()[1]


async def answer(request: bytes) -> bytes:
    """All that the server says to these bytes."""
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        if not request.endswith(b"\r\n\r\n"):
            writer.write_eof()
        said = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return said


def test_an_ordinary_client_reads_a_page() -> None:
    async def story() -> tuple[int, str, str]:
        async with serving() as port:
            return await asyncio.to_thread(get, f"http://127.0.0.1:{port}/progress?pretty=1")

    def get(url: str) -> tuple[int, str, str]:
        with urllib.request.urlopen(url, timeout=10) as page:
            return page.status, page.headers["Content-Type"], page.read().decode()

    expected = (200, "application/json; charset=utf-8", '{"percent": 7, "name": "ö"}')
    assert asyncio.run(story()) == expected


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        pytest.param(b"GET /nothing HTTP/1.1", b"404 Not Found", id="an unknown page"),
        pytest.param(b"POST /progress HTTP/1.1", b"405 Method Not Allowed", id="a wrong method"),
        pytest.param(b"GET", b"404 Not Found", id="no path"),
        pytest.param(b"\xff\xfe\x00", b"405 Method Not Allowed", id="no HTTP at all"),
    ],
)
def test_what_is_refused(request_line: bytes, status: bytes) -> None:
    assert asyncio.run(answer(request_line + b"\r\n\r\n")).startswith(b"HTTP/1.1 " + status)


def test_a_page_may_have_another_status() -> None:
    said = asyncio.run(answer(b"GET /healthz HTTP/1.1\r\n\r\n"))
    assert said.startswith(b"HTTP/1.1 503 Service Unavailable")
    assert said.endswith(b"\r\n\r\nsick")


def test_who_asks_for_what_is_not_there_is_told_what_is() -> None:
    assert b"there are /healthz, /progress" in asyncio.run(answer(b"GET /nothing HTTP/1.1\r\n\r\n"))


def test_head_has_no_body() -> None:
    said = asyncio.run(answer(b"HEAD /progress HTTP/1.1\r\n\r\n"))
    assert said.startswith(b"HTTP/1.1 200 OK")
    assert said.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"GET /progress HTTP/1.1\r\nHost: x", id="a request that is cut off"),
        pytest.param(b"GET /" + b"x" * (1 << 20), id="a request without end"),
    ],
)
def test_what_is_no_request_gets_no_answer(request_bytes: bytes) -> None:
    # Closed with bytes unread, the kernel may reset the connection: that is no answer either.
    with contextlib.suppress(ConnectionError):
        assert asyncio.run(answer(request_bytes)) == b""
