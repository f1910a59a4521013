"""What can happen to a gang, and what supervisor 0 can do about it: the vocabulary of `gang`."""

from dataclasses import dataclass

from finetune_api.events import ResultEvent, Role
from finetune_supervisor.messages import Ended, Order, Outcome, Verdict


@dataclass(frozen=True)
class Surveyed:
    """The run folder says how far the run is."""

    trained: bool = False
    published: ResultEvent | None = None


@dataclass(frozen=True)
class Joined:
    """A worker's session began; an older session of the same worker is void."""

    worker: int


@dataclass(frozen=True)
class BecameReady:
    """A worker can fork at once."""

    worker: int


@dataclass(frozen=True)
class Gone:
    """A worker's session dropped."""

    worker: int


@dataclass(frozen=True)
class ProcessEnded:
    """A worker's training process has been reaped."""

    worker: int
    report: Ended


@dataclass(frozen=True)
class Claimed:
    """The next generation's number is ours."""

    generation: int
    checkpoint: str | None
    restarts: int = 0


@dataclass(frozen=True)
class Hung:
    """The watchdog found workers silent beyond their limit."""

    workers: tuple[int, ...]
    message: str


@dataclass(frozen=True)
class Settled:
    """The failure has been counted and the pause is over; the run goes on."""


@dataclass(frozen=True)
class Condemned:
    """The run cannot go on: budget spent, storage refused, patience over."""

    verdict: Verdict


Happening = Surveyed | Joined | BecameReady | Gone | ProcessEnded | Claimed | Hung | Settled | Condemned


@dataclass(frozen=True)
class Survey:
    """Find out how far the run is; answer with `Surveyed`."""


@dataclass(frozen=True)
class Claim:
    """Take the next generation's number and find the checkpoint to start from; answer with `Claimed`."""

    role: Role


@dataclass(frozen=True)
class Send:
    """Send an order to these workers."""

    workers: frozenset[int]
    order: Order


@dataclass(frozen=True)
class Settle:
    """Count this failure; answer with `Settled` or `Condemned`."""

    failure: Outcome
    advanced: bool
    """Whether any process of the generation did a step."""


@dataclass(frozen=True)
class Conclude:
    """Tell everybody the verdict and leave with it."""

    verdict: Verdict


Action = Survey | Claim | Send | Settle | Conclude
