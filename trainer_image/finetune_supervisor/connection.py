"""A connection between two supervisors: JSON lines, given up after three seconds of silence."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from finetune_api.model import Model

SECONDS_BETWEEN_PINGS = 1.0
SILENT_PINGS = 3
"""Pings sent without hearing anything before the other side counts as gone."""


class Connection:
    """One end. Both ends ping, so that a machine that vanished is noticed without a word from it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._silent_pings = 0

    def send(self, message: Model) -> None:
        """Queues `message`; if the connection is lost it is dropped."""
        if not self._writer.is_closing():
            self._writer.write(message.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n")

    async def receive(self) -> bytes | None:
        """The next line, or None when the connection is lost."""
        with contextlib.suppress(ConnectionError, TimeoutError, ValueError):
            line = await self._reader.readline()
            self._silent_pings = 0
            return line if line.endswith(b"\n") else None
        return None

    async def lines(self) -> AsyncIterator[bytes]:
        """Every line until the connection is lost."""
        while line := await self.receive():
            yield line

    async def ping(self, message: Callable[[], Model]) -> None:
        """Sends a fresh `message` each second; closes the connection when nothing comes back."""
        # Pings are counted rather than seconds: a loop that was itself held up has not listened in vain.
        while self._silent_pings <= SILENT_PINGS:
            self.send(message())
            self._silent_pings += 1
            await asyncio.sleep(SECONDS_BETWEEN_PINGS)
        self.close()

    def close(self) -> None:
        """Closes at once; a lost peer must not be waited for."""
        self._writer.transport.abort()

    async def finish(self) -> None:
        """Sends what is queued, then closes."""
        with contextlib.suppress(ConnectionError):
            self._writer.close()
            await self._writer.wait_closed()


@contextlib.asynccontextmanager
async def pinging(connection: Connection, message: Callable[[], Model]) -> AsyncIterator[None]:
    """Pings while the block runs; the connection is closed after it."""
    task = asyncio.create_task(connection.ping(message))
    try:
        yield
    finally:
        task.cancel()
        connection.close()
