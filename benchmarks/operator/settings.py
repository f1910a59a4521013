"""What is measured, and what a run yields. Data only."""

from dataclasses import dataclass, field
from typing import Literal

Limits = Literal["default", "raised"]
Side = Literal["bare", "ours"]
LIMITS: tuple[Limits, ...] = ("default", "raised")
SIDES: tuple[Side, ...] = ("bare", "ours")
OPERATOR = "finetune-operator"
"""The operator's user."""
WORKERS = 4
READY_AFTER = "1s"
"""From scheduled to Running."""
EXIT_AFTER = "5s"
"""From Running to done."""
NAMESPACES = 10
"""The jobs are spread over these."""


@dataclass(frozen=True)
class Cell:
    """One row of the report: so many FineTuneJobs, or what a script makes for as many, applied at once."""

    limits: Limits
    jobs: int


@dataclass(frozen=True)
class Run:
    """One side of one cell, once. Times in seconds, from the first request."""

    side: Side
    cell: Cell
    created: float
    """Until the last pod was created."""
    finished: float
    """Until the last job was over."""
    submitted: float
    """Until the last object was applied."""
    cpu_seconds: float
    """Of the operator's process; of the controller manager for the bare side."""
    manager_cpu_seconds: float
    peak_rss_bytes: int
    """Of the same process as `cpu_seconds`."""
    writes: dict[str, int] = field(default_factory=dict)
    """By client."""
    events: dict[str, int] = field(default_factory=dict)
    """The part of `writes` that went into Events, by client."""
    leases: dict[str, int] = field(default_factory=dict)
    """Renewals of Leases, which are not in `writes`, by client."""
    resting: float = 0.0
    """The operator's writes in a minute with everything finished, Lease apart."""
    resting_requests: float = 0.0
    """All its requests in that minute, Lease and renewed watches apart."""

    @property
    def jobs_per_second(self) -> float:
        """Jobs with all their pods created, over the time that took."""
        return self.cell.jobs / self.created

    def per_job(self, count: float) -> float:
        """Share of one job."""
        return count / self.cell.jobs
