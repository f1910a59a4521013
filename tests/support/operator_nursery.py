"""A process that has imported the operator and forks one real operator process per request.

Importing costs most of a second; a fork costs milliseconds, and hundreds of operators are started in tests.
Requests are JSON lines on stdin, answers are JSON lines on stdout. It kills its children when stdin ends.
"""

import ctypes
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serves until stdin is closed."""
    from finetune_operator import main as operator

    children: set[int] = set()
    wake, notify = os.pipe()
    os.set_blocking(notify, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(notify, warn_on_full_buffer=False)
    _say({"ready": os.getpid()})
    unread = b""
    while True:
        readable, _, _ = select.select([0, wake], [], [])
        if wake in readable:
            os.read(wake, 4096)
            _reap(children)
        if 0 in readable:
            got = os.read(0, 1 << 16)
            if not got:
                break
            *lines, unread = (unread + got).split(b"\n")
            for line in lines:
                pid = _fork(operator, json.loads(line), (wake, notify))
                children.add(pid)
                _say({"started": pid})
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _fork(operator: Any, request: dict[str, Any], ours: tuple[int, int]) -> int:
    parent = os.getpid()
    if pid := os.fork():
        return pid
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for one in ours:
        os.close(one)
    output = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    code = 70
    try:
        code = operator.main(request["arguments"], request["environment"])
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _reap(children: set[int]) -> None:
    for pid in list(children):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            children.discard(pid)
            _say({"ended": pid, "status": os.waitstatus_to_exitcode(status)})


def _say(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2] / "operator")]
    main()
