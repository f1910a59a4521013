"""`finetune run`: the flags, the order of checks, and the exit code."""

import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from finetune_api.errors import FineTuneError
from finetune_cli import complaint


@dataclass(frozen=True)
class Flags:
    """What the command line says besides the job file."""

    workers: int | None
    output: str | None
    new_version: bool
    smoke: bool
    private_network: bool | None
    """None: where it is possible and enough."""


@click.command()
@click.argument("job", type=click.Path(path_type=Path), metavar="JOB.yaml")
@click.option("--workers", type=click.IntRange(min=1), help="Number of workers, instead of spec.workers.")
@click.option("--output", metavar="URI", help="Where results go, instead of spec.output.uri.")
@click.option("--new-version", is_flag=True, help="Train again although this job is complete.")
@click.option("--smoke", is_flag=True, help="Two steps per stage through export, into a scratch folder.")
@click.option(
    "--private-network/--shared-network",
    default=None,
    help="Whether only this run's own processes reach its ports. Default: where every URI is local.",
)
def run(job: Path, **flags: Any) -> None:
    """Run a job on this machine, with real workers.

    The same command goes on after Ctrl-C, and says so when the job is complete.

    \b
    Exit codes: 0   the model is published
                64  bad job               65  bad data
                66  missing input         69  gave up
                75  try again             77  permission denied
                78  bad configuration     130 stopped with Ctrl-C
    """
    try:
        code = _run(job, Flags(**flags))
    except FineTuneError as error:
        complaint.refuse(job, error)
        code = error.exit_code
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    sys.exit(code)


def _run(path: Path, flags: Flags) -> int:
    from finetune_api import not_built
    from finetune_cli import job_source, private_network

    prepared = job_source.read(path, flags.workers, flags.output)
    if flags.smoke:
        prepared = prepared.as_smoke()
    # Before anything that starts a thread: a process with several cannot move to another network.
    notes = private_network.choose(prepared.resolved, flags.private_network)
    if idle := not_built.cluster_only(prepared.job):
        notes.append(f"note: {', '.join(idle)} has no effect outside a cluster")
    notes += [f"note: no effect of {field}" for field in not_built.overridden(prepared.job)]
    if flags.smoke:
        notes.append(f"smoke run: two steps per stage, results in {prepared.resolved.output_uri}")

    from rich.console import Console

    from finetune_cli import local_run, preflight

    this = local_run.identify(prepared, flags.new_version)
    model = local_run.published_uri(this)
    if model is not None:
        since = " (removed since: newer versions have come)" if local_run.is_removed(this) else ""
        complaint.say(f"{this.resolved.name} is already complete: {model}{since}")
        complaint.say("Nothing to do. --new-version trains it again.")
        return 0
    num_classes = preflight.check(prepared.resolved, this.remote)
    how = local_run.train(this, num_classes, notes, Console())
    if how.phase == "Failed":
        complaint.failed(how, local_run.log_of(this, how))
    elif how.phase == "Suspended":
        complaint.say(how.message)
    return how.exit_code
