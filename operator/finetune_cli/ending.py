"""From how the processes ended to what the user is told. Pure."""

from collections.abc import Sequence

from finetune_api.contract import ExitCode
from finetune_api.errors import FineTuneError
from finetune_api.events import TrainerReport
from finetune_cli.local_gang import Outcome
from finetune_cli.view import Ending

_EXPLAINED = frozenset(
    {ExitCode.BAD_JOB, ExitCode.BAD_DATA, ExitCode.MISSING_INPUT, ExitCode.DENIED, ExitCode.BAD_CONFIGURATION}
)


def of_outcome(outcome: Outcome, reports: Sequence[TrainerReport | None]) -> Ending:
    """The end of a job that ran until it was over; `reports` has each worker's last TrainerReport.

    A published model wins over everything: a worker that fails on its way out takes nothing back.
    """
    published = _published(reports)
    if published is not None:
        return published
    report = reports[outcome.worker] or TrainerReport()
    if outcome.code == ExitCode.OK:
        return Ending("Complete", ExitCode.OK)
    return Ending(
        "Failed",
        outcome.code,
        reason=outcome.reason if outcome.message else report.reason or outcome.reason,
        message=_message(outcome, report),
        worker=outcome.worker,
    )


def of_error(error: FineTuneError) -> Ending:
    """The end of a job that was refused in this process."""
    return Ending("Failed", error.exit_code, reason=error.reason, message=str(error))


def of_stop(
    signal_number: int,
    codes: Sequence[int | None],
    reports: Sequence[TrainerReport | None],
    checkpoint: str | None,
) -> Ending:
    """The end of a job that the user stopped with a signal, once its processes have left."""
    published = _published(reports)
    if published is not None:
        return published
    saved = f"saved at {checkpoint}" if checkpoint else "nothing was saved yet"
    if any(code != ExitCode.STOPPED for code in codes):
        saved += " (not every worker could leave in time)"
    then = "goes on from there" if checkpoint else "begins again"
    message = f"stopped; {saved}. The same command {then}"
    return Ending("Suspended", 128 + signal_number, reason="Stopped", message=message)


def needs_log(ending: Ending) -> bool:
    """Whether the message alone may not explain the failure, so that the log's end should be shown."""
    return ending.phase == "Failed" and ending.worker is not None and ending.exit_code not in _EXPLAINED


def _published(reports: Sequence[TrainerReport | None]) -> Ending | None:
    result = reports[0].result if reports and reports[0] else None
    if result is None or result.result != "Published":
        return None
    return Ending("Complete", ExitCode.OK, model_uri=result.model_uri, version=result.version)


def _message(outcome: Outcome, report: TrainerReport) -> str:
    if outcome.message:
        return outcome.message
    said = (
        report.message
        or f"worker {outcome.worker} ended with exit code {outcome.worker_code} and left no report"
    )
    if outcome.reason == "BackoffLimitExceeded":
        return (
            f"worker {outcome.worker} was started again as often as maxRestarts allows; its last end: {said}"
        )
    return said
