"""Progress without a terminal: what is new between two views, one line for each thing. Pure."""

from finetune_api import reported
from finetune_api.events import EpochEvent, Phase
from finetune_cli import wording
from finetune_cli.view import RunView

_SAID = {
    Phase.DATA: "reading the image folder",
    Phase.FEATURES: "decoding the images and running the frozen layers once",
    Phase.EXPORT: "writing the SavedModel",
    Phase.VERIFY: "loading the SavedModel in a fresh process and comparing its answers",
    Phase.UPLOAD: "publishing",
}


def news(before: RunView, after: RunView) -> list[str]:
    """Lines for everything in `after` that `before` did not have, in the order in which it happened."""
    return [
        *_generation(before, after),
        *(f"note: {warning.message}" for warning in after.warnings[len(before.warnings) :]),
        *_epochs(before, after),
        *_phase(before, after),
    ]


def _generation(before: RunView, after: RunView) -> list[str]:
    """A generation after the first that trains; the one that exports is told by its phases."""
    now = after.progress
    if now is None or now.generation < 2 or now.phase is None or now.phase in reported.EXPORTING:
        return []
    if before.progress and before.progress.phase and before.progress.generation == now.generation:
        return []
    start = f"checkpoint {now.checkpoint}" if now.checkpoint else "the beginning"
    return [f"generation {now.generation}: all workers are back, going on from {start}"]


def _phase(before: RunView, after: RunView) -> list[str]:
    new = after.progress.phase if after.progress else None
    old = before.progress.phase if before.progress else None
    return [_SAID[new]] if new is not None and new is not old and new in _SAID else []


def _epochs(before: RunView, after: RunView) -> list[str]:
    known = {(event.stage, event.epoch): event for event in before.epochs}
    said = []
    stages = {event.stage for event in before.epochs}
    for event in after.epochs:
        if known.get((event.stage, event.epoch)) == event:
            continue
        if event.stage not in stages:
            stages.add(event.stage)
            said.append(_stage_line(after, event))
        said.append(_epoch_line(after, event))
    return said


def _stage_line(after: RunView, event: EpochEvent) -> str:
    where = f"stage {event.stage + 1}/{len(after.stages)} {event.stage_name}"
    if event.stage >= len(after.stages):
        return where
    facts = after.stages[event.stage]
    trained = f"{wording.count(facts.trainable_parameters)} trainable parameters"
    return f"{where}: {trained}, trains {facts.trains}"


def _epoch_line(after: RunView, event: EpochEvent) -> str:
    total = after.stages[event.stage].epochs if event.stage < len(after.stages) else "?"
    validated = "" if event.val_accuracy is None else f"  val_accuracy {event.val_accuracy:.4f}"
    best = "  best so far" if event.best else ""
    return (
        f"  {event.stage_name} {event.epoch + 1}/{total}  loss {event.loss:.4f}"
        f"  accuracy {event.accuracy:.4f}{validated}  {reported.duration(event.seconds)}{best}"
    )


def headline(shown: RunView) -> str:
    """The first line of a run."""
    workers = f"{shown.workers} worker{'s' if shown.workers > 1 else ''}"
    stages = ", ".join(stage.name for stage in shown.stages)
    return f"{shown.namespace}/{shown.name}: {shown.backbone}, {workers}, stages: {stages}"


def best_line(shown: RunView) -> str:
    """The best epoch of all stages: val_accuracy=0.9431 (finetune, epoch 3); empty before the first."""
    best = reported.best_epoch(shown.epochs)
    if best is None:
        return ""
    return (
        f"{reported.metric_name(best)}={reported.score(best):.4f} ({best.stage_name}, epoch {best.epoch + 1})"
    )
