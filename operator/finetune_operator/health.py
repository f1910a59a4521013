"""Is the operator alive, and is it of use? Each check is a name and what is wrong with it, or ok."""

import asyncio
import json
from collections.abc import Iterable
from time import monotonic

from finetune_api.http_pages import Answer
from finetune_operator.informer import Informer
from finetune_operator.work_queue import WorkQueue
from finetune_operator.world import Key

TICK = 1.0
LONGEST_LAG = 10.0
"""Seconds the event loop may be late."""
LONGEST_IDLE = 360.0
"""Seconds a watch may bring nothing, not even an error; bookmarks come once a minute."""
LONGEST_STALL = 300.0
"""Seconds jobs may wait without a worker taking any."""


class LoopLag:
    """How late the event loop is: the longest delay of a timer lately."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            due = monotonic() + TICK
            await asyncio.sleep(TICK)
            # A long delay fades over seconds, so that a scrape still sees it.
            self.seconds = max(monotonic() - due, self.seconds / 2)


def alive(lag: LoopLag, informers: Iterable[Informer], queue: WorkQueue[Key] | None) -> Answer:
    """503 when only a new process can help."""
    stall = queue.stalled if queue else 0.0
    checks = {
        "loop": "" if lag.seconds < LONGEST_LAG else f"{lag.seconds:.0f} s late",
        "queue": "" if stall < LONGEST_STALL else f"nobody took a job for {stall:.0f} s",
    }
    for informer in informers:
        idle = informer.idle
        checks[f"watch of {informer.kind}"] = "" if idle < LONGEST_IDLE else f"nothing for {idle:.0f} s"
    return _answer(checks)


def ready(*, started: bool, synced: bool) -> Answer:
    """503 until it can take part: as the one that acts, or as a standby."""
    return _answer(
        {
            "start": "" if started else "waiting for the API server",
            "cache": "" if synced else "not filled yet",
        }
    )


def _answer(checks: dict[str, str]) -> Answer:
    said = {name: wrong or "ok" for name, wrong in checks.items()}
    status = 503 if any(checks.values()) else 200
    return Answer(json.dumps(said).encode() + b"\n", status, "application/json")
