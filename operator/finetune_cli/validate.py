"""`finetune validate`: the checks that need no data."""

from pathlib import Path

import click

from finetune_api.errors import FineTuneError
from finetune_cli import complaint


@click.command()
@click.argument("job", type=click.Path(path_type=Path), metavar="JOB.yaml")
def validate(job: Path) -> None:
    """Check a job file.

    Says what is wrong, where, and what was probably meant. Looks at no data.
    """
    from finetune_cli.job_source import read

    try:
        resolved = read(job).resolved
    except FineTuneError as error:
        complaint.exit_with(error)
        return
    stages = ", ".join(f"{each.name} ({each.epochs} epochs, {each.optimizer})" for each in resolved.stages)
    workers = f"{resolved.workers} worker{'s' if resolved.workers > 1 else ''}"
    complaint.say(f"{job} is valid: {resolved.backbone} at {resolved.image_size} px, {workers}, {stages}")
