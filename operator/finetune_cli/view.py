"""What is known about a local run at one moment, and what follows from it. Pure: no clock, no I/O."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from finetune_api.events import EpochEvent, Phase, Progress, WarningEvent

PhaseName = Literal["Starting", "Running", "Restarting", "Suspended", "Exporting", "Complete", "Failed"]
StageState = Literal["Pending", "Running", "Complete", "Failed"]

EXPORTING = frozenset({Phase.EXPORT, Phase.VERIFY, Phase.UPLOAD})


@dataclass(frozen=True)
class StageFacts:
    """A stage as the schedule says it."""

    name: str
    epochs: int
    learning_rate: float
    trainable_parameters: int | None
    """None until the number of classes is known."""
    trains: str
    """What is trained, such as: above block5b_add."""


@dataclass(frozen=True)
class Ending:
    """How the run ended."""

    phase: Literal["Complete", "Failed", "Suspended"]
    exit_code: int
    reason: str = ""
    message: str = ""
    worker: int | None = None
    model_uri: str | None = None
    version: int | None = None


@dataclass(frozen=True)
class RunView:
    """Everything that panel, lines and status are drawn from."""

    name: str
    namespace: str
    backbone: str
    workers: int
    stages: tuple[StageFacts, ...]
    started: datetime
    progress: Progress | None = None
    epochs: tuple[EpochEvent, ...] = ()
    """Over all starts of this run, in order."""
    warnings: tuple[WarningEvent, ...] = ()
    """Of all workers, each said once."""
    replaced: int = 0
    """Supervisors that were started again."""
    ending: Ending | None = None

    def seen(self, progress: Progress) -> "RunView":
        """This view after worker 0 reported `progress`."""
        epochs = merge_epochs(self.epochs, progress.epochs_log)
        return replace(
            self, progress=progress, epochs=epochs, warnings=add_warnings(self.warnings, progress.warnings)
        )


@dataclass(frozen=True)
class StageRow:
    """One stage as tables show it."""

    facts: StageFacts
    state: StageState
    epochs_done: int
    best: EpochEvent | None
    """The epoch with the best validation accuracy; training accuracy where nothing is validated."""
    seconds: float


def merge_epochs(known: Iterable[EpochEvent], new: Iterable[EpochEvent]) -> tuple[EpochEvent, ...]:
    """Both logs as one in order; an epoch that was run again counts as it was run last."""
    merged = {(event.stage, event.epoch): event for event in (*known, *new)}
    return tuple(merged[key] for key in sorted(merged))


def add_warnings(known: Iterable[WarningEvent], new: Iterable[WarningEvent]) -> tuple[WarningEvent, ...]:
    """Both lists, each warning once, in the order of their first appearance."""
    return tuple(dict.fromkeys((*known, *new)))


def score(event: EpochEvent) -> float:
    """What epochs are compared by."""
    return event.accuracy if event.val_accuracy is None else event.val_accuracy


def metric_name(event: EpochEvent) -> str:
    """Name of what `score` gives."""
    return "accuracy" if event.val_accuracy is None else "val_accuracy"


def best_epoch(epochs: Iterable[EpochEvent]) -> EpochEvent | None:
    """The first epoch with the highest score."""
    return max(epochs, key=score, default=None)


def phase(view: RunView) -> PhaseName:
    """The resource's phase."""
    if view.ending is not None:
        return view.ending.phase
    progress = view.progress
    if progress is None or progress.generation == 0:
        return "Restarting" if view.replaced else "Starting"
    if progress.workers_ready < progress.workers or progress.phase is None:
        return "Restarting"
    if progress.phase in EXPORTING:
        return "Exporting"
    if progress.phase is Phase.START:
        return "Starting" if progress.generation == 1 else "Restarting"
    return "Running"


def percent(view: RunView) -> int:
    """Share of all steps that are done; 100 only when the model is there."""
    if view.ending is not None and view.ending.phase == "Complete":
        return 100
    return min(99, view.progress.percent) if view.progress else 0


def restarts(view: RunView) -> int:
    """Generations after the first and supervisors that were started again, whichever saw more."""
    return max(view.replaced, view.progress.restarts if view.progress else 0)


def stage_rows(view: RunView) -> list[StageRow]:
    """Every stage of the schedule with what it has reached."""
    return [_stage_row(view, index, facts) for index, facts in enumerate(view.stages)]


def _stage_row(view: RunView, index: int, facts: StageFacts) -> StageRow:
    epochs = [event for event in view.epochs if event.stage == index]
    return StageRow(
        facts=facts,
        state=_stage_state(view, index),
        epochs_done=len(epochs),
        best=best_epoch(epochs),
        seconds=sum(event.seconds for event in epochs),
    )


def _stage_state(view: RunView, index: int) -> StageState:
    current = phase(view)
    if current in ("Complete", "Exporting"):
        return "Complete"
    at = _current_stage(view)
    if index != at:
        return "Complete" if index < at else "Pending"
    if current == "Failed":
        return "Failed"
    return "Running" if _has_begun(view, index) else "Pending"


def _current_stage(view: RunView) -> int:
    logged = view.epochs[-1].stage if view.epochs else 0
    return max(logged, view.progress.stage if view.progress else 0)


def _has_begun(view: RunView, index: int) -> bool:
    reported = view.progress is not None and view.progress.num_stages > 0 and view.progress.stage == index
    return reported or any(event.stage == index for event in view.epochs)
