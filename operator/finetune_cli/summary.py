"""What `finetune run` prints at the end: stages, model, files and how to use it. Pure, but for printing."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from finetune_api import reported
from finetune_cli import private_network, view, wording
from finetune_cli.view import RunView

_CLASSIFY = (
    "import sys, tensorflow as tf; "
    'model = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]; '
    'answer = model(image_bytes=tf.constant([open(sys.argv[2], "rb").read()])); '
    'print(answer["label"].numpy()[0].decode(), float(answer["score"][0]))'
)
_MOST_FILES = 24


@dataclass(frozen=True)
class Written:
    """A file of the result."""

    place: str
    """Relative to the result's folder."""
    size: int
    """Bytes."""


def stage_table(shown: RunView) -> Table:
    """The stages with what each was worth."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    scores = {reported.metric_name(event) for event in shown.epochs} or {"val_accuracy"}
    for header in ("stage", "epochs", "trainable parameters", "/".join(sorted(scores)), "seconds"):
        table.add_column(header, justify="left" if header == "stage" else "right", no_wrap=True)
    for row in view.stage_rows(shown):
        table.add_row(
            row.facts.name,
            f"{row.epochs_done}/{row.facts.epochs}",
            wording.count(row.facts.trainable_parameters),
            f"{reported.score(row.best):.4f}" if row.best else "-",
            f"{row.seconds:.1f}",
        )
    return table


def classify_command(python: str, model_uri: str, image: str | None) -> str:
    """A command line that classifies an image with nothing but `tf.saved_model.load`.

    TensorFlow loads from local disk only: for a model elsewhere the command names the folder to copy it to.
    """
    model = model_uri.removeprefix("file://") if private_network.is_local(model_uri) else "model"
    return " ".join(
        [shlex.quote(python), "-c", shlex.quote(_CLASSIFY), shlex.quote(model), shlex.quote(image or "IMAGE")]
    )


def print_end(console: Console, shown: RunView, written: Sequence[Written], root: str) -> None:
    """The table of stages and the files of the result under `root`."""
    console.print()
    console.print(stage_table(shown))
    console.print()
    _say(console, f"files written to {root}:")
    for file in written[:_MOST_FILES]:
        _say(console, f"  {file.place}  {wording.size(file.size)}")
    if len(written) > _MOST_FILES:
        _say(console, f"  and {len(written) - _MOST_FILES} more")


def print_use(console: Console, python: str, model_uri: str, image: str | None) -> None:
    """Where the model is and how to try it."""
    _say(console, f"model: {model_uri}")
    _say(console, "classify an image:")
    if not private_network.is_local(model_uri):
        _say(console, f"  # copy {model_uri} to ./model first")
    # No wrapping: the command must survive copy and paste.
    _say(console, f"  {classify_command(python, model_uri, image)}")


def log_tail(log: Path, num_lines: int) -> list[str]:
    """The last lines of a worker's log; none when it cannot be read."""
    try:
        return log.read_text(errors="replace").splitlines()[-num_lines:]
    except OSError:
        return []


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
