"""From runs to the figures that are reported, as JSON and as Markdown. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from benchmarks.operator.peer import TFJOB, tfjob
from benchmarks.operator.settings import EXIT_AFTER, OPERATOR, READY_AFTER, WORKERS, Cell, Limits, Run, Side

HEAD = """\
# Operator against the bare objects, and beside TFJob

Made by `make bench-operator`; the runs themselves are in the JSON file beside this one.

{facts}.

Each job has {workers} workers; kwok makes their pods Running after {ready} and ends them {done} later. API server,
etcd, controller manager and scheduler are real; every run has its own, sides alternate, figures are medians.
*Bare* is a script that applies a ConfigMap, a headless Service and an Indexed Job per job, the very ones that
the operator makes: what they cost with no operator at all. *Default* limits are the stock controller manager's
(20 requests/s, burst 30, 5 syncs) and the operator's own ({client}); *raised* is 1000/s and burst 2000 for
both, 16 syncs. All of it shares these cores: read the ratios. Writes are counted in the audit log, Leases apart.

"""
PEER = """
## TFJob v1.9.4

Not run here: measured once on the same versions, fates and number of cores, beside a bare ConfigMap, Service
and Indexed Job of that day. It makes {workers} Services per job.

"""
SPEED = (
    "limits, jobs",
    "all pods created: bare, s",
    "ours, s",
    "jobs/s: bare",
    "ours",
    "ours / bare",
    "TFJob / its bare",
)
COST = (
    "limits, jobs",
    "CPU ms/job",
    "peak RSS MiB",
    "writes/job",
    "of them Events",
    "all clients' writes/job, bare → ours",
    "controller manager's CPU ms/job, bare → ours",
    "writes a minute at rest",
    "all requests at rest",
)
GOAL = ("goal", "wanted", "measured")
PEER_COLUMNS = (
    "limits, jobs",
    "all pods created, s",
    "jobs/s",
    "bare, jobs/s",
    "CPU ms/job",
    "peak RSS MiB",
    "writes/job",
    "all clients'",
)
Row = Sequence[str]


@dataclass(frozen=True)
class Measured:
    """The runs of one cell."""

    cell: Cell
    runs: Sequence[Run]

    def middle(self, side: Side, figure: Callable[[Run], float]) -> float | None:
        """Median of a figure over the runs of one side; None without any."""
        figures = [figure(run) for run in self.runs if run.side == side]
        return median(figures) if figures else None

    @property
    def ratio(self) -> float | None:
        """Jobs per second of ours over those of the bare side."""
        rates = [self.middle(side, lambda run: run.jobs_per_second) for side in ("ours", "bare")]
        return rates[0] / rates[1] if rates[0] and rates[1] else None


def as_markdown(runs: Sequence[Run], environment: dict[str, str], client: str) -> str:
    """The report; `client` words the operator's own limits."""
    facts = ", ".join(f"{name} {value}" for name, value in environment.items())
    cells = _cells(runs)
    parts = (
        HEAD.format(facts=facts, workers=WORKERS, ready=READY_AFTER, done=EXIT_AFTER, client=client),
        "## Speed\n\n",
        _table(SPEED, map(_speed, cells)),
        "\n## Cost of the operator\n\n",
        _table(COST, map(_cost, cells)),
        "\n## Goals\n\n",
        _table(GOAL, _goals(cells)),
        PEER.format(workers=WORKERS),
        _table(PEER_COLUMNS, _peer()),
    )
    return "".join(parts)


def as_json(runs: Sequence[Run], environment: dict[str, str]) -> dict[str, Any]:
    """Everything that was measured."""
    return {"environment": environment, "runs": [asdict(run) for run in runs]}


def _cells(runs: Sequence[Run]) -> list[Measured]:
    return [
        Measured(cell, [run for run in runs if run.cell == cell])
        for cell in dict.fromkeys(run.cell for run in runs)
    ]


def _speed(found: Measured) -> Row:
    sides: tuple[Side, Side] = ("bare", "ours")
    peer = tfjob(found.cell.limits, found.cell.jobs)
    return [
        _name(found.cell.limits, found.cell.jobs),
        *(_number(found.middle(side, lambda run: run.created)) for side in sides),
        *(_number(found.middle(side, lambda run: run.jobs_per_second)) for side in sides),
        _percent(found.ratio),
        _percent(peer.rate / peer.bare_rate if peer else None),
    ]


def _cost(found: Measured) -> Row:
    def ours(figure: Callable[[Run], float]) -> str:
        return _number(found.middle("ours", figure))

    def both(figure: Callable[[Run], float]) -> str:
        return f"{_number(found.middle('bare', figure))} → {ours(figure)}"

    return [
        _name(found.cell.limits, found.cell.jobs),
        ours(_cpu),
        ours(_rss),
        ours(_writes),
        ours(lambda run: run.per_job(run.events.get(OPERATOR, 0))),
        both(lambda run: run.per_job(sum(run.writes.values()))),
        both(lambda run: 1000 * run.per_job(run.manager_cpu_seconds)),
        ours(lambda run: run.resting),
        ours(lambda run: run.resting_requests),
    ]


def _goals(cells: Sequence[Measured]) -> Iterator[Row]:
    by_cell = {(one.cell.limits, one.cell.jobs): one for one in cells}
    if found := by_cell.get(("default", 100)):
        yield "100 jobs, default limits, against bare", "≥ 90 %", _percent(found.ratio)
    if found := by_cell.get(("raised", 1000)):
        rate = found.middle("ours", lambda run: run.jobs_per_second)
        yield "1,000 jobs, raised limits, against bare", "≥ 70 %", _percent(found.ratio)
        yield "the same in jobs/s, against TFJob", "> 10.8", _number(rate)
        yield "memory at 1,000 jobs, MiB", "≤ 200", _number(found.middle("ours", _rss))
    largest = max(cells, key=lambda one: one.cell.jobs)
    yield "CPU ms/job at the most jobs", "≤ 50", _number(largest.middle("ours", _cpu))
    yield "writes/job, at most in any cell", "≤ 12", _number(_most(cells, _writes))
    yield "writes a minute at rest, at most in any cell", "0", _number(_most(cells, lambda run: run.resting))


def _most(cells: Sequence[Measured], figure: Callable[[Run], float]) -> float | None:
    found = [one for cell in cells if (one := cell.middle("ours", figure)) is not None]
    return max(found, default=None)


def _cpu(run: Run) -> float:
    return 1000 * run.per_job(run.cpu_seconds)


def _rss(run: Run) -> float:
    return run.peak_rss_bytes / 2**20


def _writes(run: Run) -> float:
    return run.per_job(run.writes.get(OPERATOR, 0))


def _peer() -> Iterator[Row]:
    for one in TFJOB:
        figures = (one.created, one.rate, one.bare_rate, one.cpu_milliseconds, one.peak_rss_mebibytes)
        yield [_name(one.limits, one.jobs), *map(_number, (*figures, one.writes, one.all_writes))]


def _table(columns: Row, rows: Iterable[Row]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _name(limits: Limits, jobs: int) -> str:
    return f"{limits}, {jobs:,}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
