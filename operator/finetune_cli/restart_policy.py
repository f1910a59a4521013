"""What the Job controller does on a cluster, as a pure table: one supervisor ended, what now?"""

from dataclasses import dataclass

from finetune_api.contract import IGNORED, PERMANENT, ExitCode

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0


@dataclass(frozen=True)
class Succeed:
    """Supervisor 0 says that the manifest is committed: the job is done."""


@dataclass(frozen=True)
class Leave:
    """A worker other than 0 is done; it is not started again."""


@dataclass(frozen=True)
class Replace:
    """Start the worker again after `delay` seconds; `counted` uses up the back-off limit."""

    delay: float
    counted: bool


@dataclass(frozen=True)
class Fail:
    """The whole job ends with this exit code."""

    code: int
    reason: str


Reaction = Succeed | Leave | Replace | Fail


def exit_code(returncode: int) -> int:
    """A shell's exit status for what `subprocess` reports: killed by signal n (-n) becomes 128 + n."""
    return 128 - returncode if returncode < 0 else returncode


def react(index: int, code: int, losses: int, counted: int, limit: int) -> Reaction:
    """The reaction to worker `index` leaving with `code`.

    `losses` is how often this worker was replaced since the job last got on, `counted` how many of these
    were its own fault, `limit` how many of those are allowed.
    """
    if code == ExitCode.OK:
        return Succeed() if index == 0 else Leave()
    if code in PERMANENT:
        return Fail(code, "WorkerFailed")
    delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0**losses)
    if code in IGNORED:
        return Replace(delay, counted=False)
    if counted >= limit:
        return Fail(ExitCode.GAVE_UP, "BackoffLimitExceeded")
    return Replace(delay, counted=True)
