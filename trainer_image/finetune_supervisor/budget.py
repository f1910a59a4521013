"""How often a run may fail: pure. The counts outlive supervisor 0 in the run folder."""

from dataclasses import dataclass

from finetune_api.contract import PERMANENT, ExitCode
from finetune_api.model import Model
from finetune_supervisor.messages import Outcome, Verdict

OUT_OF_MEMORY = "OutOfMemory"
LONGEST_PAUSE = 30.0


class Budget(Model):
    """Failures counted so far. Disruptions (a lost pod, SIGTERM, storage or peers away) are never counted."""

    failures: int = 0
    """Since the newest checkpoint."""
    checkpoint: str | None = None
    """Id of the newest checkpoint at the last failure."""
    out_of_memory_step: int | None = None
    """Global step of the last failure for lack of memory."""


def settle(
    budget: Budget, failure: Outcome, newest: str | None, max_restarts: int
) -> tuple[Budget, Verdict | None]:
    """Counts the failure that ended a generation.

    `newest` is the id of the newest whole checkpoint; ids sort by progress. The verdict is None while the run
    may go on.
    """
    if failure.code in PERMANENT:
        return budget, Verdict(code=failure.code, reason=failure.reason, message=failure.message)
    if failure.code == ExitCode.TRY_AGAIN:
        return budget, None
    if _stuck_for_memory(budget, failure):
        message = f"{failure.message} It was the second time that training got no farther than this step."
        return budget, Verdict(code=ExitCode.GAVE_UP, reason=failure.reason, message=message)
    counted = _count(budget, failure, newest)
    return counted, _spent(counted, failure, max_restarts)


@dataclass(frozen=True)
class Trouble:
    """Generations in a row that ended before any process did a step."""

    fruitless: int = 0
    since: float | None = None
    """Monotonic time at which the first of them ended."""

    def after(self, *, advanced: bool, now: float) -> "Trouble":
        """The trouble when one more generation has failed at `now`."""
        if advanced:
            return Trouble()
        return Trouble(self.fruitless + 1, now if self.since is None else self.since)

    def pause(self) -> float:
        """Seconds to wait before the next start: none after the first failure, then 1, 2, 4 …"""
        return 0.0 if self.fruitless <= 1 else min(LONGEST_PAUSE, 2.0 ** min(self.fruitless - 2, 10))

    def lasts(self, now: float) -> float:
        """Seconds since it began."""
        return 0.0 if self.since is None else now - self.since


def _stuck_for_memory(budget: Budget, failure: Outcome) -> bool:
    before = budget.out_of_memory_step
    return failure.reason == OUT_OF_MEMORY and before is not None and failure.step <= before


def _count(budget: Budget, failure: Outcome, newest: str | None) -> Budget:
    progressed = (newest or "") > (budget.checkpoint or "")
    return Budget(
        failures=1 if progressed else budget.failures + 1,
        checkpoint=newest or budget.checkpoint,
        out_of_memory_step=failure.step if failure.reason == OUT_OF_MEMORY else budget.out_of_memory_step,
    )


def _spent(budget: Budget, failure: Outcome, max_restarts: int) -> Verdict | None:
    if budget.failures <= max_restarts:
        return None
    times = "once" if budget.failures == 1 else f"{budget.failures} times"
    message = (
        f"Training failed {times} without a newer checkpoint in between (maxRestarts {max_restarts}). "
        f"The last failure, on worker {failure.worker} at step {failure.step}: {failure.message}"
    )
    return Verdict(code=ExitCode.GAVE_UP, reason=failure.reason, message=message)
