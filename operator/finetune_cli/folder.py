"""The local folder of one run: logs, scratch space, reports and status. Models live elsewhere."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from finetune_api.errors import BadConfiguration, TryAgain

HOME_VARIABLE = "FINETUNE_HOME"


def home() -> Path:
    """Where local runs keep their folders: $FINETUNE_HOME, else ~/.cache/finetune."""
    chosen = os.environ.get(HOME_VARIABLE)
    return Path(chosen).absolute() if chosen else Path.home() / ".cache" / "finetune"


@dataclass(frozen=True)
class LocalFolder:
    """Names of the files in one run's folder."""

    root: Path

    @property
    def job(self) -> Path:
        """job.json as the supervisors read it."""
        return self.root / "job.json"

    @property
    def status(self) -> Path:
        """status.yaml, in the shape of the resource's status."""
        return self.root / "status.yaml"

    @property
    def epochs(self) -> Path:
        """One JSON line per finished epoch, over all starts of this run."""
        return self.root / "epochs.jsonl"

    @property
    def scratch_root(self) -> Path:
        """Parent of the workers' scratch folders: checkpoints in the making and the feature cache."""
        return self.root / "scratch"

    def log(self, index: int) -> Path:
        """What worker `index` prints."""
        return self.root / "logs" / f"worker-{index}.log"

    def scratch(self, index: int) -> Path:
        """Worker `index`'s scratch folder."""
        return self.scratch_root / f"worker-{index}"

    def termination(self, index: int) -> Path:
        """Where worker `index` leaves its TrainerReport."""
        return self.root / "termination" / f"worker-{index}.json"

    def prepare(self, workers: int) -> None:
        """Make the folders and drop the reports of an earlier start.

        Raises:
            BadConfiguration: the folder cannot be written.
        """
        try:
            for parent in ("logs", "termination"):
                (self.root / parent).mkdir(parents=True, exist_ok=True)
            for index in range(workers):
                self.scratch(index).mkdir(parents=True, exist_ok=True)
            for report in (self.root / "termination").iterdir():
                report.unlink()
        except OSError as error:
            raise _unwritable(self.root, error) from error

    def remove_scratch(self) -> None:
        """Free the space of the feature cache and of local checkpoints; the run is over."""
        shutil.rmtree(self.scratch_root, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold this run for this process; two at once would fight over its scratch space.

        Raises:
            TryAgain: another process holds it.
            BadConfiguration: the folder cannot be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / "run.lock").open("a+")
        except OSError as error:
            raise _unwritable(self.root, error) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise _held(self.root) from error
            yield


def _held(root: Path) -> TryAgain:
    return TryAgain(
        "AlreadyRunning",
        f"another `finetune run` is at work on this job (its folder is {root})",
        "one at a time",
        "wait for it, or stop it with Ctrl-C and run this command again",
    )


def _unwritable(root: Path, error: OSError) -> BadConfiguration:
    return BadConfiguration(
        "FolderNotWritable",
        f"cannot write the folder of this run, {root}: {error.strerror or error}",
        "a folder for logs, scratch space and status",
        f"set {HOME_VARIABLE} to a folder that you may write to",
    )
