"""A process that imports TensorFlow and Keras, runs no operation, and forks one training process per request.

    python -m finetune_trainer.zygote SOCKET_FD [--cold] [--entry MODULE:FUNCTION]

The supervisor holds the other end of the socket. It sends one `ZygoteRequest` a line, with the event pipe's
write end and the command pipe's read end as ancillary data, and gets `ZygoteReply` lines: `ready` once the
imports are done, `forked` for each request, `exited` when a forked process has been reaped. A closed socket
ends the zygote, and with it whatever it forked.

Forking is safe only before TensorFlow's runtime has started its threads, and not at all on macOS. Where it is
not, the zygote runs cold: it imports nothing and each forked process pays for its own imports.
"""

import argparse
import contextlib
import ctypes
import faulthandler
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import NoReturn

from finetune_api.contract import ExitCode
from finetune_api.events import TrainRequest, ZygoteReply, ZygoteRequest
from finetune_trainer import gpu_libraries

DEFAULT_ENTRY = "finetune_trainer.child:main"
MAX_REQUEST_BYTES = 1 << 16
_PR_SET_PDEATHSIG = 1

Entry = Callable[[TrainRequest, int, int], int]
"""What a forked process runs: request, event pipe's write end, command pipe's read end → exit status."""


def main() -> None:
    """Serves until the supervisor closes the socket."""
    options = _options()
    die_with_parent()
    _set_defaults()
    gpu_libraries.open_missing()
    control = socket.socket(fileno=options.socket_fd)
    control.set_inheritable(False)
    if sys.platform == "linux" and not options.cold:
        _preload(options.entry)
        if runtime_has_started():
            control.set_inheritable(True)
            os.execv(sys.executable, [*_command_line(), "--cold"])
    Zygote(control, options.entry).serve()


def _set_defaults() -> None:
    """For libraries that read them when they are imported."""
    # The banners of TensorFlow's libraries, one per process, tell the user nothing.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # L-BFGS works on vectors of thousands, where the threads of scipy's BLAS wait for one another longer than they
    # compute: 3.7 s against 0.9 s for a head on two cores, worse with more. TensorFlow's threads are its own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


class Zygote:
    """Forks on request and reports deaths; holds no state but the socket."""

    def __init__(self, control: socket.socket, entry: str) -> None:
        self._control = control
        self._entry = entry
        self._unread = b""
        self._fds: list[int] = []

    def serve(self) -> None:
        """Answers requests and reaps until the other end of the socket is closed."""
        with _child_deaths() as deaths, selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(deaths, selectors.EVENT_READ)
            self._reply(ZygoteReply(event="ready", pid=os.getpid()))
            while True:
                for key, _ in selector.select():
                    if key.fileobj is deaths:
                        _drain(deaths)
                        self._reap()
                    elif not self._receive():
                        return

    def _receive(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self._control, MAX_REQUEST_BYTES, 2)
        for fd in fds:
            os.set_inheritable(fd, False)
        self._fds += fds
        self._unread += data
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            events_fd, commands_fd, *self._fds = self._fds
            self._fork(ZygoteRequest.model_validate_json(line).fork, events_fd, commands_fd)
        return bool(data)

    def _fork(self, request: TrainRequest, events_fd: int, commands_fd: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        zygote = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._control.close()
            _run_child(self._entry, request, (events_fd, commands_fd), zygote)
        os.close(events_fd)
        os.close(commands_fd)
        self._reply(ZygoteReply(event="forked", pid=pid))

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return
                # Linux counts ru_maxrss in KiB, macOS in bytes.
                unit = 1024 if sys.platform == "linux" else 1
                exit_code = os.waitstatus_to_exitcode(status)
                self._reply(
                    ZygoteReply(
                        event="exited", pid=pid, status=exit_code, maxrss_bytes=usage.ru_maxrss * unit
                    )
                )

    def _reply(self, reply: ZygoteReply) -> None:
        self._control.sendall(reply.model_dump_json(by_alias=True).encode() + b"\n")


def runtime_has_started() -> bool:
    """Whether TensorFlow has threads and devices of its own, which no fork of this process would have."""
    eager = sys.modules.get("tensorflow.python.eager.context")
    return eager is not None and eager.context()._context_handle is not None


def die_with_parent() -> None:
    """Asks the kernel to kill this process when the thread that started it ends. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _run_child(entry: str, request: TrainRequest, fds: tuple[int, int], parent: int) -> NoReturn:
    """The forked process: never returns into the zygote's loop, whatever happens."""
    status: int = ExitCode.INTERNAL
    try:
        die_with_parent()
        # The zygote may have died between the fork and the request to die with it.
        if os.getppid() != parent:
            os._exit(ExitCode.TRY_AGAIN)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        faulthandler.enable()
        # A hung process is asked for the stacks of all its threads before it is killed.
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        status = _load(entry)(request, *fds)
    except SystemExit as leave:
        status = leave.code if isinstance(leave.code, int) else ExitCode.INTERNAL * bool(leave.code)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        # No interpreter shutdown: TensorFlow's threads may hang it, and nothing is left to clean up.
        os._exit(status)


def _preload(entry: str) -> None:
    """Imports what every training process needs; what is here is paid for once, not per generation."""
    importlib.import_module("tensorflow")
    importlib.import_module("keras")
    _load(entry)
    # Keeps the collector from writing to every object's header, which would copy all shared pages.
    gc.collect()
    gc.freeze()


def _load(entry: str) -> Entry:
    module, _, function = entry.partition(":")
    loaded: Entry = getattr(importlib.import_module(module), function)
    return loaded


@contextlib.contextmanager
def _child_deaths() -> Iterator[socket.socket]:
    """A socket that becomes readable whenever a child has ended."""
    readable, writable = socket.socketpair()
    with readable, writable:
        readable.setblocking(False)
        writable.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writable.fileno(), warn_on_full_buffer=False)
        yield readable


def _drain(readable: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while readable.recv(4096):
            pass


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Forks training processes for a supervisor.")
    parser.add_argument("socket_fd", type=int, help="this end of the supervisor's socket pair")
    parser.add_argument("--entry", default=DEFAULT_ENTRY, help="function to run in each forked process")
    parser.add_argument("--cold", action="store_true", help="import nothing before a fork")
    return parser.parse_args()


def _command_line() -> list[str]:
    return [sys.executable, "-m", "finetune_trainer.zygote", *sys.argv[1:]]


if __name__ == "__main__":
    main()
