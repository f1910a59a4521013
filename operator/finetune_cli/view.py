"""What is known about a local run at one moment, and what follows from it. Pure: no clock, no I/O."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from finetune_api import reported
from finetune_api.events import EpochEvent, Phase, WarningEvent
from finetune_api.progress import Progress
from finetune_api.reported import Reported, StageFacts, StageRow

PhaseName = Literal["Starting", "Running", "Restarting", "Suspended", "Exporting", "Complete", "Failed"]


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
        epochs = reported.merge_epochs(self.epochs, progress.epochs_log)
        return replace(
            self, progress=progress, epochs=epochs, warnings=add_warnings(self.warnings, progress.warnings)
        )


def add_warnings(known: Iterable[WarningEvent], new: Iterable[WarningEvent]) -> tuple[WarningEvent, ...]:
    """Both lists, each warning once, in the order of their first appearance."""
    return tuple(dict.fromkeys((*known, *new)))


def phase(view: RunView) -> PhaseName:
    """The resource's phase."""
    if view.ending is not None:
        return view.ending.phase
    progress = view.progress
    if progress is None or progress.generation == 0:
        return "Restarting" if view.replaced else "Starting"
    if progress.workers_ready < progress.workers or progress.phase is None:
        return "Restarting"
    if progress.phase in reported.EXPORTING:
        return "Exporting"
    if progress.phase is Phase.START:
        return "Starting" if progress.generation == 1 else "Restarting"
    return "Running"


def percent(view: RunView) -> int:
    """Share of all steps that are done; 100 only when the model is there."""
    return reported.percent(view.progress, phase(view))


def restarts(view: RunView) -> int:
    """Generations after the first and supervisors that were started again, whichever saw more."""
    return max(view.replaced, view.progress.restarts if view.progress else 0)


def reported_run(view: RunView) -> Reported:
    """The part of a view that a run on a cluster has too."""
    return Reported(phase(view), view.stages, view.progress, view.epochs)


def stage_rows(view: RunView) -> list[StageRow]:
    """Every stage of the schedule with what it has reached."""
    return reported.stage_rows(reported_run(view))
