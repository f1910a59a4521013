"""Whether a training process hangs: pure functions of what it said and when.

Workers train in step, so one that hangs silences all of them. In a phase of its own a worker is judged alone;
in a phase that waits for peers only when every worker has been silent beyond its limit.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from finetune_api.events import Event, Phase, PhaseEvent
from finetune_supervisor.messages import Pulse

SHORTEST_STEP_LIMIT = 60.0
"""Seconds; a machine under memory pressure may well stall for half of that."""
STEP_LIMIT_FACTOR = 10
REMEMBERED_GAPS = 200

ALONE = frozenset({Phase.DATA, Phase.FEATURES, Phase.SAVE, Phase.EXPORT, Phase.VERIFY, Phase.UPLOAD})
"""Phases in which a worker waits for no peer, so that its silence is its own."""


@dataclass(frozen=True)
class Watch:
    """What the watchdog remembers of one training process. Times are monotonic seconds."""

    heard: float
    """Its last sign of life."""
    phase: Phase = Phase.START
    gaps: tuple[float, ...] = ()
    """Latest gaps between signs of life while stepping."""


def after(watch: Watch, event: Event, now: float) -> Watch:
    """The watch once the training process has said `event` at `now`."""
    if isinstance(event, PhaseEvent):
        return replace(watch, heard=now, phase=event.phase)
    if watch.phase is Phase.STEP:
        return replace(watch, heard=now, gaps=(*watch.gaps, now - watch.heard)[-REMEMBERED_GAPS:])
    return replace(watch, heard=now)


def limit(watch: Watch, deadline: float) -> float:
    """Seconds of silence allowed now, `deadline` at most."""
    if watch.phase is not Phase.STEP or not watch.gaps:
        return deadline
    return min(deadline, max(SHORTEST_STEP_LIMIT, STEP_LIMIT_FACTOR * _p99(watch.gaps)))


def pulse(watch: Watch, deadline: float, now: float) -> Pulse:
    """What a supervisor tells of its training process."""
    return Pulse(phase=watch.phase, silent_seconds=now - watch.heard, limit_seconds=limit(watch, deadline))


def hung(pulses: Mapping[int, Pulse]) -> tuple[int, ...]:
    """The workers to blame, given the latest pulse of every worker of the generation; empty if none hangs."""
    over = {
        worker: pulse
        for worker, pulse in pulses.items()
        if pulse.phase is not None and pulse.silent_seconds > pulse.limit_seconds
    }
    alone = tuple(sorted(worker for worker, pulse in over.items() if pulse.phase in ALONE))
    if alone:
        return alone
    return tuple(sorted(over)) if len(over) == len(pulses) else ()


def describe(pulses: Mapping[int, Pulse], workers: tuple[int, ...]) -> str:
    """Who hangs, and in what, for people."""
    silences = (f"worker {worker} for {pulses[worker].silent_seconds:.0f} s" for worker in workers)
    phases = sorted({phase.value for worker in workers if (phase := pulses[worker].phase)})
    return f"No sign of life in phase {' and '.join(phases)} from {', '.join(silences)}."


def _p99(values: tuple[float, ...]) -> float:
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]
