"""The termination report: what is left to read when this container is gone, whatever ended it."""

import contextlib
import os
from pathlib import Path

from finetune_api.contract import TERMINATION_LIMIT
from finetune_api.errors import FineTuneError
from finetune_api.events import TrainerReport
from finetune_api.progress import Progress
from finetune_supervisor.messages import Verdict

ELLIPSIS = " … "


def running(progress: Progress, wait: FineTuneError | None = None) -> TrainerReport:
    """The report while the run goes on, or waits for something: a reason without an exit code."""
    return TrainerReport(
        generation=progress.generation,
        phase=progress.phase,
        stage=progress.stage,
        stage_name=progress.stage_name,
        step=progress.global_step,
        reason=wait.reason if wait else None,
        message=str(wait) if wait else None,
    )


def over(progress: Progress, verdict: Verdict) -> TrainerReport:
    """The last report."""
    update = {
        "exit_code": verdict.code,
        "reason": verdict.reason or None,
        "message": verdict.message or None,
        "result": verdict.result,
    }
    return running(progress).model_copy(update=update)


def encode(report: TrainerReport, limit: int = TERMINATION_LIMIT) -> bytes:
    """JSON of at most `limit` bytes: the middle of the message gives way, and metrics if need be."""
    data = _json(report)
    if len(data) <= limit:
        return data
    if report.result and len(_json(report.model_copy(update={"message": None}))) > limit:
        report = report.model_copy(update={"result": report.result.model_copy(update={"metrics": {}})})
        data = _json(report)
    message = report.message or ""
    keep = len(message)
    while keep > 0 and len(data) > limit:
        # JSON escapes may take several bytes a character, so the excess is only an upper bound for the cut.
        keep = max(0, keep - max(1, (len(data) - limit) // 6))
        head, tail = keep - keep // 3, keep // 3
        shortened = message[:head] + ELLIPSIS + (message[-tail:] if tail else "")
        data = _json(report.model_copy(update={"message": shortened}))
    return data


class ReportFile:
    """Writes in place: Kubernetes mounts the termination file itself, so it cannot be renamed over."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._covered = os.fstat(self._fd).st_size
        self._last = b""

    def write(self, report: TrainerReport) -> None:
        """Replaces the report. Killed at any point, a whole report is left."""
        data = encode(report)
        if data == self._last:
            return
        # One write covers the old report's tail with blanks, which JSON allows; only then is it cut off.
        with contextlib.suppress(OSError):
            os.pwrite(self._fd, data.ljust(self._covered), 0)
            os.ftruncate(self._fd, len(data))
        self._covered = len(data)
        self._last = data


def _json(report: TrainerReport) -> bytes:
    return report.model_dump_json(by_alias=True, exclude_none=True).encode()
