"""One forked training process, as its supervisor sees it: events, commands, end."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator

from pydantic import ValidationError

from finetune_api.events import EVENT, Command, Event, TrainRequest, ZygoteReply
from finetune_supervisor.messages import Ending
from finetune_supervisor.zygote_client import Zygote

LONGEST_EVENT_BYTES = 1 << 20
SECONDS_FOR_STACKS = 1.0
"""How long a hung process may take to print the stacks of its threads."""
SECONDS_FOR_LAST_WORDS = 1.0
"""How long to go on reading what it said before it ended."""


class TrainingProcess:
    """A training process that lives until `events` ends; then `exited` tells how it ended."""

    def __init__(self, zygote: Zygote, pid: int, events_fd: int, commands_fd: int) -> None:
        self.pid = pid
        self.killed_as: Ending | None = None
        """Why this supervisor killed it, if it did."""
        self._commands = commands_fd
        self._events_fd = events_fd
        self._exit: asyncio.Task[ZygoteReply] = asyncio.create_task(zygote.exited(pid))

    @staticmethod
    async def fork(zygote: Zygote, request: TrainRequest) -> "TrainingProcess":
        """A new training process. Raises ZygoteDiedError."""
        events_read, events_write = os.pipe()
        commands_read, commands_write = os.pipe()
        try:
            pid = await zygote.fork(request, events_write, commands_read)
        except BaseException:
            os.close(events_read)
            os.close(commands_write)
            raise
        finally:
            os.close(events_write)
            os.close(commands_read)
        return TrainingProcess(zygote, pid, events_read, commands_write)

    async def events(self) -> AsyncIterator[Event]:
        """What it says, until it has ended."""
        reader = asyncio.StreamReader(limit=LONGEST_EVENT_BYTES)
        pipe = os.fdopen(self._events_fd, "rb", buffering=0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        # Something it started may hold the pipe open after its death: do not wait for that.
        loop = asyncio.get_running_loop()
        self._exit.add_done_callback(lambda _: loop.call_later(SECONDS_FOR_LAST_WORDS, reader.feed_eof))
        with contextlib.closing(transport):
            while line := await reader.readline():
                with contextlib.suppress(ValidationError):
                    yield EVENT.validate_json(line)

    async def exited(self) -> ZygoteReply:
        """How it ended, once it is reaped."""
        reply = await asyncio.shield(self._exit)
        if self._commands >= 0:
            os.close(self._commands)
            self._commands = -1
        return reply

    def command(self, command: Command) -> None:
        """Tells it; if it is gone already, nothing happens."""
        with contextlib.suppress(OSError):
            os.write(self._commands, command.model_dump_json(by_alias=True).encode() + b"\n")

    def kill(self, ending: Ending) -> None:
        """Kills it, stopped or stuck as it may be; `ending` is what its outcome will say."""
        if not self._exit.done():
            self.killed_as = self.killed_as or ending
            self._signal(signal.SIGKILL)

    async def dump_and_kill(self, ending: Ending) -> None:
        """Has it print the stacks of all its threads to its standard error, then kills it."""
        self.killed_as = self.killed_as or ending
        self._signal(signal.SIGUSR1)
        # It prints within milliseconds and lives on; how far it got cannot be asked of a process that hangs.
        await asyncio.wait({self._exit}, timeout=SECONDS_FOR_STACKS)
        self.kill(ending)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
