"""HTTP/1.1 as far as a proxy needs it: heads parsed, bodies passed on as they are framed."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

LIMIT = 2**20
"""Bytes of the longest head or chunk that a reader takes."""
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Head:
    """The first line of a message and its fields, their names in lower case."""

    first: str
    fields: Mapping[str, str]
    raw: bytes

    @property
    def chunked(self) -> bool:
        return "chunked" in self.fields.get("transfer-encoding", "").lower()

    @property
    def closes(self) -> bool:
        return self.fields.get("connection", "").lower() == "close"

    @property
    def length(self) -> int:
        return int(self.fields.get("content-length", 0))


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request."""

    head: Head
    body: bytes
    """As framed."""

    @property
    def method(self) -> str:
        return self.head.first.partition(" ")[0]

    @property
    def target(self) -> str:
        return self.head.first.split(" ")[1]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def watches(self) -> bool:
        return self.method == "GET" and any(
            each in ("watch=true", "watch=True", "watch=1")
            for each in self.target.partition("?")[2].split("&")
        )


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next message's head; None at the end of the connection."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = raw.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return Head(first, {name.strip().lower(): value.strip() for name, _, value in pairs}, raw)


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request, body included; None at the end of the connection."""
    head = await read_head(reader)
    if head is None:
        return None
    return Request(head, b"".join([piece async for piece in body_of(reader, head)]))


async def body_of(reader: asyncio.StreamReader, head: Head) -> AsyncIterator[bytes]:
    """The body as it is framed, a chunk at a time."""
    if not head.chunked:
        if head.length:
            yield await reader.readexactly(head.length)
        return
    while True:
        size = await reader.readuntil(b"\r\n")
        yield size + await reader.readexactly(int(size.split(b";")[0], 16) + 2)
        if int(size.split(b";")[0], 16) == 0:
            return


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def answer(code: int, reason: str, message: str, retry_after: int | None = None) -> bytes:
    """A whole response as the API server would give it: a Status."""
    body = json.dumps(failure(code, reason, message)).encode()
    fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    if retry_after is not None:
        fields += f"Retry-After: {retry_after}\r\n"
    return f"HTTP/1.1 {code} {reason}\r\n{fields}\r\n".encode() + body


def failure(code: int, reason: str, message: str) -> dict[str, object]:
    """A Status that says that something failed."""
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return {**status, "message": message, "reason": reason, "code": code}
