"""Duties of a process that is, or behaves like, PID 1: it inherits orphans and reaps them."""

import contextlib
import ctypes
import os
import sys

_PR_SET_CHILD_SUBREAPER = 36


def inherit_orphans() -> None:
    """Makes this process the parent of what its children leave behind, as PID 1 is anyway. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans(own: frozenset[int]) -> None:
    """Reaps ended children but for those in `own`, which somebody is waiting for."""
    with contextlib.suppress(ChildProcessError):
        while True:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid in own:
                return
            os.waitpid(ended.si_pid, os.WNOHANG)
