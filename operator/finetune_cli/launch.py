"""Starts one supervisor of a local gang: its environment, its log file, its tie to this process."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from finetune_api.contract import Env
from finetune_cli import devices
from finetune_cli.folder import LocalFolder

SUPERVISOR = (sys.executable, "-m", "finetune_supervisor")

# Supervisors have sessions of their own, so that Ctrl-C reaches only this process, which then asks them
# to save and leave. Should this process be killed they must not stay behind: the kernel sends them SIGTERM
# (prctl 1 = PR_SET_PDEATHSIG; it survives exec). Not in preexec_fn, which is unsafe next to threads.
_TETHER = (
    "import ctypes, os, sys\n"
    "if sys.platform == 'linux': ctypes.CDLL(None).prctl(1, 15)\n"
    "if os.getppid() != int(sys.argv[1]): sys.exit(143)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


@dataclass(frozen=True)
class Layout:
    """Where the members of a local gang find one another and what they may use."""

    folder: LocalFolder
    addresses: tuple[str, ...]
    """TensorFlow servers, host:port, one per worker."""
    rendezvous: str
    http: tuple[str, ...]
    token: str
    threads: int
    gpus: tuple[str, ...] = ()

    @property
    def workers(self) -> int:
        """Members of the gang."""
        return len(self.addresses)


def layout(
    folder: LocalFolder, ports: Sequence[int], token: str, threads: int, gpus: Sequence[str]
) -> Layout:
    """The layout over loopback for 2 n + 1 `ports`, n the number of workers."""
    workers = len(ports) // 2
    addresses = [f"127.0.0.1:{port}" for port in ports]
    return Layout(
        folder=folder,
        addresses=tuple(addresses[:workers]),
        rendezvous=addresses[-1],
        http=tuple(addresses[workers : 2 * workers]),
        token=token,
        threads=threads,
        gpus=tuple(gpus),
    )


def environment(where: Layout, index: int, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of supervisor `index`: `inherited`, and what the contract asks for."""
    ours: dict[str, str] = {
        Env.JOB: str(where.folder.job),
        Env.INDEX: str(index),
        Env.ADDRESSES: ",".join(where.addresses),
        Env.RENDEZVOUS: where.rendezvous,
        Env.HTTP: where.http[index],
        Env.TOKEN: where.token,
        Env.SCRATCH: str(where.folder.scratch(index)),
        Env.TERMINATION: str(where.folder.termination(index)),
        Env.THREADS: str(where.threads),
        "PYTHONUNBUFFERED": "1",
    }
    gpus = devices.visible_gpus(list(where.gpus), where.workers, index)
    if gpus is not None:
        ours["CUDA_VISIBLE_DEVICES"] = gpus
    return {"TF_CPP_MIN_LOG_LEVEL": "3", **inherited, **ours}


def start(where: Layout, index: int, command: Sequence[str] = SUPERVISOR) -> subprocess.Popen[bytes]:
    """Supervisor `index` as a process in a session of its own, printing to its log file (appended)."""
    with where.folder.log(index).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _TETHER, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(where, index, os.environ),
            start_new_session=True,
        )
