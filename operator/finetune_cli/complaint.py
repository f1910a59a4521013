"""What goes to standard error: one message with what happened, what was expected, what to change."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import click

from finetune_api.errors import FineTuneError
from finetune_cli import ending
from finetune_cli.folder import LocalFolder, home
from finetune_cli.view import Ending


def refuse(job: Path, error: FineTuneError) -> None:
    """Tell that a job was not started, and leave status and TrainerReport as a worker would have."""
    from finetune_cli import recorder

    how = ending.of_error(error)
    folder = LocalFolder(home() / "refused" / (job.stem or "job"))
    # The message matters more than the files: a full disk must not hide it.
    with contextlib.suppress(OSError):
        recorder.write_refused(folder, how)
        say(f"status: {folder.status}")
    failed(how, [])


def failed(how: Ending, log: Sequence[str]) -> None:
    """The one message of a failed run; below it the end of a log where the message may not say it all."""
    click.echo(f"error: {how.message} ({how.reason}, exit code {how.exit_code})", err=True)
    for line in log:
        click.echo(f"  {line}", err=True)


def exit_with(error: FineTuneError) -> None:
    """End a command that only looks at a job."""
    click.echo(f"error: {error} ({error.reason}, exit code {int(error.exit_code)})", err=True)
    raise SystemExit(int(error.exit_code))


def say(line: str) -> None:
    """A line for people, on standard output."""
    click.echo(line)
