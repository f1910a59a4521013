"""The gang with real processes: a small program in the supervisor's place that ends as it is told to."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from finetune_api.contract import Env
from finetune_cli import launch, ports
from finetune_cli.folder import LocalFolder
from finetune_cli.local_gang import LocalGang, Loss
from waiting import eventually

# Ends with the exit code that its start number finds in codes-<index>; without one it waits for SIGTERM.
PROGRAM = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
index = os.environ["FINETUNE_WORKER_INDEX"]
folder = pathlib.Path(sys.argv[1])
starts = folder / f"starts-{index}"
count = starts.stat().st_size if starts.exists() else 0
with starts.open("a") as file:
    file.write("x")
codes = (folder / f"codes-{index}").read_text().split()
print("start", count, flush=True)
if count < len(codes):
    sys.exit(int(codes[count]))
(folder / f"waiting-{index}").touch()
while True:  # not signal.pause, which a signal that has just come does not end
    time.sleep(0.1)
"""

STARTS_ONE_AND_IS_KILLED = """
import os, random, signal, sys, time
from pathlib import Path
from finetune_cli import launch, ports
from finetune_cli.folder import LocalFolder
where = launch.layout(LocalFolder(Path({root!r})), ports.free_ports(3, random.Random(2)), "secret", 1, [])
launch.start(where, 0, [sys.executable, "-c", {program!r}, {folder!r}])
while not Path({folder!r}, "waiting-0").exists():
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""


class Played:
    """A gang whose members end with the given codes, one per start, and then wait."""

    def __init__(self, folder: Path, codes: list[str], limit: int = 5):
        self.folder = folder
        for index, text in enumerate(codes):
            (folder / f"codes-{index}").write_text(text)
        local = LocalFolder(folder / "run")
        local.prepare(len(codes))
        free = ports.free_ports(2 * len(codes) + 1, random.Random(1))
        self.where = launch.layout(local, free, "secret", 1, [])
        command = [sys.executable, "-c", PROGRAM, str(folder)]
        self.gang = LocalGang(lambda index: launch.start(self.where, index, command), len(codes), limit)
        self.lost = []
        self.clock = 0.0

    def step(self):
        # The gang's clock runs ahead of the real one, so that delays cost nothing here.
        self.clock += 5.0
        self.lost += self.gang.step(self.clock)

    def until(self, holds):
        def stepped():
            self.step()
            return holds()

        eventually(stepped)

    def is_waiting(self, index):
        return (self.folder / f"waiting-{index}").exists()

    def starts(self, index):
        return (self.folder / f"starts-{index}").stat().st_size


@pytest.fixture
def play(tmp_path):
    played = []

    def start(*codes, limit=5):
        played.append(Played(tmp_path, list(codes), limit))
        return played[-1]

    yield start
    for each in played:
        each.gang.kill()


def test_worker_0_leaving_with_0_ends_the_job_well(play):
    played = play("0", "")
    played.until(lambda: played.gang.outcome)
    assert played.gang.outcome.code == 0


def test_another_worker_leaving_with_0_is_not_started_again(play):
    played = play("", "0")
    played.until(lambda: played.gang.codes()[1] == 0 and played.is_waiting(0))
    played.step()
    assert (played.starts(1), played.gang.outcome) == (1, None)


def test_a_killed_worker_is_started_again_with_the_same_place(play):
    played = play("", "")
    played.until(lambda: played.is_waiting(1))
    (played.folder / "waiting-1").unlink()
    pid = played.gang._members[1].process.pid
    os.kill(pid, signal.SIGKILL)
    played.until(lambda: played.is_waiting(1))
    assert (played.starts(1), played.gang.replaced) == (2, 1)
    assert played.lost == [Loss(worker=1, code=137, delay=0.5)]
    log = played.where.folder.log(1).read_text()
    assert log == "start 0\nstart 1\n"


def test_a_permanent_code_ends_the_job_and_names_the_worker(play):
    played = play("", "65")
    played.until(lambda: played.gang.outcome)
    outcome = played.gang.outcome
    assert (outcome.code, outcome.worker, outcome.worker_code) == (65, 1, 65)


def test_crash_after_crash_ends_the_job_with_69(play):
    played = play("", "70 70 70", limit=2)
    played.until(lambda: played.gang.outcome)
    outcome = played.gang.outcome
    assert (outcome.code, outcome.reason, outcome.worker_code) == (69, "BackoffLimitExceeded", 70)
    assert played.starts(1) == 3


def test_progress_forgives_earlier_crashes(play):
    played = play("", "70 70", limit=1)
    played.until(lambda: played.gang.replaced == 1)
    played.gang.got_on()
    played.until(lambda: played.is_waiting(1))
    assert (played.starts(1), played.gang.outcome) == (3, None)


def test_losses_that_are_nobodys_fault_are_not_counted(play):
    played = play("75 143 75", "", limit=0)
    played.until(lambda: played.is_waiting(0))
    assert (played.starts(0), played.gang.outcome) == (4, None)


def test_terminate_asks_everybody_and_starts_nobody_again(play):
    played = play("", "")
    played.until(lambda: played.is_waiting(0) and played.is_waiting(1))
    played.gang.terminate()
    eventually(played.gang.reap)
    played.step()
    assert (played.gang.codes(), played.starts(0)) == ([143, 143], 1)


def test_a_supervisor_does_not_outlive_the_command(tmp_path):
    folder = LocalFolder(tmp_path / "run")
    folder.prepare(1)
    (tmp_path / "codes-0").write_text("")
    script = STARTS_ONE_AND_IS_KILLED.format(root=str(folder.root), program=PROGRAM, folder=str(tmp_path))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", script], env=env)
    assert ended.returncode == -signal.SIGKILL
    # The log is held open by the orphan alone; once it is gone nobody has the file open.
    eventually(lambda: not _has_open(folder.log(0)))


def _has_open(path: Path) -> bool:
    return any(path in _open_files(process) for process in Path("/proc").glob("[0-9]*"))


def _open_files(process: Path) -> list[Path]:
    files = []
    # It, or any of its files, may be gone between two looks.
    with contextlib.suppress(OSError):
        for link in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                files.append(link.readlink())
    return files


def test_environment_of_a_worker(tmp_path):
    where = launch.layout(LocalFolder(tmp_path), [7001, 7002, 7003, 7004, 7005], "secret", 3, ["0", "1"])
    found = launch.environment(where, 1, {"PATH": "/bin", "TF_CPP_MIN_LOG_LEVEL": "0"})
    assert found == {
        "PATH": "/bin",
        "TF_CPP_MIN_LOG_LEVEL": "0",
        "PYTHONUNBUFFERED": "1",
        "CUDA_VISIBLE_DEVICES": "1",
        Env.JOB: str(tmp_path / "job.json"),
        Env.INDEX: "1",
        Env.ADDRESSES: "127.0.0.1:7001,127.0.0.1:7002",
        Env.RENDEZVOUS: "127.0.0.1:7005",
        Env.HTTP: "127.0.0.1:7004",
        Env.TOKEN: "secret",
        Env.SCRATCH: str(tmp_path / "scratch" / "worker-1"),
        Env.TERMINATION: str(tmp_path / "termination" / "worker-1.json"),
        Env.THREADS: "3",
    }
