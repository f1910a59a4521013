"""Programs that run beside the tests and never outlive them."""

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

# The kernel kills the program when the thread that started it ends, however that came about (prctl 1 is
# PR_SET_PDEATHSIG; it survives exec). So all are started by one thread, which lives as long as this process does.
_STARTER = ThreadPoolExecutor(1, thread_name_prefix="starter")
_TETHER = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "if os.getppid() != int(sys.argv[1]): sys.exit(143)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)
# Below the range from which the kernel takes ports for outgoing connections, so that a port stays free while the
# program that listens on it is restarted.
_PORTS = range(20000, 32000)


class Daemon:
    """One program with its log file; it can be started again after it ended."""

    def __init__(
        self, command: Sequence[str | Path], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        self._command = [str(part) for part in command]
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running program."""
        assert self._process, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Returns at once; what the program says is appended to its log."""
        tether = [sys.executable, "-I", "-S", "-c", _TETHER, str(os.getpid()), *self._command]
        with self.log.open("ab") as output:
            self._process = _STARTER.submit(self._popen, tether, output.fileno()).result()

    def _popen(self, command: Sequence[str], output: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            command, env=self._env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )

    def stop(self, number: int = signal.SIGTERM, patience: float = 10.0) -> None:
        """Sends the signal and waits for the end; kills after `patience` seconds."""
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=patience)

    def kill(self) -> None:
        """As a power cut does."""
        self.stop(signal.SIGKILL)

    def log_tail(self, lines: int = 12) -> str:
        """The end of the log, for a message."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])


def free_ports(count: int) -> list[int]:
    """Ports of loopback on which nothing listens now."""
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports")
