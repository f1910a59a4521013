"""The live panel of `finetune run` on a terminal. Drawing is pure: a view and a time in, a renderable out."""

from datetime import datetime

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from finetune_api import reported
from finetune_api.reported import StageRow
from finetune_cli import lines, view, wording
from finetune_cli.view import RunView

_COLOURS = {
    "Starting": "cyan",
    "Running": "green",
    "Restarting": "yellow",
    "Exporting": "cyan",
    "Complete": "bold green",
    "Failed": "bold red",
    "Suspended": "yellow",
}
_SPARKS = 24


def draw(shown: RunView, now: datetime) -> RenderableType:
    """The whole panel, readable at 80 columns."""
    parts: list[RenderableType] = [_stage_table(shown), _summary(shown, now)]
    parts += [Text(f"note: {warning.message}", style="yellow") for warning in shown.warnings[-3:]]
    current = view.phase(shown)
    return Panel(
        Group(*parts),
        title=f"{shown.name}  [{_COLOURS[current]}]{current}[/]",
        subtitle=f"{shown.backbone}, {_workers(shown)}",
        title_align="left",
        subtitle_align="left",
        width=100,
        expand=False,
    )


def _stage_table(shown: RunView) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1))
    table.add_column("stage", no_wrap=True)
    table.add_column("epoch", justify="right", no_wrap=True)
    table.add_column("", ratio=1)
    table.add_column("trainable", justify="right", no_wrap=True)
    table.add_column("best", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    for row in view.stage_rows(shown):
        table.add_row(*_cells(shown, row), style="dim" if row.state == "Pending" else "")
    return table


def _cells(shown: RunView, row: StageRow) -> list[RenderableType]:
    best = f"{reported.score(row.best):.4f}" if row.best else "-"
    return [
        row.facts.name,
        f"{row.epochs_done}/{row.facts.epochs}",
        ProgressBar(total=1.0, completed=_share(shown, row)),
        wording.count(row.facts.trainable_parameters),
        best,
        reported.duration(row.seconds) if row.seconds else "-",
    ]


def _share(shown: RunView, row: StageRow) -> float:
    """How much of a stage is done, the running epoch's steps included; an early end counts as whole."""
    if row.state == "Complete":
        return 1.0
    progress = shown.progress
    running = 0.0
    if row.state == "Running" and progress is not None and progress.steps_per_epoch:
        running = min(1.0, progress.step / progress.steps_per_epoch)
    return min(1.0, (row.epochs_done + running) / max(1, row.facts.epochs))


def _summary(shown: RunView, now: datetime) -> Text:
    text = Text()
    text.append(f" {view.percent(shown)}%  {_activity(shown)}\n")
    scores = [reported.score(event) for event in shown.epochs]
    if scores:
        text.append(f" {wording.sparkline(scores, _SPARKS)}  best {lines.best_line(shown)}\n", style="bold")
    text.append(
        f" {reported.duration((now - shown.started).total_seconds())}{_eta(shown)}{_restarts(shown)}",
        style="dim",
    )
    return text


def _activity(shown: RunView) -> str:
    progress = shown.progress
    if shown.ending is not None:
        return ""
    if progress is None or progress.phase is None:
        return "starting TensorFlow"
    units = f" {progress.tick:,}/{progress.tick_total:,}" if progress.tick_total else ""
    if progress.steps_per_epoch and progress.step:
        units = f" {progress.step}/{progress.steps_per_epoch}"
    return f"{progress.phase.value.lower()}{units}"


def _eta(shown: RunView) -> str:
    seconds = shown.progress.eta_seconds if shown.progress and not shown.ending else None
    return f", about {reported.duration(seconds)} to go" if seconds else ""


def _restarts(shown: RunView) -> str:
    restarts = view.restarts(shown)
    return f", {restarts} restart{'s' if restarts > 1 else ''}" if restarts else ""


def _workers(shown: RunView) -> str:
    ready = shown.progress.workers_ready if shown.progress else 0
    return f"{ready}/{shown.workers} workers"
