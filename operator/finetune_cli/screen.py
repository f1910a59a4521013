"""Where a run is shown while it runs: a live panel on a terminal, lines anywhere else."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.live import Live

from finetune_cli import lines, panel
from finetune_cli.view import RunView
from finetune_cli.watch import Screen


class Lines:
    """One line for each stage, epoch and happening."""

    def __init__(self, console: Console, first: RunView) -> None:
        """`first` holds what is known before the start and is not told again."""
        self._console = console
        self._before = first
        self._say(lines.headline(first))

    def show(self, shown: RunView, said: list[str]) -> None:
        """Print what is new."""
        for line in [*said, *lines.news(self._before, shown)]:
            self._say(line)
        self._before = shown

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class LivePanel:
    """A panel that is drawn over itself; what is said scrolls by above it."""

    def __init__(self, console: Console, live: Live) -> None:
        """`live` is running on `console`."""
        self._console = console
        self._live = live

    def show(self, shown: RunView, said: list[str]) -> None:
        """Redraw the panel."""
        for line in said:
            self._console.print(line, markup=False, highlight=False)
        self._live.update(panel.draw(shown, datetime.now(UTC)), refresh=True)


@contextmanager
def opened(console: Console, first: RunView) -> Iterator[Screen]:
    """The screen that suits `console`, for the length of a run."""
    if not console.is_terminal:
        yield Lines(console, first)
        return
    drawn = panel.draw(first, datetime.now(UTC))
    with Live(
        drawn, console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
    ) as live:
        yield LivePanel(console, live)
