"""Saves, and leaves, at the same step on every worker.

Each worker's wishes (leave, save) ride in a small control vector that is all-reduced once per chunk: so all
workers learn them at the same step, and the chief's checkpoint is of that step.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune_api.events import Phase
from finetune_store.checkpoint import CheckpointStore
from finetune_store.checkpoint_index import checkpoint_id
from finetune_trainer.channel import Channel
from finetune_trainer.state import RunState

LEAVE, SAVE, SECONDS = range(3)


class LeaveError(Exception):
    """Somebody has to go and the state is saved: this generation ends here, on every worker."""


@dataclass
class Keeper:
    """Decides when this worker saves. `checkpoints` is None on every worker but the chief."""

    channel: Channel
    checkpoints: CheckpointStore | None
    interval: float
    generation: int
    _last: float = 0.0

    def __post_init__(self) -> None:
        self._last = time.monotonic()

    def control(self, seconds_per_step: float) -> NDArray[np.float64]:
        """This worker's share of the control vector; it is the chief's clock that says when to save."""
        due = self.checkpoints is not None and time.monotonic() - self._last >= self.interval
        wanted = due or self.channel.save_requested
        return np.array([float(self.channel.leave_requested), float(wanted), seconds_per_step])

    def after_chunk(self, control: NDArray[np.float64], capture: Callable[[], RunState]) -> None:
        """Act on the reduced control vector; `capture` brings the state up to date, on every worker alike."""
        leaving, wanted = control[LEAVE] > 0, control[SAVE] > 0
        if wanted:
            self.channel.clear_save()
        if leaving or wanted:
            self.save(capture())
        if leaving:
            self.finish()
            raise LeaveError

    def save(self, state: RunState) -> None:
        """A checkpoint now; training goes on while it is uploaded."""
        self._last = time.monotonic()
        if self.checkpoints is None:
            return
        self.channel.phase(Phase.SAVE, state.stage)
        name = checkpoint_id(state.global_step, state.stage, state.epoch, self.generation)
        self.checkpoints.save(name, *state.to_checkpoint(), self.generation)

    def finish(self) -> None:
        """Wait until the last checkpoint is in the run folder."""
        if self.checkpoints is not None:
            self.checkpoints.wait(tick=self.channel.tick)
