"""Watches a local gang until it is over: the loop between processes, progress, screen and status file."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Protocol

from pydantic import ValidationError

from finetune_api import reported
from finetune_api.contract import ExitCode
from finetune_api.events import TrainerReport
from finetune_api.progress import Progress
from finetune_cli import ending, progress_client, view
from finetune_cli.folder import LocalFolder
from finetune_cli.launch import Layout
from finetune_cli.local_gang import LocalGang, Loss, Outcome
from finetune_cli.view import Ending, RunView

POLL = 0.25
LEAVE = 60.0
"""Seconds that workers have to save and leave when the user stops the run."""
WIND_DOWN = 10.0
"""Seconds that the other workers have to leave once the job is over."""


class Screen(Protocol):
    """Where a run is shown: a live panel or plain lines."""

    def show(self, shown: RunView, said: list[str]) -> None:
        """Show the newest view, and what was said since the last."""


class StopSignals:
    """Ctrl-C, SIGTERM or SIGHUP to this process: the first asks the workers to leave, the next ends them."""

    def __init__(self) -> None:
        """No signal yet."""
        self._event = threading.Event()
        self.count = 0
        self.number = 0
        """The first signal."""

    @contextmanager
    def caught(self) -> Iterator["StopSignals"]:
        """Catch the signals inside the `with`."""
        handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._handle) for number in handled}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def wait(self, seconds: float) -> None:
        """Pause; a signal ends it early."""
        self._event.wait(seconds)
        self._event.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.number = self.number or number
        self.count += 1
        self._event.set()


@dataclass
class Watch:
    """One local run being watched."""

    gang: LocalGang
    where: Layout
    screen: Screen
    keep: Callable[[RunView], None]
    """Stores a view; called with each one."""
    stop: StopSignals
    start_deadline: float
    """Seconds that the gang may be incomplete."""
    stored: Callable[[], str | None]
    """The furthest checkpoint in the run folder, which the last progress may not have heard of."""
    _complete_at: float = field(default_factory=time.monotonic)
    _newest: str = ""

    def until_over(self, shown: RunView) -> RunView:
        """Run until the job is over or a signal comes; the last view, with its ending."""
        while self.gang.outcome is None and not self.stop.count:
            lost = self.gang.step(time.monotonic())
            shown = self._look(shown, [self._told(loss) for loss in lost])
            outcome = self.gang.outcome or self._overdue(shown)
            if outcome is not None:
                return self._conclude(shown, outcome)
            self.stop.wait(POLL)
        return self._leave(shown)

    def _told(self, loss: Loss) -> str:
        report = read_report(self.where.folder, loss.worker)
        reason = f" ({report.reason})" if report and report.reason and report.exit_code == loss.code else ""
        again = reported.duration(loss.delay)
        return f"worker {loss.worker} ended with {loss.code}{reason}; starting it again in {again}"

    def _look(self, shown: RunView, said: list[str]) -> RunView:
        for index, address in enumerate(self.where.http):
            progress = progress_client.fetch(address)
            if progress is not None:
                shown = shown.seen(progress) if index == 0 else _heard(shown, progress)
        shown = replace(shown, replaced=self.gang.replaced)
        self._forgive(shown)
        self.screen.show(shown, said)
        self.keep(shown)
        return shown

    def _forgive(self, shown: RunView) -> None:
        """A newer checkpoint starts the restart budget afresh. Ids sort by progress."""
        checkpoint = (shown.progress and shown.progress.checkpoint) or ""
        if checkpoint > self._newest:
            self._newest = checkpoint
            self.gang.got_on()

    def _overdue(self, shown: RunView) -> Outcome | None:
        now = time.monotonic()
        progress = shown.progress
        if progress is not None and progress.workers_ready >= progress.workers > 0:
            self._complete_at = now
        if now - self._complete_at <= self.start_deadline:
            return None
        message = f"the workers were not all there for {self.start_deadline:.0f} s (startDeadlineSeconds)"
        return Outcome(ExitCode.GAVE_UP, "StartDeadlineExceeded", message=message)

    def _conclude(self, shown: RunView, outcome: Outcome) -> RunView:
        """The job is over: let the others leave, and tell why it ended."""
        if outcome.code != ExitCode.OK:
            self.gang.terminate()
        self._wait_for_all(WIND_DOWN)
        self.gang.kill()
        return self._end(shown, ending.of_outcome(outcome, self._reports()))

    def _leave(self, shown: RunView) -> RunView:
        self.gang.terminate()
        self.screen.show(shown, ["stopping: the workers save and leave (once more Ctrl-C ends them at once)"])
        asked = self.stop.count
        deadline = time.monotonic() + LEAVE
        while not self.gang.reap() and time.monotonic() < deadline and self.stop.count == asked:
            shown = self._look(shown, [])
            self.stop.wait(POLL)
        self.gang.kill()
        stopped = ending.of_stop(self.stop.number, self.gang.codes(), self._reports(), self.stored())
        return self._end(shown, stopped)

    def _wait_for_all(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self.gang.reap() and time.monotonic() < deadline:
            self.stop.wait(POLL / 5)

    def _reports(self) -> list[TrainerReport | None]:
        return [read_report(self.where.folder, index) for index in range(self.where.workers)]

    def _end(self, shown: RunView, how: Ending) -> RunView:
        ended = replace(shown, ending=how)
        self.screen.show(ended, [])
        self.keep(ended)
        return ended


def read_report(folder: LocalFolder, index: int) -> TrainerReport | None:
    """What worker `index` left in its termination file; None when there is nothing whole."""
    try:
        return TrainerReport.model_validate_json(folder.termination(index).read_bytes())
    except (OSError, ValidationError):
        return None


def _heard(shown: RunView, progress: Progress) -> RunView:
    return replace(shown, warnings=view.add_warnings(shown.warnings, progress.warnings))
