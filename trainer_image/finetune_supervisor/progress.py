"""From events to `Progress`: pure. The whole of `GET /progress` but for what only the clock knows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from finetune_api.events import (
    CheckpointEvent,
    ChunkEvent,
    EpochEvent,
    Event,
    PhaseEvent,
    PlanEvent,
    ResultEvent,
    StageEvent,
    TickEvent,
    WarningEvent,
)
from finetune_api.progress import Progress
from finetune_supervisor.messages import Start

ETA_SAMPLES = 30
"""Latest (time, steps done) pairs that the remaining time is extrapolated from."""
MAX_WARNINGS = 50


@dataclass(frozen=True)
class View:
    """How far the run is. Times are monotonic seconds."""

    progress: Progress
    plan: PlanEvent | None = None
    samples: tuple[tuple[float, int], ...] = ()
    """(time, steps of the whole schedule that lie behind)."""
    highest_step: int = 0
    """Highest global step any generation has reached; a step up to it is a repetition."""
    saved_at: float | None = None


def started(view: View, order: Start) -> View:
    """The view when a generation starts."""
    update = {
        "generation": order.generation,
        "restarts": max(view.progress.restarts, order.restarts),
        "checkpoint": order.checkpoint or view.progress.checkpoint,
        "phase": None,
        "tick": 0,
        "tick_total": 0,
    }
    return _with(replace(view, samples=()), **update)


def after(view: View, event: Event, now: float) -> View:
    """The view once the training process has said `event`."""
    handler = _HANDLERS.get(type(event))
    return handler(view, event, now) if handler else view


def at(view: View, now: float) -> Progress:
    """The progress to show at `now`."""
    age = None if view.saved_at is None else round(now - view.saved_at, 1)
    return view.progress.model_copy(update={"checkpoint_age_seconds": age})


def _plan(view: View, event: PlanEvent, _: float) -> View:
    told = {
        name: getattr(event, name) for name in ("steps_per_epoch", "trainable_parameters", "unfrozen_from")
    }
    view = _with(replace(view, plan=event), num_stages=len(event.stages), **told)
    return _in_stage(view, view.progress.stage, view.progress.stage_name)


def _phase(view: View, event: PhaseEvent, _: float) -> View:
    view = _with(view, phase=event.phase, tick=0, tick_total=0)
    return _in_stage(view, event.stage, event.stage_name) if event.stage_name else view


def _tick(view: View, event: TickEvent, _: float) -> View:
    return _with(view, tick=event.done, tick_total=event.total)


def _chunk(view: View, event: ChunkEvent, now: float) -> View:
    view = _in_stage(view, event.stage, event.stage_name)
    view = replace(view, highest_step=max(view.highest_step, event.global_step))
    view = _with(view, epoch=event.epoch + 1, step=event.step, global_step=event.global_step)
    return _moved(view, _behind(view, event.stage, event.epoch, event.step), now)


def _epoch(view: View, event: EpochEvent, now: float) -> View:
    view = _in_stage(view, event.stage, event.stage_name)
    log = [row for row in view.progress.epochs_log if (row.stage, row.epoch) != (event.stage, event.epoch)]
    update: dict[str, Any] = {"epochs_log": [*log, event], "epoch": event.epoch + 1}
    if event.best:
        update["best_metric"] = _best(event)
    return _moved(_with(view, **update), _behind(view, event.stage, event.epoch + 1, 0), now)


def _stage(view: View, event: StageEvent, now: float) -> View:
    view = _in_stage(view, event.stage, event.stage_name)
    # Early stopping skips the stage's remaining epochs: they lie behind all the same.
    return _moved(view, _behind(view, event.stage + 1, 0, 0), now)


def _checkpoint(view: View, event: CheckpointEvent, now: float) -> View:
    return _with(replace(view, saved_at=now), checkpoint=event.id)


def _warning(view: View, event: WarningEvent, _: float) -> View:
    known = view.progress.warnings
    return view if event in known else _with(view, warnings=[*known, event][-MAX_WARNINGS:])


def _result(view: View, event: ResultEvent, _: float) -> View:
    if event.result == "Trained":
        return _with(view, eta_seconds=None)
    return _with(view, percent=100, eta_seconds=0) if event.result == "Published" else view


def _in_stage(view: View, stage: int, name: str) -> View:
    epochs = view.plan.epochs[stage] if view.plan and stage < len(view.plan.epochs) else view.progress.epochs
    changed = stage != view.progress.stage
    begun = {"epoch": 0, "step": 0} if changed else {}
    return _with(view, stage=stage, stage_name=name, epochs=epochs, **begun)


def _behind(view: View, stage: int, epoch: int, step: int) -> int:
    """Steps of the schedule that lie before this place; a stage that ended early counts as a whole."""
    if view.plan is None:
        return 0
    stages = sum(view.plan.epochs[:stage])
    within = min(epoch, view.plan.epochs[stage]) if stage < len(view.plan.epochs) else 0
    return (stages + within) * view.plan.steps_per_epoch + step


def _moved(view: View, done: int, now: float) -> View:
    if view.plan is None:
        return view
    total = sum(view.plan.epochs) * view.plan.steps_per_epoch
    samples = (*view.samples, (now, done))[-ETA_SAMPLES:]
    # 100 is for the published model only.
    percent = min(99, 100 * done // total) if total else 0
    return _with(replace(view, samples=samples), percent=percent, eta_seconds=_eta(samples, total - done))


def _eta(samples: tuple[tuple[float, int], ...], left: int) -> int | None:
    (then, before), (now, done) = samples[0], samples[-1]
    if done <= before or now <= then:
        return None
    return round(left * (now - then) / (done - before))


def _best(event: EpochEvent) -> str:
    if event.val_accuracy is not None:
        return f"val_accuracy={event.val_accuracy:.4f}"
    return f"accuracy={event.accuracy:.4f}"


def _with(view: View, **update: Any) -> View:
    return replace(view, progress=view.progress.model_copy(update=update))


_HANDLERS: dict[type, Callable[[View, Any, float], View]] = {
    PlanEvent: _plan,
    PhaseEvent: _phase,
    TickEvent: _tick,
    ChunkEvent: _chunk,
    EpochEvent: _epoch,
    StageEvent: _stage,
    CheckpointEvent: _checkpoint,
    WarningEvent: _warning,
    ResultEvent: _result,
}
