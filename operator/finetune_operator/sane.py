"""What pods say about themselves is taken with care: figures and names that cannot be are left out."""

import re

from finetune_api.events import EpochEvent, TrainerReport
from finetune_api.progress import ProcessFailure, Progress
from finetune_api.v1alpha1.fields import NAME
from finetune_api.v1alpha1.stages import MAX_STAGES

_MOST = 2_147_483_647
_HIGHEST_CODE = 255
_LONGEST_NAME = 63
_LONGEST_WORD = 253


def progress(said: Progress) -> Progress | None:
    """The figures, if all of them can be; None otherwise."""
    counts = (
        said.generation,
        said.stage,
        said.num_stages,
        said.epoch,
        said.epochs,
        said.global_step,
        said.workers_ready,
        said.workers,
        said.restarts,
        said.percent,
        said.eta_seconds or 0,
    )
    possible = all(0 <= count <= _MOST for count in counts) and said.num_stages <= MAX_STAGES
    sized = 0 <= said.steps_per_epoch <= _MOST // 1_000_000 and len(said.checkpoint or "") <= 1024
    aged = said.checkpoint_age_seconds is None or 0 <= said.checkpoint_age_seconds < _MOST
    named = not said.stage_name or is_name(said.stage_name)
    logged = all(map(_is_possible, said.epochs_log)) and _is_plan(said) and _can_fail(said.last_failure)
    return said if possible and sized and aged and named and logged else None


def report(said: TrainerReport) -> TrainerReport:
    """The report without what cannot be."""
    update: dict[str, object] = {}
    if not 0 <= said.step <= _MOST:
        update["step"] = 0
    if not 0 <= said.stage < MAX_STAGES or not is_name(said.stage_name):
        update |= {"stage": 0, "stage_name": ""}
    result = said.result
    if result is not None:
        stage = result.best_stage if result.best_stage and is_name(result.best_stage) else None
        epoch = result.best_epoch if 0 <= (result.best_epoch or 0) < _MOST else None
        version = result.version if 0 <= (result.version or 0) <= _MOST else None
        kept = {"best_stage": stage, "best_epoch": epoch, "version": version}
        update["result"] = result.model_copy(update=kept)
    return said.model_copy(update=update) if update else said


def is_name(text: str) -> bool:
    """Whether a stage can be called so."""
    return len(text) <= _LONGEST_NAME and re.fullmatch(NAME, text) is not None


def bounded(count: float) -> int:
    """A whole number that the status has room for."""
    return max(0, min(_MOST, round(count)))


def _is_plan(said: Progress) -> bool:
    """Whether what the plan says of the stages can be, and is said of each."""
    counts, layers = said.trainable_parameters, said.unfrozen_from
    return (
        len(counts) == len(layers) <= MAX_STAGES
        and all(0 <= count <= _MOST for count in counts)
        and all(layer is None or 0 < len(layer) <= _LONGEST_WORD for layer in layers)
    )


def _can_fail(said: ProcessFailure | None) -> bool:
    return said is None or (
        0 <= said.worker <= _MOST and abs(said.exit_code) <= _HIGHEST_CODE and 0 <= said.time < _MOST
    )


def _is_possible(event: EpochEvent) -> bool:
    return (
        0 <= event.epoch < _MOST
        and 0 <= event.stage < MAX_STAGES
        and is_name(event.stage_name)
        and _lasts(event)
    )


def _lasts(event: EpochEvent) -> bool:
    return 0 <= event.seconds < 1_000_000
