"""The supervisor's side of the zygote: start it, have it fork training processes, learn how they end."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

from finetune_api.events import TrainRequest, ZygoteReply, ZygoteRequest

COMMAND = (sys.executable, "-m", "finetune_trainer.zygote")
"""Gets the socket's descriptor as its last argument."""
MAX_REPLY_BYTES = 1 << 16


class ZygoteDiedError(Exception):
    """The zygote ended by itself. `status` is its exit code, or minus the signal."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the zygote ended with status {status}")
        self.status = status


class Zygote:
    """A running zygote with at most one forked process at a time."""

    def __init__(self, environment: Mapping[str, str], command: Sequence[str] = COMMAND) -> None:
        """Starts it; call from the main thread, for the kernel ties it to the thread that starts it."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=dict(environment),
            )
        loop = asyncio.get_running_loop()
        self._socket = ours
        self._ready = loop.create_future()
        self._forked: asyncio.Future[int] | None = None
        self._exits: dict[int, asyncio.Future[ZygoteReply]] = {}
        self._listening = loop.create_task(self._listen())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether it can fork at once."""
        return self._ready.done() and not self._listening.done()

    async def ready(self) -> None:
        """Returns when its imports are done. Raises ZygoteDiedError if it ends before."""
        await asyncio.wait({self._ready, self._listening}, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.done():
            raise ZygoteDiedError(self._listening.result())

    async def ended(self) -> int:
        """Returns its status when it, and with it what it forked, is gone."""
        return await asyncio.shield(self._listening)

    async def fork(self, request: TrainRequest, events_fd: int, commands_fd: int) -> int:
        """The id of a new training process, which gets the two descriptors. Raises ZygoteDiedError."""
        self._forked = asyncio.get_running_loop().create_future()
        line = ZygoteRequest(fork=request).model_dump_json(by_alias=True).encode() + b"\n"
        # If it is dead already, the listener is about to find out.
        with contextlib.suppress(OSError):
            socket.send_fds(self._socket, [line], [events_fd, commands_fd])
        await asyncio.wait({self._forked, self._listening}, return_when=asyncio.FIRST_COMPLETED)
        if not self._forked.done():
            raise ZygoteDiedError(self._listening.result())
        return self._forked.result()

    async def exited(self, pid: int) -> ZygoteReply:
        """How the forked process `pid` ended, once it is reaped."""
        reply = await asyncio.shield(self._exits[pid])
        del self._exits[pid]
        return reply

    async def close(self) -> None:
        """Ends it, and with it what it forked."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self.ended()

    async def _listen(self) -> int:
        loop = asyncio.get_running_loop()
        unread = b""
        with self._socket, contextlib.suppress(ConnectionError):
            while data := await loop.sock_recv(self._socket, MAX_REPLY_BYTES):
                *lines, unread = (unread + data).split(b"\n")
                for line in lines:
                    self._hear(ZygoteReply.model_validate_json(line))
        return await self._bury()

    def _hear(self, reply: ZygoteReply) -> None:
        loop = asyncio.get_running_loop()
        match reply.event:
            case "ready":
                self._ready.set_result(None)
            case "forked" if self._forked:
                self._exits[reply.pid] = loop.create_future()
                self._forked.set_result(reply.pid)
            case "exited":
                self._exits[reply.pid].set_result(reply)

    async def _bury(self) -> int:
        """Reaps the zygote and, as its heir, the process it had forked: the kernel killed that with it."""
        self._process.kill()
        status = await asyncio.to_thread(self._process.wait)
        for pid, exit in list(self._exits.items()):
            if not exit.done():
                await asyncio.to_thread(_kill_and_reap, pid)
                exit.set_result(ZygoteReply(event="exited", pid=pid, status=-signal.SIGKILL))
        return status


def _kill_and_reap(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
