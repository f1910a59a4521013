"""`make bench-operator`: both sides alternately, then the report in benchmarks/results/."""

import argparse
import json
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from benchmarks.operator import bare, ours, report
from benchmarks.operator.settings import LIMITS, SIDES, Cell, Limits, Run, Side
from finetune_operator.settings import Settings

RESULTS = Path(__file__).parent.parent / "results"


def main() -> None:
    arguments = _arguments()
    runs = []
    for cell in arguments.cells:
        for run in _alternating(cell, arguments):
            runs.append(run)
            _tell(run)
    text = report.as_markdown(runs, _environment(), _client())
    if arguments.write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "operator.md").write_text(text)
        (RESULTS / "operator.json").write_text(
            json.dumps(report.as_json(runs, _environment()), indent=1) + "\n"
        )
    print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--cells",
        type=_cell,
        nargs="+",
        default=[Cell(limits, jobs) for limits in LIMITS for jobs in (10, 100, 1000)],
        metavar="LIMITS:JOBS",
        help="such as default:100 raised:1000; all of 10, 100 and 1000 at both limits otherwise",
    )
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--runs", type=int, default=1, help="runs of each side, alternating")
    parser.add_argument("--rest", type=float, default=60.0, help="seconds at rest that are measured")
    parser.add_argument("--no-write", dest="write", action="store_false", help="only print the report")
    return parser.parse_args()


def _cell(text: str) -> Cell:
    limits, _, jobs = text.partition(":")
    known: dict[str, Limits] = {name: name for name in LIMITS}
    if limits not in known or not jobs.isdigit():
        raise argparse.ArgumentTypeError(f"{text}: expected one of {', '.join(LIMITS)}, a colon and a number")
    return Cell(known[limits], int(jobs))


def _alternating(cell: Cell, arguments: argparse.Namespace) -> Iterator[Run]:
    """A-B-B-A: neither side always has the warmer machine."""
    for number in range(arguments.runs):
        order: list[Side] = list(arguments.sides if number % 2 == 0 else reversed(arguments.sides))
        for side in order:
            yield bare.run(cell) if side == "bare" else ours.run(cell, arguments.rest)


def _tell(run: Run) -> None:
    print(
        f"{run.cell.limits} {run.cell.jobs} {run.side}: all pods created {run.created:.1f} s"
        f" ({run.jobs_per_second:.1f} jobs/s), over {run.finished:.1f} s,"
        f" CPU {1000 * run.per_job(run.cpu_seconds):.0f} ms/job,"
        f" {run.per_job(sum(run.writes.values())):.1f} writes/job in all",
        flush=True,
    )


def _client() -> str:
    client = Settings().client
    return f"{client.qps:.0f} requests/s, burst {client.burst}"


def _environment() -> dict[str, str]:
    return {
        "Python": platform.python_version(),
        "kubernetes client": version("kubernetes"),
        "kopf": version("kopf"),
        "finetune-operator": version("finetune-operator"),
        "cores": str(os.cpu_count()),
    }


if __name__ == "__main__":
    main()
