"""Real lack of memory in one container: a process that joins its cgroup and takes what is left, until one is killed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import node_cgroups

_CHUNK_BYTES = 16 << 20
# What the kernel adds to the chosen process's size: it goes first.
_FIRST = 1000
_HOG = """
import os, pathlib, sys
cgroup, victim, chunk = pathlib.Path(sys.argv[1]), pathlib.Path("/proc", sys.argv[2]), int(sys.argv[3])
cgroup.write_text(str(os.getpid()))
held = []
def lives():
    try:
        return (victim / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
while lives():
    held.append(b"x" * chunk)
"""


def exhaust(cgroup: str, pod_uid: str, victim: int, within: float = 120.0) -> None:
    """Returns when the kernel has killed `victim`, a process of pod `pod_uid` below a node's `cgroup`."""
    Path("/proc", str(victim), "oom_score_adj").write_text(str(_FIRST))
    (procs,) = _of(cgroup, pod_uid, victim)
    command = [sys.executable, "-I", "-S", "-c", _HOG, str(procs), str(victim), str(_CHUNK_BYTES)]
    subprocess.run(command, timeout=within, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _of(cgroup: str, pod_uid: str, process: int) -> Iterator[Path]:
    root = node_cgroups.ROOT if node_cgroups.is_v2() else node_cgroups.ROOT / "memory"
    for procs in (root / cgroup).rglob("cgroup.procs"):
        if pod_uid in str(procs) and str(process) in procs.read_text().split():
            yield procs
