"""TFJob v1.9.4, measured once on the same control plane and not run here. Data only."""

from dataclasses import dataclass

from benchmarks.operator.settings import Limits


@dataclass(frozen=True)
class Figures:
    """One row; jobs of four workers, pods Running after 1 s and done 5 s later, two cores."""

    limits: Limits
    jobs: int
    created: float
    """Seconds until all pods were created."""
    rate: float
    """Jobs per second."""
    bare_rate: float
    """The same of a bare ConfigMap, Service and Indexed Job, that day."""
    cpu_milliseconds: float
    """Per job."""
    peak_rss_mebibytes: float
    writes: float
    """Its own per job, Events in."""
    all_writes: float | None
    """Every client's per job."""


TFJOB = (
    Figures("default", 10, 6.5, 1.5, 8.2, 48, 55, 22.5, 68),
    Figures("default", 100, 83.6, 1.20, 3.7, 50, 69, 23.0, 65),
    Figures("default", 300, 253.9, 1.18, 3.4, 47, 98, 22.4, None),
    Figures("raised", 10, 0.23, 44, 50, 36, 55, 26.6, 65),
    Figures("raised", 100, 5.5, 18, 29, 28, 71, 24.4, 60),
    Figures("raised", 300, 20.2, 14.8, 16, 21, 97, 15.5, 46),
    Figures("raised", 1000, 92.6, 10.8, 16.6, 26, 206, 11.8, 39),
)
"""Default: 20 requests/s, burst 30, one thread. Raised: 1000, 2000 and 16."""


def tfjob(limits: Limits, jobs: int) -> Figures | None:
    """The row of one cell."""
    return next((one for one in TFJOB if (one.limits, one.jobs) == (limits, jobs)), None)
