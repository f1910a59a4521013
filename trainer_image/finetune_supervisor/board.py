"""What the outside can see of this supervisor: progress, metrics, the termination report and the log."""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from finetune_api.errors import FineTuneError
from finetune_api.events import Event, TickEvent, TrainerReport
from finetune_api.progress import ProcessFailure, Progress
from finetune_supervisor import progress, report
from finetune_supervisor.messages import Outcome, Start, Verdict
from finetune_supervisor.metrics import Metrics
from finetune_supervisor.progress import View
from finetune_supervisor.report import ReportFile

log = logging.getLogger(__name__)


class Board:
    """Takes in what happens and shows it. Cheap enough for every event."""

    def __init__(self, index: int, report_file: ReportFile) -> None:
        self._metrics = Metrics(chief=index == 0, now=time.time())
        self._file = report_file
        self._view = View(Progress())
        self._verdict: Verdict | None = None
        self._order: Start | None = None
        self._wait: FineTuneError | None = None
        self._write()

    def introduce(self, workers: int, stages: Sequence[tuple[str, int]]) -> None:
        """The job is known; `stages` are names and epochs."""
        name, epochs = stages[0]
        self._show(workers=workers, num_stages=len(stages), stage_name=name, epochs=epochs)

    def waits_for(self, problem: FineTuneError | None) -> None:
        """Nothing can start before this is repaired, and it may be soon; None: it is."""
        if str(problem) != str(self._wait):
            self._wait = problem
            log.info("waiting: %s", problem or "no more")
            self._write()

    def started(self, order: Start) -> None:
        """A training process is being forked."""
        self._order = order
        self._view = progress.started(self._view, order)
        self._metrics.process_started(order.generation)
        log.info(
            "generation %d starts: %s from %s", order.generation, order.role, order.checkpoint or "scratch"
        )
        self._write()

    def heard(self, event: Event) -> None:
        """The training process said something."""
        self._metrics.observe(event, self._view.highest_step, time.time())
        self._view = progress.after(self._view, event, time.monotonic())
        if not isinstance(event, TickEvent):
            self._log(event)
            self._write()

    def ended(self, outcome: Outcome, max_rss_bytes: int) -> None:
        """The training process is gone."""
        self._metrics.process_ended(outcome, max_rss_bytes, time.time())
        generation = self._order.generation if self._order else 0
        log.info(
            "generation %d ended here: %s %s %s", generation, outcome.ending, outcome.reason, outcome.message
        )

    def lost(self, failure: Outcome) -> None:
        """A training process somewhere in the gang failed, and the run goes on or is about to end."""
        said = ProcessFailure(
            reason=failure.reason,
            message=failure.message,
            worker=failure.worker,
            exit_code=failure.code,
            time=time.time(),
        )
        self._show(last_failure=said)

    def workers_ready(self, count: int) -> None:
        """So many workers can be, or are being, used."""
        self._show(workers_ready=count)

    def over(self, verdict: Verdict) -> None:
        """This supervisor is about to leave."""
        self._verdict = verdict
        log.info("leaving with %d %s %s", verdict.code, verdict.reason, verdict.message)
        self._write()

    def progress(self) -> Progress:
        """The body of `GET /progress`."""
        shown = progress.at(self._view, time.monotonic())
        return shown.model_copy(update={"report": self._report()})

    def metrics(self) -> bytes:
        """The body of `GET /metrics`."""
        return self._metrics.text(time.time())

    def _show(self, **update: object) -> None:
        shown = self._view.progress.model_copy(update=update)
        self._view = replace(self._view, progress=shown)

    def _report(self) -> TrainerReport:
        shown = self._view.progress
        return report.over(shown, self._verdict) if self._verdict else report.running(shown, self._wait)

    def _write(self) -> None:
        self._file.write(self._report())

    def _log(self, event: Event) -> None:
        order = self._order
        where = {"generation": order.generation, "role": order.role} if order else {}
        said = event.model_dump(mode="json", by_alias=True, exclude_none=True)
        log.info("event %s", json.dumps({**where, **said, **where}, ensure_ascii=False))
