"""`finetune plan`: what a job would do, before it costs anything."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from finetune_api.errors import BadJob, FineTuneError
from finetune_cli import complaint, wording

if TYPE_CHECKING:
    from finetune_api.plan import Plan, PlannedStage, ResolvedJob, ResolvedStage

_HEADERS = ("STAGE", "EPOCHS", "STEPS", "TRAINS", "TRAINABLE", "OPTIMIZER", "RATE", "CACHE")


@click.command()
@click.argument("job", type=click.Path(path_type=Path), metavar="JOB.yaml")
@click.option("--workers", type=click.IntRange(min=1), help="Number of workers, instead of spec.workers.")
def plan(job: Path, workers: int | None) -> None:
    """Show what a job would do: stages, steps, cache.

    Lists the images and reads the heads of the files. Where they cannot be listed, what depends on them is
    left out.
    """
    from finetune_cli import job_source

    try:
        resolved = job_source.read(job, workers).resolved
        planned, note = _planned(resolved)
    except FineTuneError as error:
        complaint.exit_with(error)
        return
    for line in render(resolved, planned):
        complaint.say(line)
    if note:
        complaint.say(note)


def _planned(resolved: "ResolvedJob") -> "tuple[Plan | None, str]":
    """The plan, or why there is none although the job is right."""
    from finetune_api import schedule
    from finetune_cli import facts

    try:
        images = facts.examine(resolved)
    except BadJob:
        raise
    except FineTuneError as error:
        return None, f"\nnote: without the images there are no steps and no cache figures: {error}"
    return schedule.plan(resolved, facts.gather(resolved, images)), ""


def render(resolved: "ResolvedJob", planned: "Plan | None") -> list[str]:
    """The plan as lines: the job, its images, and a table of stages. Pure."""
    return [*_job(resolved), *(_images(planned) if planned else []), "", *_table(resolved, planned)]


def _job(resolved: "ResolvedJob") -> list[str]:
    workers = f"{resolved.workers} worker{'s' if resolved.workers > 1 else ''}"
    share = resolved.global_batch_size // resolved.workers
    return [
        f"{resolved.namespace}/{resolved.name}: {resolved.backbone}, weights {resolved.weights}, "
        f"{resolved.image_size} px",
        f"{workers}, batches of {resolved.global_batch_size} ({share} on each), seed {resolved.seed}",
        f"output {resolved.output_uri}, {resolved.select.lower()} weights, {_formats(resolved)}",
    ]


def _formats(resolved: "ResolvedJob") -> str:
    return ", ".join(["SavedModel", *(f"TFLite {quantization}" for quantization in resolved.tflite)])


def _images(planned: "Plan") -> list[str]:
    smallest, largest = min(planned.class_counts), max(planned.class_counts)
    views = f", {planned.views} views of each" if planned.views > 1 else ""
    balanced = ", balanced" if planned.resolved.class_weights == "Balanced" else ""
    return [
        f"{planned.num_train:,} images to train on{views}, {planned.num_validation:,} to judge by, "
        f"{len(planned.classes)} classes of {smallest:,} to {largest:,}{balanced}",
        f"{planned.steps_per_epoch:,} steps per epoch, {planned.precision}, "
        f"{planned.threads} thread{'s' if planned.threads > 1 else ''} per worker",
    ]


def _table(resolved: "ResolvedJob", planned: "Plan | None") -> list[str]:
    return wording.columns([_HEADERS, *(_row(resolved, stage, planned) for stage in resolved.stages)])


def _row(resolved: "ResolvedJob", stage: "ResolvedStage", planned: "Plan | None") -> tuple[str, ...]:
    from finetune_api import schedule_view

    known = schedule_view.stage_facts(resolved, stage, len(planned.classes) if planned else None)
    return (
        stage.name,
        str(stage.epochs),
        _steps(stage, planned),
        known.trains,
        wording.count(known.trainable_parameters),
        stage.optimizer,
        f"{stage.learning_rate:g} {stage.lr_schedule}" if stage.learning_rate else "-",
        _cache(planned.stages[stage.index]) if planned else "-",
    )


def _steps(stage: "ResolvedStage", planned: "Plan | None") -> str:
    if stage.optimizer == "LBFGS":
        return "solved"
    return f"{stage.epochs * planned.steps_per_epoch:,}" if planned else "-"


def _cache(stage: "PlannedStage") -> str:
    return f"{wording.size(stage.cache_bytes)} {stage.cache_dtype}" if stage.cached else "no"
