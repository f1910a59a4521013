"""A local run as the resource's status. Pure: what is known in, FineTuneJobStatus out."""

from collections.abc import Iterator
from datetime import datetime
from math import isfinite
from typing import Literal, NamedTuple

from finetune_api.events import EpochEvent, Phase
from finetune_api.v1alpha1.status import (
    Artifacts,
    CheckpointStatus,
    Condition,
    ConditionType,
    FineTuneJobStatus,
    LastFailure,
    MetricValue,
    ProgressStatus,
    StageStatus,
    Summary,
    WorkersStatus,
)
from finetune_cli import view, wording
from finetune_cli.view import Ending, RunView, StageRow

_GENERATION = 1
"""A local job file has no metadata.generation; it is the first and only one."""
_STATUS: dict[bool | None, Literal["True", "False", "Unknown"]] = {
    True: "True",
    False: "False",
    None: "Unknown",
}
_LONGEST = 4096
_TEXT = 1024
_TRAINING = frozenset({Phase.STEP, Phase.EVALUATE, Phase.SAVE, Phase.BUILD, Phase.FEATURES})


class _Fact(NamedTuple):
    type: ConditionType
    holds: bool | None
    """None is Unknown."""
    reason: str
    message: str = ""


def build(shown: RunView, before: FineTuneJobStatus | None, run_id: str, now: datetime) -> FineTuneJobStatus:
    """The status at `now`; `before` is the one written last, whose transition times are kept."""
    return FineTuneJobStatus(
        observed_generation=_GENERATION,
        phase=view.phase(shown),
        summary=_summary(shown),
        start_time=timestamp(shown.started),
        completion_time=_completion_time(shown, before, now),
        run_id=run_id,
        progress=_progress(shown, now),
        stages=[_stage(row) for row in view.stage_rows(shown)],
        metrics=_metrics(shown),
        best_metric=_metric(view.best_epoch(shown.epochs)),
        workers=WorkersStatus(desired=shown.workers, ready=_ready(shown), restarts=view.restarts(shown)),
        checkpoint=_checkpoint(shown, now),
        artifacts=_artifacts(shown.ending),
        last_failure=_last_failure(shown.ending, now),
        warnings=[warning.message[:_TEXT] for warning in shown.warnings[:16]],
        conditions=_conditions(shown, before, now),
    )


def refused(ending: Ending, now: datetime) -> FineTuneJobStatus:
    """The status of a job that was refused before anything was started."""
    time = timestamp(now)
    fact = _Fact("Validated", False, ending.reason, ending.message)
    conditions = [fact, _Fact("Failed", True, ending.reason), _Fact("Finished", True, "Failed")]
    return FineTuneJobStatus(
        observed_generation=_GENERATION,
        phase="Failed",
        completion_time=time,
        last_failure=_last_failure(ending, now),
        conditions=[_condition(fact, None, time) for fact in conditions],
    )


def timestamp(moment: datetime) -> str:
    """RFC 3339 in whole seconds, as Kubernetes writes times."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _summary(shown: RunView) -> Summary:
    progress = shown.progress
    best = view.best_epoch(shown.epochs)
    going = progress if progress and progress.num_stages else None
    eta = progress.eta_seconds if progress and not shown.ending else None
    return Summary(
        stage=f"{progress.stage + 1}/{progress.num_stages} {progress.stage_name}"
        if progress and going
        else "",
        epoch=f"{progress.epoch}/{progress.epochs}" if progress and going else "",
        progress=f"{view.percent(shown)}%",
        eta="" if eta is None else wording.duration(eta),
        best=f"{view.metric_name(best)}={view.score(best):.4f}" if best else "",
        workers=f"{_ready(shown)}/{shown.workers}",
        reason=shown.ending.reason if shown.ending else "",
    )


def _completion_time(shown: RunView, before: FineTuneJobStatus | None, now: datetime) -> str | None:
    if shown.ending is None or shown.ending.phase == "Suspended":
        return None
    return (before.completion_time if before else None) or timestamp(now)


def _progress(shown: RunView, now: datetime) -> ProgressStatus:
    progress = shown.progress
    if progress is None:
        return ProgressStatus(percent=view.percent(shown))
    return ProgressStatus(
        percent=view.percent(shown),
        step=progress.global_step,
        steps=progress.steps_per_epoch * sum(stage.epochs for stage in shown.stages),
        epoch=progress.epoch,
        epochs=progress.epochs,
        eta_seconds=None if shown.ending else progress.eta_seconds,
        last_update_time=timestamp(now),
    )


def _stage(row: StageRow) -> StageStatus:
    return StageStatus(
        name=row.facts.name,
        state=row.state,
        epochs=row.facts.epochs,
        trainable_params=row.facts.trainable_parameters,
        lr=f"{row.facts.learning_rate:g}" if row.facts.learning_rate else None,
        best=_metric(row.best),
        seconds=round(row.seconds) if row.epochs_done else None,
    )


def _metrics(shown: RunView) -> list[MetricValue]:
    if not shown.epochs:
        return []
    last = shown.epochs[-1]
    figures = {
        "loss": last.loss,
        "accuracy": last.accuracy,
        "val_loss": last.val_loss,
        "val_accuracy": last.val_accuracy,
    }
    return [
        MetricValue(name=name, value=_number(value), stage=last.stage_name, epoch=last.epoch + 1)
        for name, value in figures.items()
        if value is not None and isfinite(value)
    ]


def _metric(best: EpochEvent | None) -> MetricValue | None:
    if best is None or not isfinite(view.score(best)):
        return None
    value = _number(view.score(best))
    return MetricValue(name=view.metric_name(best), value=value, stage=best.stage_name, epoch=best.epoch + 1)


def _number(value: float) -> str:
    return f"{value:.6g}"


def _ready(shown: RunView) -> int:
    return shown.progress.workers_ready if shown.progress and shown.ending is None else 0


def _checkpoint(shown: RunView, now: datetime) -> CheckpointStatus | None:
    progress = shown.progress
    if progress is None or progress.checkpoint is None or (shown.ending and shown.ending.phase == "Complete"):
        return None
    made = now.timestamp() - (progress.checkpoint_age_seconds or 0.0)
    step = progress.checkpoint.split("-")[0]
    return CheckpointStatus(
        uri=progress.checkpoint,
        step=int(step) if step.isdigit() else 0,
        time=timestamp(datetime.fromtimestamp(made, tz=now.tzinfo)),
    )


def _artifacts(ending: Ending | None) -> Artifacts | None:
    if ending is None or ending.model_uri is None:
        return None
    return Artifacts(model_uri=ending.model_uri, version=ending.version)


def _last_failure(ending: Ending | None, now: datetime) -> LastFailure | None:
    if ending is None or ending.phase != "Failed":
        return None
    return LastFailure(
        reason=ending.reason,
        worker=ending.worker,
        exit_code=ending.exit_code,
        message=ending.message[:_LONGEST],
        time=timestamp(now),
    )


def _facts(shown: RunView) -> Iterator[_Fact]:
    current = view.phase(shown)
    ended = shown.ending is not None
    progress = shown.progress
    gathered = progress is not None and progress.workers_ready >= progress.workers > 0
    training = progress is not None and progress.phase in _TRAINING and not ended
    yield _Fact("Validated", True, "Accepted")
    yield _Fact("Admitted", True, "Local", "a run on this machine waits for no queue")
    yield _Fact("WorkersReady", gathered and not ended, "Ready" if gathered and not ended else "NotReady")
    yield _Fact("Training", training, "Training" if training else current)
    saved = progress is not None and progress.checkpoint is not None
    yield _Fact("CheckpointHealthy", True if saved else None, "Saved" if saved else "NoneYet")
    yield _Fact("ModelExported", current == "Complete", "Published" if current == "Complete" else current)
    yield _Fact("ProgressAvailable", progress is not None, "Reported" if progress else "NotYet")
    yield _Fact("Complete", current == "Complete", current)
    why = shown.ending if shown.ending and current == "Failed" else None
    yield _Fact("Failed", why is not None, why.reason if why else current, why.message if why else "")
    yield _Fact("Finished", current in ("Complete", "Failed"), current)


def _conditions(shown: RunView, before: FineTuneJobStatus | None, now: datetime) -> list[Condition]:
    known = {condition.type: condition for condition in before.conditions} if before else {}
    return [_condition(fact, known.get(fact.type), timestamp(now)) for fact in _facts(shown)]


def _condition(fact: _Fact, before: Condition | None, now: str) -> Condition:
    status = _STATUS[fact.holds]
    changed = before is None or before.status != status
    return Condition(
        type=fact.type,
        status=status,
        reason=fact.reason,
        message=fact.message[:_LONGEST],
        last_transition_time=now if changed or before is None else before.last_transition_time,
        observed_generation=_GENERATION,
    )
