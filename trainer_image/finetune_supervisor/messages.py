"""What supervisors say to one another, in JSON lines: reports up to supervisor 0, orders down from it."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from finetune_api.contract import ExitCode
from finetune_api.errors import FineTuneError
from finetune_api.events import Phase, ResultEvent, Role
from finetune_api.model import Model


class Ending(StrEnum):
    """How a training process ended."""

    TRAINED = "Trained"
    LEFT = "Left"  # all stopped at the same step with everything saved, because one worker has to go
    EXPORTED = "Exported"
    PUBLISHED = "Published"
    FAILED = "Failed"
    HUNG = "Hung"  # the watchdog ended it
    STOPPED = "Stopped"  # killed because the generation was over
    ABANDONED = "Abandoned"  # killed before its first step because its own worker has to go
    LOST = "Lost"  # its supervisor went away


class Outcome(Model):
    """The end of one training process."""

    ending: Ending
    code: int = 0
    reason: str = ""
    message: str = ""
    worker: int = 0
    step: int = 0
    """Global step it had reached, as far as it said."""
    advanced: bool = False
    """Whether it did any step, so the generation was not for nothing."""
    result: ResultEvent | None = None


class Verdict(Model):
    """The end of the run, or of this supervisor: its exit status and why."""

    code: int
    reason: str = ""
    message: str = ""
    result: ResultEvent | None = None


class Hello(Model):
    """A worker's first line."""

    say: Literal["hello"] = "hello"
    token: str
    index: int
    job_digest: str
    """SHA-256 of job.json: all workers must run the same job."""


class Ready(Model):
    """This worker can fork at once and has no training process."""

    say: Literal["ready"] = "ready"


class Ended(Model):
    """This worker's training process of `generation` is gone and reaped."""

    say: Literal["ended"] = "ended"
    generation: int
    outcome: Outcome


class Pulse(Model):
    """Sent each second: this supervisor lives, and how long its training process has been silent."""

    say: Literal["pulse"] = "pulse"
    phase: Phase | None = None
    """None without a training process."""
    silent_seconds: float = 0.0
    limit_seconds: float = 0.0


class Welcome(Model):
    """Supervisor 0 took the worker in."""

    say: Literal["welcome"] = "welcome"


class Refused(Model):
    """Supervisor 0 turned the worker away for good."""

    say: Literal["refused"] = "refused"
    reason: str
    message: str


class Start(Model):
    """Fork a training process for this generation now."""

    say: Literal["start"] = "start"
    generation: int
    role: Role
    checkpoint: str | None = None
    """Id to resume from; who cannot load exactly that fails with 75."""
    restarts: int = 0
    """Training generations before this one."""


class End(Model):
    """The generation is over: kill its training process, after dumping its stacks if `dump`."""

    say: Literal["end"] = "end"
    generation: int
    dump: bool = False


class Finish(Model):
    """The run is over: kill what runs and leave with this verdict."""

    say: Literal["finish"] = "finish"
    verdict: Verdict


class Beat(Model):
    """Sent each second: supervisor 0 lives."""

    say: Literal["beat"] = "beat"
    workers_ready: int


Report = Hello | Ready | Ended | Pulse
Order = Welcome | Refused | Start | End | Finish | Beat
REPORT: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="say")])
ORDER: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="say")])


def verdict_of(error: FineTuneError) -> Verdict:
    """The verdict for an error that has a name."""
    return Verdict(code=error.exit_code, reason=error.reason, message=str(error))


def internal_error(error: BaseException) -> Verdict:
    """The verdict for a mistake in the supervisor itself: another one may do better."""
    message = f"The supervisor failed: {type(error).__name__}: {error}"
    return Verdict(code=ExitCode.INTERNAL, reason="SupervisorError", message=message)
