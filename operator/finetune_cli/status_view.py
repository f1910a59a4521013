"""A local run as the resource's status. Pure: what is known in, FineTuneJobStatus out."""

from collections.abc import Iterator
from datetime import UTC, datetime

from finetune_api import errors, reported
from finetune_api.progress import ProcessFailure, Progress
from finetune_api.reported import Fact
from finetune_api.v1alpha1.status import (
    Artifacts,
    CheckpointStatus,
    FineTuneJobStatus,
    LastFailure,
    Summary,
    WorkersStatus,
)
from finetune_cli import view
from finetune_cli.view import Ending, RunView

_GENERATION = 1
"""A local job file has no metadata.generation; it is the first and only one."""


def build(shown: RunView, before: FineTuneJobStatus | None, run_id: str, now: datetime) -> FineTuneJobStatus:
    """The status at `now`; `before` is the one written last, whose transition times are kept."""
    run = view.reported_run(shown)
    known = before.conditions if before else []
    return FineTuneJobStatus(
        observed_generation=_GENERATION,
        phase=run.phase,
        summary=_summary(shown),
        start_time=reported.timestamp(shown.started),
        completion_time=_completion_time(shown, before, now),
        run_id=run_id,
        progress=reported.progress_status(run, shown.ending is not None, now),
        stages=[reported.stage_status(row) for row in reported.stage_rows(run)],
        metrics=reported.metrics(shown.epochs),
        best_metric=reported.metric(reported.best_epoch(shown.epochs)),
        workers=WorkersStatus(desired=shown.workers, ready=_ready(shown), restarts=view.restarts(shown)),
        checkpoint=_checkpoint(shown, now),
        artifacts=_artifacts(shown.ending),
        last_failure=_last_failure(shown.ending, now) or _outlived(shown.progress),
        warnings=[warning.message[: reported.TEXT_LIMIT] for warning in shown.warnings[:16]],
        conditions=reported.conditions(_facts(shown), known, _GENERATION, now),
    )


def refused(ending: Ending, now: datetime) -> FineTuneJobStatus:
    """The status of a job that was refused before anything was started."""
    facts = [
        Fact("Validated", False, ending.reason, ending.message),
        Fact("Failed", True, ending.reason),
        Fact("Finished", True, "Failed"),
    ]
    return FineTuneJobStatus(
        observed_generation=_GENERATION,
        phase="Failed",
        completion_time=reported.timestamp(now),
        last_failure=_last_failure(ending, now),
        conditions=reported.conditions(facts, [], _GENERATION, now),
    )


def _summary(shown: RunView) -> Summary:
    progress = shown.progress
    eta = progress.eta_seconds if progress and not shown.ending else None
    return Summary(
        stage=reported.stage_column(progress),
        epoch=reported.epoch_column(progress),
        progress=f"{view.percent(shown)}%",
        eta=reported.eta_column(eta),
        best=reported.best_column(reported.best_epoch(shown.epochs)),
        workers=f"{_ready(shown)}/{shown.workers}",
        reason=shown.ending.reason if shown.ending else "",
    )


def _completion_time(shown: RunView, before: FineTuneJobStatus | None, now: datetime) -> str | None:
    if shown.ending is None or shown.ending.phase == "Suspended":
        return None
    return (before.completion_time if before else None) or reported.timestamp(now)


def _ready(shown: RunView) -> int:
    return shown.progress.workers_ready if shown.progress and shown.ending is None else 0


def _checkpoint(shown: RunView, now: datetime) -> CheckpointStatus | None:
    if shown.ending and shown.ending.phase == "Complete":
        return None
    return reported.checkpoint(shown.progress, now)


def _artifacts(ending: Ending | None) -> Artifacts | None:
    if ending is None or ending.model_uri is None:
        return None
    return Artifacts(model_uri=ending.model_uri, version=ending.version)


def _last_failure(ending: Ending | None, now: datetime) -> LastFailure | None:
    if ending is None or ending.phase != "Failed":
        return None
    return _told(ending, now)


def _outlived(progress: Progress | None) -> LastFailure | None:
    """The newest failure that the run went on after."""
    said = progress.last_failure if progress else None
    if said is None:
        return None
    return _told(said, datetime.fromtimestamp(said.time, UTC))


def _told(failed: Ending | ProcessFailure, when: datetime) -> LastFailure:
    message, hint = errors.split_hint(failed.message)
    return LastFailure(
        reason=failed.reason,
        worker=failed.worker,
        exit_code=failed.exit_code,
        message=message[: reported.MESSAGE_LIMIT],
        hint=hint[: reported.TEXT_LIMIT],
        time=reported.timestamp(when),
    )


def _facts(shown: RunView) -> Iterator[Fact]:
    current = view.phase(shown)
    ended = shown.ending is not None
    progress = shown.progress
    gathered = progress is not None and progress.workers_ready >= progress.workers > 0
    training = progress is not None and progress.phase in reported.TRAINING and not ended
    yield Fact("Validated", True, "Accepted")
    yield Fact("Admitted", True, "Local", "a run on this machine waits for no queue")
    yield Fact("WorkersReady", gathered and not ended, "Ready" if gathered and not ended else "NotReady")
    yield Fact("Training", training, "Training" if training else current)
    saved = progress is not None and progress.checkpoint is not None
    yield Fact("CheckpointHealthy", True if saved else None, "Saved" if saved else "NoneYet")
    yield Fact("ModelExported", current == "Complete", "Published" if current == "Complete" else current)
    yield Fact("ProgressAvailable", progress is not None, "Reported" if progress else "NotYet")
    yield Fact("Complete", current == "Complete", current)
    why = shown.ending if shown.ending and current == "Failed" else None
    yield Fact("Failed", why is not None, why.reason if why else current, why.message if why else "")
    yield Fact("Finished", current in ("Complete", "Failed"), current)
