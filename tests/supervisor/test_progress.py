"""Progress as a function of what the training process says."""

from typing import Any

import pytest

from finetune_api.events import (
    CheckpointEvent,
    ChunkEvent,
    EpochEvent,
    Event,
    Phase,
    PhaseEvent,
    PlanEvent,
    ResultEvent,
    Role,
    StageEvent,
    TickEvent,
    WarningEvent,
)
from finetune_api.progress import Progress
from finetune_supervisor import progress
from finetune_supervisor.messages import Start
from finetune_supervisor.progress import View

PLAN = PlanEvent(
    stages=["head", "finetune"],
    epochs=[2, 3],
    steps_per_epoch=10,
    global_batch_size=8,
    trainable_parameters=[11, 1111],
    unfrozen_from=[None, "block_15_expand"],
)


def chunk(stage: int, epoch: int, step: int, global_step: int) -> ChunkEvent:
    place = {"stage": stage, "stage_name": PLAN.stages[stage], "epoch": epoch, "step": step, "steps": 1}
    figures = {"examples": 8, "loss": 1.0, "accuracy": 0.5, "learning_rate": 0.1, "data_wait": 0.0}
    return ChunkEvent.model_validate({**place, **figures, "global_step": global_step, "seconds": 0.1})


def epoch(stage: int, number: int, **more: Any) -> EpochEvent:
    place = {"stage": stage, "stage_name": PLAN.stages[stage], "epoch": number, "global_step": 10}
    figures = {"loss": 1.0, "accuracy": 0.5, "learning_rate": 0.1, "seconds": 1.0}
    return EpochEvent.model_validate({**place, **figures, **more})


def shown(*said: Event, since: View | None = None, seconds_each: float = 1.0) -> Progress:
    return progress.at(seen(*said, since=since, seconds_each=seconds_each), 100.0)


def seen(*said: Event, since: View | None = None, seconds_each: float = 1.0) -> View:
    """The view after these events, one each second or so."""
    view = since or View(Progress())
    for index, event in enumerate(said):
        view = progress.after(view, event, index * seconds_each)
    return view


@pytest.mark.parametrize(
    ("said", "percent"),
    [
        pytest.param([], 0, id="nothing yet"),
        pytest.param([chunk(0, 0, 5, 5)], 10, id="half of the first of five epochs"),
        pytest.param([chunk(0, 1, 10, 20)], 40, id="the first stage"),
        pytest.param(
            [StageEvent(stage=0, stage_name="head", reason="EarlyStopped")],
            40,
            id="what early stopping skips",
        ),
        pytest.param([chunk(1, 2, 10, 50)], 99, id="everything trained is not everything"),
        pytest.param([epoch(1, 2), ResultEvent(result="Trained")], 99, id="trained, not published"),
        pytest.param([ResultEvent(result="Published")], 100, id="published"),
    ],
)
def test_percent_is_of_the_whole_schedule(said: list[Event], percent: int) -> None:
    assert shown(PLAN, *said).percent == percent


def test_without_a_plan_nothing_is_guessed() -> None:
    now = shown(chunk(0, 0, 5, 5))
    assert (now.percent, now.eta_seconds, now.step) == (0, None, 5)


def test_a_step_says_where_training_is() -> None:
    now = shown(PLAN, PhaseEvent(phase=Phase.STEP, stage=1, stage_name="finetune"), chunk(1, 0, 4, 24))
    assert (now.stage, now.stage_name, now.num_stages) == (1, "finetune", 2)
    assert (now.epoch, now.epochs, now.step, now.steps_per_epoch, now.global_step) == (1, 3, 4, 10, 24)
    assert now.phase is Phase.STEP


def test_a_new_stage_has_begun_no_epoch() -> None:
    now = shown(PLAN, chunk(0, 1, 10, 20), PhaseEvent(phase=Phase.BUILD, stage=1, stage_name="finetune"))
    assert (now.stage_name, now.epoch, now.step, now.epochs) == ("finetune", 0, 0, 3)


def test_a_phase_of_no_stage_leaves_the_stage_alone() -> None:
    now = shown(PLAN, chunk(1, 0, 4, 24), PhaseEvent(phase=Phase.EXPORT))
    assert (now.stage_name, now.phase) == ("finetune", Phase.EXPORT)


def test_the_remaining_time_is_extrapolated_from_recent_steps() -> None:
    now = shown(PLAN, chunk(0, 0, 1, 1), chunk(0, 0, 2, 2), chunk(0, 0, 3, 3), seconds_each=2.0)
    assert now.eta_seconds == (50 - 3) * 2


def test_one_sample_is_no_rate() -> None:
    assert shown(PLAN, chunk(0, 0, 1, 1)).eta_seconds is None


def test_a_restart_forgets_the_rate_and_keeps_the_rest() -> None:
    before = seen(
        PLAN, WarningEvent(reason="Slow", message="It is slow."), epoch(0, 0, best=True), chunk(0, 1, 5, 15)
    )
    order = Start(generation=2, role=Role.TRAIN, checkpoint="a-checkpoint", restarts=1)
    after = progress.started(before, order)
    now = progress.at(after, 100.0)
    assert (now.generation, now.restarts, now.checkpoint, now.phase) == (2, 1, "a-checkpoint", None)
    assert (now.percent, len(now.epochs_log), len(now.warnings)) == (30, 1, 1)
    assert shown(chunk(0, 1, 1, 11), since=after).eta_seconds is None


def test_export_does_not_reset_restarts() -> None:
    order = Start(generation=3, role=Role.EXPORT)
    assert progress.started(View(Progress(restarts=2)), order).progress.restarts == 2


def test_an_epoch_that_is_done_again_replaces_its_row() -> None:
    now = shown(PLAN, epoch(0, 0, loss=2.0), epoch(0, 1), epoch(0, 0, loss=1.0))
    assert [(row.epoch, row.loss) for row in now.epochs_log] == [(1, 1.0), (0, 1.0)]


@pytest.mark.parametrize(
    ("row", "best"),
    [
        pytest.param(epoch(0, 0, val_accuracy=0.94312, best=True), "val_accuracy=0.9431", id="validated"),
        pytest.param(epoch(0, 0, best=True), "accuracy=0.5000", id="not validated"),
        pytest.param(epoch(0, 0, val_accuracy=0.9), None, id="not the best"),
    ],
)
def test_best_metric(row: EpochEvent, best: str | None) -> None:
    assert shown(PLAN, row).best_metric == best


def test_ticks_belong_to_their_phase() -> None:
    view = seen(PhaseEvent(phase=Phase.FEATURES), TickEvent(done=30, total=120))
    assert (view.progress.tick, view.progress.tick_total) == (30, 120)
    assert shown(PhaseEvent(phase=Phase.BUILD), since=view).tick_total == 0


def test_a_checkpoint_ages() -> None:
    saved = CheckpointEvent(id="a-checkpoint", global_step=5, bytes=10, seconds=0.1)
    view = progress.after(View(Progress()), saved, 100.0)
    assert progress.at(view, 107.5).checkpoint_age_seconds == 7.5
    assert progress.at(view, 107.5).checkpoint == "a-checkpoint"


def test_a_warning_is_told_once() -> None:
    warning = WarningEvent(reason="Rotated", message="3 images are rotated.")
    assert shown(warning, warning).warnings == [warning]


def test_what_the_plan_says_of_its_stages_is_shown() -> None:
    now = shown(PLAN, chunk(0, 0, 1, 1))
    assert (now.num_stages, now.steps_per_epoch) == (2, 10)
    assert (now.trainable_parameters, now.unfrozen_from) == ([11, 1111], [None, "block_15_expand"])
