"""Keeps what is known about a run on disk: status.yaml and the log of epochs."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from pydantic import ValidationError

from finetune_api import reported
from finetune_api.events import EpochEvent, TrainerReport
from finetune_api.v1alpha1 import FineTuneJobStatus
from finetune_cli import status_view
from finetune_cli.folder import LocalFolder
from finetune_cli.view import Ending, RunView

_OFTEN_ENOUGH = timedelta(seconds=2)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Recorder:
    """Writes status.yaml when something has changed, and each epoch once."""

    def __init__(
        self, folder: LocalFolder, run_id: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        """Writes into `folder`, which must exist."""
        self._folder = folder
        self._run_id = run_id
        self._now = now
        self._status: FineTuneJobStatus | None = None
        self._epochs: tuple[EpochEvent, ...] = ()
        self._written = datetime.min.replace(tzinfo=UTC)

    def known_epochs(self) -> tuple[EpochEvent, ...]:
        """What earlier starts of this run have logged; damaged lines are left out."""
        try:
            lines = self._folder.epochs.read_text().splitlines()
        except FileNotFoundError:
            lines = []
        self._epochs = reported.merge_epochs((), filter(None, map(_epoch, lines)))
        return self._epochs

    def keep(self, shown: RunView) -> None:
        """Store a view: new epochs at once, the status at most every two seconds and at the end."""
        now = self._now()
        has_news = shown.epochs != self._epochs or shown.ending is not None
        if has_news:
            self._append(shown)
        if has_news or now - self._written >= _OFTEN_ENOUGH:
            self._status = status_view.build(shown, self._status, self._run_id, now)
            write_status(self._folder.status, self._status)
            self._written = now

    def _append(self, shown: RunView) -> None:
        new = [event for event in shown.epochs if event not in self._epochs]
        with self._folder.epochs.open("a") as log:
            log.writelines(event.model_dump_json(by_alias=True) + "\n" for event in new)
        self._epochs = shown.epochs


def write_status(path: Path, status: FineTuneJobStatus) -> None:
    """The status as YAML; a reader sees the old file or the new one."""
    text = yaml.safe_dump(status.model_dump(mode="json", by_alias=True, exclude_none=True), sort_keys=False)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text)
    unfinished.replace(path)


def write_refused(folder: LocalFolder, ending: Ending) -> None:
    """Status and TrainerReport of a job that was refused in this process, as a worker leaves them."""
    report = TrainerReport(exit_code=ending.exit_code, reason=ending.reason, message=ending.message)
    termination = folder.termination(0)
    termination.parent.mkdir(parents=True, exist_ok=True)
    termination.write_text(json.dumps(report.model_dump(mode="json", by_alias=True)))
    write_status(folder.status, status_view.refused(ending, datetime.now(UTC)))


def _epoch(line: str) -> EpochEvent | None:
    try:
        return EpochEvent.model_validate_json(line)
    except ValidationError:
        return None
