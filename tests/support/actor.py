"""A training process without TensorFlow: counts in step with its peers, saves, resumes, leaves, fails on cue.

The supervisor under test treats it like any other: it is forked by the real zygote and speaks through the
real channel. `faults.json` beside the scratch folders says what it does wrong, and in which generation.
"""

import json
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from finetune_api.events import (
    CheckpointEvent,
    ChunkEvent,
    EpochEvent,
    ErrorEvent,
    FirstStepEvent,
    Phase,
    PlanEvent,
    ResultEvent,
    Role,
    StageEvent,
    TrainRequest,
)
from finetune_store.checkpoint import CheckpointStore
from finetune_store.checkpoint_index import checkpoint_id
from finetune_store.run_folder import RunFolder
from finetune_store.storage import open_store
from finetune_trainer.channel import Channel

STEPS_PER_EPOCH = 10
STEPS_BETWEEN_SAVES = 5
SECONDS_PER_STEP = 0.02


def main(request: TrainRequest, events_fd: int, commands_fd: int) -> int:
    """As `finetune_trainer.child.main`."""
    actor = Actor(request, Channel(events_fd, commands_fd))
    return {Role.TRAIN: actor.train, Role.EXPORT: actor.export, Role.PUBLISH: actor.publish}[request.role]()


def value_after(steps: int) -> int:
    """What the count of an uninterrupted run is after `steps`."""
    value = 1
    for step in range(steps):
        value = (31 * value + step) % 1_000_003
    return value


class Actor:
    """One process."""

    def __init__(self, request: TrainRequest, channel: Channel) -> None:
        self.request = request
        self.channel = channel
        self.folder = Path(request.scratch).parent
        self.job = json.loads(Path(request.job_path).read_text())
        store = open_store(self.job["job"]["spec"]["output"]["uri"])
        self.run = RunFolder(store, self.job["namespace"], self.job["name"], self.job["runId"])
        self.faults = [Fault(**fault) for fault in json.loads((self.folder / "faults.json").read_text())]

    def train(self) -> int:
        """Counts to the end of the only stage."""
        self.channel.phase(Phase.START)
        self._maybe_fail(-1)
        epochs = int(self.job["job"]["spec"]["stages"][0]["epochs"])
        self.channel.emit(
            PlanEvent(
                stages=["head"],
                epochs=[epochs],
                steps_per_epoch=STEPS_PER_EPOCH,
                global_batch_size=8,
                trainable_parameters=[11],
                unfrozen_from=[None],
            )
        )
        step, value = self._resume()
        self.channel.phase(Phase.STEP, 0, "head")
        while step < epochs * STEPS_PER_EPOCH:
            self._maybe_fail(step)
            value = (31 * value + step) % 1_000_003
            time.sleep(SECONDS_PER_STEP)
            leaving = self._all_agree(step)
            step += 1
            self._tell(step)
            if leaving or step % STEPS_BETWEEN_SAVES == 0:
                self._save(step, value)
            if leaving:
                return self._done(ResultEvent(result="Left"))
        self.channel.emit(StageEvent(stage=0, stage_name="head", reason="Completed"))
        if self.request.index == 0:
            self.run.mark_trained({"step": step, "value": value})
        return self._done(ResultEvent(result="Trained"))

    def export(self) -> int:
        """Writes its process id where `publish` finds it."""
        self.channel.phase(Phase.EXPORT)
        self._maybe_fail(-1)
        (Path(self.request.scratch) / "exported").write_text(str(os.getpid()))
        return self._done(ResultEvent(result="Exported"))

    def publish(self) -> int:
        """Commits from a process that did not export."""
        self.channel.phase(Phase.UPLOAD)
        self._maybe_fail(-1)
        assert (Path(self.request.scratch) / "exported").read_text() != str(os.getpid())
        document = {"modelUri": "file:///model/1", "version": 1, "metrics": {"val_accuracy": 0.5}}
        self.run.store.put(self.run.key("published.json"), json.dumps(document).encode())
        return self._done(ResultEvent(result="Published", model_uri="file:///model/1", version=1))

    def _done(self, result: ResultEvent) -> int:
        self.channel.emit(result)
        if self.request.role is Role.TRAIN and self.request.index > 0:
            self.channel.wait_for_end()
        return 0

    def _resume(self) -> tuple[int, int]:
        if self.request.checkpoint is None:
            return 0, 1
        arrays, state = self._checkpoints().load(self.request.checkpoint)
        step = state["step"]
        assert isinstance(step, int)
        return step, int(arrays["value"])

    def _save(self, step: int, value: int) -> None:
        if self.request.index:
            return
        checkpoints = self._checkpoints()
        id = checkpoint_id(step, 0, step // STEPS_PER_EPOCH, self.request.generation)
        info = checkpoints.save(id, {"value": np.array(value)}, {"step": step}, self.request.generation)
        checkpoints.wait()
        self.channel.emit(CheckpointEvent(id=id, global_step=step, bytes=info.bytes, seconds=0.01))

    def _checkpoints(self) -> CheckpointStore:
        return CheckpointStore(self.run, Path(self.request.scratch) / "checkpoints", 2)

    def _tell(self, step: int) -> None:
        epoch, within = divmod(step - 1, STEPS_PER_EPOCH)
        place = {
            "stage": 0,
            "stage_name": "head",
            "epoch": epoch,
            "global_step": step,
            "seconds": SECONDS_PER_STEP,
        }
        figures = {"loss": 1 / step, "accuracy": 0.5, "learning_rate": 0.1}
        if self.first:
            self.first = False
            self.channel.emit(FirstStepEvent(seconds=time.monotonic() - self.channel.started))
        self.channel.emit(
            ChunkEvent(**place, **figures, step=within + 1, steps=1, examples=8, data_wait=0.001)
        )
        if within + 1 == STEPS_PER_EPOCH:
            self.channel.emit(
                EpochEvent(**place, **figures, val_accuracy=0.25, val_loss=2.0, best=epoch == 0)
            )

    first = True

    def _all_agree(self, step: int) -> bool:
        """Whether anybody has to go: an all-reduce by way of files."""
        folder = self.folder / "lockstep" / f"{self.request.generation}-{step}"
        folder.mkdir(parents=True, exist_ok=True)
        mine = folder / f"{self.request.index}.tmp"
        mine.write_text("leave" if self.channel.leave_requested else "stay")
        mine.rename(mine.with_suffix(".said"))
        while len(said := list(folder.glob("*.said"))) < len(self.request.addresses):
            time.sleep(0.002)
        return any(path.read_text() == "leave" for path in said)

    def _maybe_fail(self, step: int) -> None:
        mine = (self.request.generation, self.request.index, self.request.role.value, step)
        for fault in self.faults:
            if (fault.generation or mine[0], fault.worker, fault.role, fault.step) == mine:
                self._fail(fault.does)

    def _fail(self, does: str) -> None:
        kind, _, detail = does.partition(":")
        if kind == "signal":
            os.kill(os.getpid(), signal.Signals[detail])
        elif kind == "exit":
            os._exit(int(detail))
        elif kind == "hang":
            threading.Event().wait()
        elif kind in ("wait", "stay"):
            while not (self.channel.leave_requested if kind == "stay" else (self.folder / detail).exists()):
                time.sleep(0.002)
        elif kind == "error":
            code, reason = detail.split(":")
            self.channel.emit(ErrorEvent(code=int(code), reason=reason, message=f"{reason} was asked for."))
            os._exit(int(code))


@dataclass(frozen=True)
class Fault:
    """Something to do wrong, once."""

    worker: int
    does: str
    """signal:SIGKILL, exit:3, hang, wait:file (beside the scratch folders), stay (until told to leave), or
    error:65:Reason."""
    step: int = -1
    """Before this step; -1 is the very start."""
    generation: int = 0
    """0: in every one."""
    role: str = "Train"
