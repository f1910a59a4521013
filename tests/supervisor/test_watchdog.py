"""When silence is a hang."""

import pytest

from finetune_api.events import ChunkEvent, Event, Phase, PhaseEvent, TickEvent
from finetune_supervisor import watchdog
from finetune_supervisor.messages import Pulse
from finetune_supervisor.watchdog import Watch

DEADLINE = 600.0


def chunk() -> ChunkEvent:
    place = {"stage": 0, "stage_name": "head", "epoch": 0, "step": 1, "steps": 1, "global_step": 1}
    figures = {"examples": 8, "loss": 1.0, "accuracy": 0.5, "learning_rate": 0.1}
    return ChunkEvent.model_validate({**place, **figures, "seconds": 0.1, "data_wait": 0.0})


def watched(*said: tuple[float, Event]) -> Watch:
    """The watch of a process that was started at 0 and said these things."""
    watch = Watch(heard=0.0)
    for when, event in said:
        watch = watchdog.after(watch, event, when)
    return watch


STEP = PhaseEvent(phase=Phase.STEP)


@pytest.mark.parametrize(
    ("watch", "limit"),
    [
        pytest.param(watched(), 600.0, id="at first the deadline counts"),
        pytest.param(
            watched((5, PhaseEvent(phase=Phase.BUILD))), 600.0, id="tracing may take until the deadline"
        ),
        pytest.param(watched((5, STEP)), 600.0, id="the first step may take until the deadline"),
        pytest.param(watched((5, STEP), (6, chunk())), 60.0, id="short steps may pause for a minute"),
        pytest.param(watched((5, STEP), (25, chunk())), 200.0, id="long steps may take ten times as long"),
        pytest.param(watched((5, STEP), (105, chunk())), 600.0, id="but no longer than the deadline"),
        pytest.param(
            watched((5, STEP), (25, chunk()), (26, PhaseEvent(phase=Phase.EVALUATE))),
            600.0,
            id="other phases are not judged by steps",
        ),
    ],
)
def test_limit(watch: Watch, limit: float) -> None:
    assert watchdog.limit(watch, DEADLINE) == limit


def test_a_short_deadline_is_the_limit_of_steps_too() -> None:
    assert watchdog.limit(watched((5, STEP), (6, chunk())), deadline=10.0) == 10.0


def test_one_stall_among_many_steps_does_not_raise_the_limit() -> None:
    steps = [(float(when), chunk()) for when in range(6, 205)]
    assert watchdog.limit(watched((5.0, STEP), *steps, (234.0, chunk())), DEADLINE) == 60.0


def test_silence_counts_from_the_last_word() -> None:
    pulse = watchdog.pulse(watched((5, STEP), (6, TickEvent())), DEADLINE, now=10.0)
    assert (pulse.phase, pulse.silent_seconds, pulse.limit_seconds) == (Phase.STEP, 4.0, 60.0)


def silent(phase: Phase | None, seconds: float = 61.0) -> Pulse:
    return Pulse(phase=phase, silent_seconds=seconds, limit_seconds=60.0)


@pytest.mark.parametrize(
    ("pulses", "workers"),
    [
        pytest.param([silent(Phase.STEP), silent(Phase.STEP)], (0, 1), id="all silent in a step: a hang"),
        pytest.param(
            [silent(Phase.STEP), silent(Phase.SAVE, 9.0)], (), id="a worker waits while another saves"
        ),
        pytest.param(
            [silent(Phase.BARRIER), silent(Phase.FEATURES, 1.0)],
            (),
            id="a worker waits for another's features",
        ),
        pytest.param(
            [silent(Phase.BARRIER), silent(Phase.FEATURES)], (1,), id="who is alone in its phase is to blame"
        ),
        pytest.param(
            [silent(Phase.BARRIER), silent(Phase.BARRIER)], (0, 1), id="all wait for one another: a hang"
        ),
        pytest.param([silent(Phase.STEP, 60.0), silent(Phase.STEP)], (), id="a limit is reached, not passed"),
        pytest.param([silent(Phase.STEP), silent(None)], (), id="no process, no hang"),
        pytest.param([], (), id="nobody runs"),
    ],
)
def test_hung(pulses: list[Pulse], workers: tuple[int, ...]) -> None:
    assert watchdog.hung(dict(enumerate(pulses))) == workers


def test_a_hang_is_described_by_worker_time_and_phase() -> None:
    pulses = {0: silent(Phase.STEP), 1: silent(Phase.STEP, 75.0)}
    assert (
        watchdog.describe(pulses, (0, 1))
        == "No sign of life in phase Step from worker 0 for 61 s, worker 1 for 75 s."
    )
