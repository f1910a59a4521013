"""How a job ends: what is final about it, and the status that says so."""

from dataclasses import dataclass
from datetime import datetime
from math import isfinite

from finetune_api import errors, reported
from finetune_api.events import EpochEvent, ResultEvent
from finetune_api.reported import Reported
from finetune_api.v1alpha1 import (
    Artifacts,
    FineTuneJobStatus,
    JobPhase,
    MetricValue,
    WorkersStatus,
)
from finetune_api.v1alpha1.status import ProgressStatus, Summary
from finetune_operator import failures, final_conditions, sane, status
from finetune_operator.failures import Failure
from finetune_operator.manifests.pod import GRACE_SECONDS
from finetune_operator.situation import Situation, has_ended, is_published

NO_WAIT = float("-inf")
_SCORES = ("val_accuracy", "accuracy")


@dataclass(frozen=True)
class Ending:
    """The job is over."""

    failure: Failure | None = None
    """None: the model is there."""
    time: datetime | None = None
    """When, if the API says so."""


@dataclass(frozen=True)
class NotYet:
    """The job is over, but what the pods say about it has not arrived."""


def of_job(now: Situation) -> Ending | NotYet | None:
    """How our Job ended; None while it has not."""
    conditions = now.job.conditions if now.job else {}
    good = conditions.get("SuccessCriteriaMet") or conditions.get("Complete")
    bad = conditions.get("FailureTarget") or conditions.get("Failed")
    over = good or bad
    if over is None:
        return None
    published = is_published(now.report)
    since = now.seconds_since(over.time) - 1.0 if over.time else 0.0  # conditions tell whole seconds
    if not published and since < _patience(now, good is not None):
        return NotYet()
    if good or published:
        return Ending(time=over.time)
    assert bad is not None
    if now.job and now.job.stop_reason:
        message, hint = errors.split_hint(now.job.stop_message)
        return Ending(Failure(failures.camel(now.job.stop_reason), message, hint), over.time)
    return Ending(failures.decisive(now.pods, bad), over.time)


def final_status(now: Situation, end: Ending) -> FineTuneJobStatus:
    """The last status of a valid job."""
    before = now.before
    current: JobPhase = "Failed" if end.failure else "Complete"
    run = Reported(current, status.stage_facts(now), now.progress, _epochs(now))
    result = now.report.result if now.report and not end.failure else None
    done = reported.timestamp(end.time or now.now)
    found = status.derive(now)
    progress = _progress(now, run, found.progress)
    best = _best(result) or status.best(run, before)
    return found.model_copy(
        update={
            "phase": current,
            "summary": _summary(now, run, progress, best, end),
            "start_time": before.start_time or status.started(now) or done,
            "completion_time": done,
            "progress": progress,
            "stages": status.stages(run, before),
            "metrics": _metrics(result) or found.metrics,
            "best_metric": best,
            "workers": WorkersStatus(desired=now.spec.workers, ready=0, restarts=status.restarts(now)),
            "artifacts": _artifacts(result) or before.artifacts,
            "accounting": _accounting(now),
            "last_failure": status.last_failure(
                end.failure or now.healed_failure, before.last_failure, now.now
            ),
            "conditions": final_conditions.ended(now, end.failure),
        }
    )


def refusal(now: Situation, failure: Failure, *, validated: bool) -> FineTuneJobStatus:
    """The last status of a job that came to nothing, or whose spec cannot be read."""
    done = reported.timestamp(now.now)
    workers = now.resource.job.spec.workers if now.resource.job else now.before.workers.desired
    return FineTuneJobStatus(
        observed_generation=now.resource.generation,
        phase="Failed",
        summary=Summary(progress="0%", workers=f"0/{workers}", reason=_reason(failure)),
        completion_time=done,
        run_id=now.resource.uid or None,
        workers=WorkersStatus(desired=workers),
        last_failure=status.last_failure(failure, None, now.now),
        conditions=final_conditions.refused(now, failure, validated=validated),
    )


def _patience(now: Situation, is_good: bool) -> float:
    """How long after the Job's end more may still be heard from its pods, in seconds; none if all is told."""
    chief, wait = now.chief, now.settings.timings.report_wait_seconds
    if is_good:
        return NO_WAIT if chief is not None and chief.exit_code is not None else wait
    if chief is not None and chief.started is not None and chief.exit_code is None and not has_ended(chief):
        # It is told to stop; a model that it commits all the same within its grace counts.
        exporting = now.before.phase == "Exporting" or (now.heard and now.heard.phase in reported.EXPORTING)
        return GRACE_SECONDS + wait if exporting else wait
    bad = now.job.conditions.get("FailureTarget") or now.job.conditions.get("Failed") if now.job else None
    told = bool(now.job and now.job.stop_reason) or (bad is not None and failures.is_known(now.pods, bad))
    return NO_WAIT if told else wait


def _epochs(now: Situation) -> tuple[EpochEvent, ...]:
    return reported.merge_epochs((), now.progress.epochs_log) if now.progress else ()


def _progress(now: Situation, run: Reported, found: ProgressStatus) -> ProgressStatus:
    """The last figures; a finished job has done all its steps even if nothing was ever heard of them."""
    step = max(found.step, now.report.step if now.report else 0)
    update = {"step": step, "eta_seconds": None}
    if run.phase != "Complete":
        return found.model_copy(update=update)
    epochs = run.stages[-1].epochs if run.stages else found.epochs
    in_last = now.progress is not None and now.progress.stage == len(run.stages) - 1
    epoch = found.epoch if in_last and found.epoch else epochs
    ended = {"percent": 100, "steps": max(found.steps, step), "epoch": epoch, "epochs": epochs}
    return found.model_copy(update={**update, **ended})


def _summary(
    now: Situation, run: Reported, progress: ProgressStatus, best: MetricValue | None, end: Ending
) -> Summary:
    old, count = now.before.summary, len(run.stages)
    stage = (
        f"{count}/{count} {run.stages[-1].name}"
        if run.phase == "Complete" and count
        else _last_stage(now, run)
    )
    shown = f"{progress.epoch}/{progress.epochs}" if progress.epochs else old.epoch
    return Summary(
        stage=status.clip(stage),
        epoch=shown,
        progress=f"{progress.percent}%",
        best=status.best_column(best),
        workers=f"0/{now.spec.workers}",
        gpus=status.gpus_column(now),
        reason=_reason(end.failure),
    )


def _last_stage(now: Situation, run: Reported) -> str:
    """Where a failed job was, by its progress, the last word of a worker, or what was known before."""
    reports = (failures.report(pod) for pod in now.pods)
    said = now.report or next((one for one in reports if one and one.stage_name), None)
    if now.progress is None and said and said.stage_name and run.stages:
        return f"{said.stage + 1}/{len(run.stages)} {said.stage_name}"
    return reported.stage_column(now.progress) or now.before.summary.stage


def _reason(failure: Failure | None) -> str:
    if failure is None:
        return ""
    what = f"{failure.reason}: {failure.message}"
    # What to do is what the reader needs most: it is not to be cut off.
    hint = status.clip(f"Fix: {failure.hint}.", 170) if failure.hint else ""
    return f"{status.clip(what, status.COLUMN - len(hint) - 1)} {hint}".rstrip()


def _accounting(now: Situation) -> object:
    found = status.accounting(now)
    if found is None:
        return None
    seconds = status.active_seconds(now)
    return found.model_copy(update={"active_seconds": sane.bounded(seconds), "active_since": None})


def _artifacts(result: ResultEvent | None) -> Artifacts | None:
    if result is None or not result.model_uri:
        return None
    return Artifacts(model_uri=result.model_uri[:1024], version=result.version)


def _metrics(result: ResultEvent | None) -> list[MetricValue]:
    figures = result.metrics.items() if result else ()
    good = [(name, value) for name, value in figures if isfinite(value) and 0 < len(name) < 254]
    return [MetricValue(name=name, value=reported.number(value)) for name, value in good[:32]]


def _best(result: ResultEvent | None) -> MetricValue | None:
    if result is None:
        return None
    found = next((name for name in _SCORES if isfinite(result.metrics.get(name, float("nan")))), None)
    if found is None:
        return None
    value = reported.number(result.metrics[found])
    epoch = None if result.best_epoch is None else result.best_epoch + 1
    return MetricValue(name=found, value=value, stage=result.best_stage, epoch=epoch)
