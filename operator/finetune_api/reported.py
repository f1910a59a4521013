"""From what worker 0 reports to the resource's status: pure, the same for a local run and on a cluster."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import ceil, isfinite
from typing import Literal, NamedTuple

from finetune_api.events import EpochEvent, Phase
from finetune_api.progress import Progress
from finetune_api.v1alpha1.status import (
    CheckpointStatus,
    Condition,
    ConditionType,
    JobPhase,
    MetricValue,
    ProgressStatus,
    StageState,
    StageStatus,
)

EXPORTING = frozenset({Phase.EXPORT, Phase.VERIFY, Phase.UPLOAD})
TRAINING = frozenset({Phase.STEP, Phase.EVALUATE, Phase.SAVE, Phase.BUILD, Phase.FEATURES})
MESSAGE_LIMIT = 4096
"""Characters of a message in the status."""
TEXT_LIMIT = 1024
"""Characters of a warning or hint in the status."""
_STATUS: dict[bool | None, Literal["True", "False", "Unknown"]] = {
    True: "True",
    False: "False",
    None: "Unknown",
}


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
    unfrozen_from: str | None = None
    """Lowest layer of the backbone that is trained; None for a head alone, and until the trainer has said."""


@dataclass(frozen=True)
class Reported:
    """What is known about the training of one run."""

    phase: JobPhase
    stages: tuple[StageFacts, ...]
    progress: Progress | None = None
    epochs: tuple[EpochEvent, ...] = ()
    """Finished epochs in order."""


@dataclass(frozen=True)
class StageRow:
    """One stage as tables show it."""

    facts: StageFacts
    state: StageState
    epochs_done: int
    best: EpochEvent | None
    """The epoch with the best validation accuracy; training accuracy where nothing is validated."""
    seconds: float


class Fact(NamedTuple):
    """What one condition says."""

    type: ConditionType
    holds: bool | None
    """None is Unknown."""
    reason: str
    message: str = ""


def merge_epochs(known: Iterable[EpochEvent], new: Iterable[EpochEvent]) -> tuple[EpochEvent, ...]:
    """Both logs as one in order; an epoch that was run again counts as it was run last."""
    merged = {(event.stage, event.epoch): event for event in (*known, *new)}
    return tuple(merged[key] for key in sorted(merged))


def score(event: EpochEvent) -> float:
    """What epochs are compared by."""
    return event.accuracy if event.val_accuracy is None else event.val_accuracy


def metric_name(event: EpochEvent) -> str:
    """Name of what `score` gives."""
    return "accuracy" if event.val_accuracy is None else "val_accuracy"


def best_epoch(epochs: Iterable[EpochEvent]) -> EpochEvent | None:
    """The first epoch with the highest score."""
    return max(epochs, key=score, default=None)


def percent(progress: Progress | None, phase: JobPhase) -> int:
    """Share of all steps that are done; 100 only when the model is there."""
    if phase == "Complete":
        return 100
    return min(99, progress.percent) if progress else 0


def stage_rows(run: Reported) -> list[StageRow]:
    """Every stage of the schedule with what it has reached."""
    return [_stage_row(run, index, facts) for index, facts in enumerate(run.stages)]


def stage_status(row: StageRow) -> StageStatus:
    """A stage as the resource shows it."""
    return StageStatus(
        name=row.facts.name,
        state=row.state,
        epochs=row.facts.epochs,
        trainable_params=row.facts.trainable_parameters,
        unfrozen_from=row.facts.unfrozen_from,
        lr=f"{row.facts.learning_rate:g}" if row.facts.learning_rate else None,
        best=metric(row.best),
        seconds=round(row.seconds) if row.epochs_done else None,
    )


def progress_status(run: Reported, ended: bool, now: datetime) -> ProgressStatus:
    """How far the run is; `now` is when it was heard."""
    progress = run.progress
    if progress is None:
        return ProgressStatus(percent=percent(progress, run.phase))
    return ProgressStatus(
        percent=percent(progress, run.phase),
        step=progress.global_step,
        steps=progress.steps_per_epoch * sum(stage.epochs for stage in run.stages),
        epoch=progress.epoch,
        epochs=progress.epochs,
        eta_seconds=None if ended else progress.eta_seconds,
        last_update_time=timestamp(now),
    )


def metrics(epochs: tuple[EpochEvent, ...]) -> list[MetricValue]:
    """The figures of the newest epoch, but for those that are no numbers."""
    if not epochs:
        return []
    last = epochs[-1]
    figures = {
        "loss": last.loss,
        "accuracy": last.accuracy,
        "val_loss": last.val_loss,
        "val_accuracy": last.val_accuracy,
    }
    return [
        MetricValue(name=name, value=number(value), stage=last.stage_name, epoch=last.epoch + 1)
        for name, value in figures.items()
        if value is not None and isfinite(value)
    ]


def metric(best: EpochEvent | None) -> MetricValue | None:
    """The score of an epoch; None when there is none, or no number."""
    if best is None or not isfinite(score(best)):
        return None
    value = number(score(best))
    return MetricValue(name=metric_name(best), value=value, stage=best.stage_name, epoch=best.epoch + 1)


def checkpoint(progress: Progress | None, now: datetime) -> CheckpointStatus | None:
    """The newest whole checkpoint; None before the first."""
    if progress is None or progress.checkpoint is None:
        return None
    made = now.timestamp() - (progress.checkpoint_age_seconds or 0.0)
    step = progress.checkpoint.split("-")[0]
    return CheckpointStatus(
        uri=progress.checkpoint,
        step=int(step) if step.isdigit() else 0,
        time=timestamp(datetime.fromtimestamp(made, tz=UTC)),
    )


def stage_column(progress: Progress | None) -> str:
    """Such as 2/2 finetune; empty before there is a plan."""
    if progress is None or not progress.num_stages:
        return ""
    return f"{progress.stage + 1}/{progress.num_stages} {progress.stage_name}"


def epoch_column(progress: Progress | None) -> str:
    """Such as 4/10; empty before there is a plan."""
    return f"{progress.epoch}/{progress.epochs}" if progress and progress.num_stages else ""


def eta_column(seconds: float | None) -> str:
    """Such as 45s, 14m or 1h12m; empty where it is not known."""
    if seconds is None:
        return ""
    return duration(seconds) if seconds >= 60 else f"{ceil(seconds)}s"


def best_column(best: EpochEvent | None) -> str:
    """Such as val_acc=0.943; empty before the first epoch."""
    return metric_column(metric_name(best), score(best)) if best else ""


def metric_column(name: str, value: float) -> str:
    """Short, as `kubectl get` has eight more columns for its 100 characters."""
    return f"{name.replace('accuracy', 'acc')}={value:.3f}"


def conditions(
    facts: Iterable[Fact], before: Iterable[Condition], generation: int, now: datetime
) -> list[Condition]:
    """One condition for each fact; those of `before` lend their transition times."""
    known = {condition.type: condition for condition in before}
    return [_condition(fact, known.get(fact.type), generation, now) for fact in facts]


def timestamp(moment: datetime) -> str:
    """RFC 3339 in whole seconds, as Kubernetes writes times."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def number(value: float) -> str:
    """A figure as the status shows it."""
    return f"{value:.6g}"


def duration(seconds: float) -> str:
    """12 s, 14m, 1h12m: at most two units."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m"


def _stage_row(run: Reported, index: int, facts: StageFacts) -> StageRow:
    epochs = [event for event in run.epochs if event.stage == index]
    seconds = sum(event.seconds for event in epochs)
    known = _planned(run.progress, index, facts)
    return StageRow(known, _stage_state(run, index), len(epochs), best_epoch(epochs), seconds)


def _planned(progress: Progress | None, index: int, facts: StageFacts) -> StageFacts:
    """The facts, with what the trainer alone knows: it has the graph, and has counted the classes."""
    if progress is None or index >= len(progress.unfrozen_from):
        return facts
    parameters = progress.trainable_parameters[index]
    return replace(facts, trainable_parameters=parameters, unfrozen_from=progress.unfrozen_from[index])


def _stage_state(run: Reported, index: int) -> StageState:
    if run.phase in ("Complete", "Exporting"):
        return "Complete"
    at = _current_stage(run)
    if index != at:
        return "Complete" if index < at else "Pending"
    if run.phase == "Failed":
        return "Failed"
    return "Running" if _has_begun(run, index) else "Pending"


def _current_stage(run: Reported) -> int:
    logged = run.epochs[-1].stage if run.epochs else 0
    return max(logged, run.progress.stage if run.progress else 0)


def _has_begun(run: Reported, index: int) -> bool:
    progress = run.progress
    reported = progress is not None and progress.num_stages > 0 and progress.stage == index
    return reported or any(event.stage == index for event in run.epochs)


def _condition(fact: Fact, before: Condition | None, generation: int, now: datetime) -> Condition:
    status = _STATUS[fact.holds]
    message = fact.message[:MESSAGE_LIMIT]
    kept = before is not None and before.status == status
    if before is not None and kept and _says(before) == (fact.reason, message, generation):
        return before
    return Condition(
        type=fact.type,
        status=status,
        reason=fact.reason,
        message=message,
        last_transition_time=before.last_transition_time if before and kept else timestamp(now),
        observed_generation=generation,
    )


def _says(condition: Condition) -> tuple[str, str, int]:
    return condition.reason, condition.message, condition.observed_generation
