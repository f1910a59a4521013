"""The status of a job that has not ended, derived anew each time from what is known."""

from datetime import datetime

from finetune_api import not_built, reported, schedule, schedule_view
from finetune_api.errors import BadJob
from finetune_api.events import Phase
from finetune_api.reported import Reported, StageFacts
from finetune_api.v1alpha1 import (
    FineTuneJobStatus,
    JobPhase,
    LastFailure,
    MetricValue,
    StageStatus,
    Summary,
    WorkersStatus,
)
from finetune_api.v1alpha1.status import Accounting, CheckpointStatus
from finetune_operator import bodies, conditions, queues, sane
from finetune_operator.failures import Failure
from finetune_operator.situation import Situation

COLUMN = 253
"""Characters of a column."""
_BUSY = frozenset({"Running", "Restarting", "Exporting"})
_MOST_WARNINGS = 16
_WAITS = frozenset({"Admitted", "WorkersReady", "Training"})
"""Conditions that say why a job does not train."""


def derive(now: Situation) -> FineTuneJobStatus:
    """The status as it ought to be."""
    before = now.before
    current = phase(now)
    run = _run(now, current)
    facts = list(conditions.facts(now, current))
    failure = last_failure(now.failure if now.active else None, before.last_failure, now.now)
    return FineTuneJobStatus(
        observed_generation=now.resource.generation,
        phase=current,
        summary=_summary(now, run, facts),
        start_time=before.start_time or (started(now) if now.complete else None),
        trainer_image=_image(now),
        job_uid=_job_uid(now),
        run_id=now.resource.uid,
        progress=reported.progress_status(run, False, _heard(now)) if now.progress else before.progress,
        stages=stages(run, before),
        metrics=reported.metrics(run.epochs) or before.metrics,
        best_metric=best(run, before),
        workers=WorkersStatus(desired=now.spec.workers, ready=now.ready, restarts=restarts(now)),
        checkpoint=_checkpoint(now),
        accounting=accounting(now),
        last_failure=failure,
        warnings=_warnings(now),
        conditions=reported.conditions(facts, before.conditions, now.resource.generation, now.now),
    )


def phase(now: Situation) -> JobPhase:
    """Where a job that has not ended is in its life."""
    if now.spec.suspend:
        return "Suspended"
    if queues.is_queued(now):
        return "Queued"
    if now.job is None and now.observed.rejection is not None:
        return "Pending"
    if now.job is None:
        return "Queued" if now.spec.scheduling.gang == "Kueue" else "Starting"
    if now.job.suspended:
        # Without a pause to wait for, it is being resumed at this moment.
        return "Pending" if now.job.resume_at else "Starting"
    return _running(now) if now.complete else _incomplete(now)


def _incomplete(now: Situation) -> JobPhase:
    # A worker leaves with 0 once the model is there, a moment before its Job is told to be over.
    if any(pod.phase == "Succeeded" for pod in now.pods):
        return "Exporting"
    # On its way there its pod still runs, but is not ready any more.
    stay = [pod for pod in now.current.values() if pod.phase == "Running" and pod.deleting is None]
    if now.before.phase == "Exporting" and len(stay) == now.spec.workers:
        return "Exporting"
    if now.before.phase in _BUSY or now.failure is not None:
        return "Restarting"
    return "Pending" if now.waiting else "Starting"


def _running(now: Situation) -> JobPhase:
    progress = now.heard
    # Export, verification and publish are a generation each, and one that begins has not said yet what it does.
    silent: JobPhase = "Exporting" if now.before.phase == "Exporting" else "Running"
    if progress is None:
        return silent
    if progress.phase in reported.EXPORTING:
        return "Exporting"
    if progress.generation and progress.workers_ready < progress.workers:
        return "Restarting"
    return silent if progress.phase in (None, Phase.START) else "Running"


def _run(now: Situation, current: JobPhase) -> Reported:
    progress = now.progress
    epochs = reported.merge_epochs((), progress.epochs_log) if progress else ()
    return Reported(current, stage_facts(now), progress, epochs)


def stage_facts(now: Situation) -> tuple[StageFacts, ...]:
    """The schedule: as the status has it, so that it stays; at first as the job says."""
    if now.before.stages:
        return tuple(_known_facts(stage) for stage in now.before.stages)
    try:
        assert now.resource.job is not None
        resolved = schedule.resolve(now.resource.job, cluster=True)
    except BadJob:  # of a job that was started by a more generous version
        return ()
    return tuple(schedule_view.stage_facts(resolved, stage, None) for stage in resolved.stages)


def stages(run: Reported, before: FineTuneJobStatus) -> list[StageStatus]:
    """All stages; a worker 0 that was replaced no longer knows what earlier ones reached."""
    if run.progress is None and before.stages and run.phase not in ("Complete", "Failed", "Exporting"):
        return before.stages
    known = {stage.name: stage for stage in before.stages}
    found = []
    for row in reported.stage_rows(run):
        stage, old = reported.stage_status(row), known.get(row.facts.name)
        if old is not None:
            kept = {"best": stage.best or old.best, "seconds": stage.seconds or old.seconds}
            stage = stage.model_copy(update=kept)
        found.append(stage)
    return found


def best(run: Reported, before: FineTuneJobStatus) -> MetricValue | None:
    """The best figure of all stages and of all that was heard before."""
    new, old = reported.metric(reported.best_epoch(run.epochs)), before.best_metric
    if new is None or old is None or new.name != old.name:
        return new or old
    return new if float(new.value) > float(old.value) else old


def last_failure(new: Failure | None, old: LastFailure | None, now: datetime) -> LastFailure | None:
    """The newest failure; the old one if nothing has failed since."""
    if new is None:
        return old
    found = LastFailure(
        reason=new.reason,
        worker=new.worker,
        exit_code=new.exit_code,
        message=new.message[: reported.MESSAGE_LIMIT],
        hint=new.hint[: reported.TEXT_LIMIT],
        time=reported.timestamp(new.time or now),
    )
    if old is None:
        return found
    same = found.model_copy(update={"time": old.time}) == old
    is_older = new.time is not None and (found.time or "") < (old.time or "")
    is_newer = new.time is not None and (found.time or "") > (old.time or "")
    return old if is_older or (same and not is_newer) else found


def accounting(now: Situation) -> Accounting | None:
    """What the run has cost; a period that is over is added up once its end is seen."""
    old = now.before.accounting or Accounting()
    done, since = old.active_seconds or 0, bodies.moment(old.active_since)
    begun = None if now.spec.suspend else now.running_since
    if since is not None and begun is None:
        done += max(0, round((_period_end(now) - since).total_seconds()))
    if begun is None and not done:
        return now.before.accounting
    held = done + (max(0.0, now.seconds_since(begun)) if begun else 0)
    gpus = now.gpus * now.spec.workers
    return Accounting(
        gpu_seconds=sane.bounded(gpus * held) if gpus else None,
        goodput=old.goodput,
        active_seconds=sane.bounded(done),
        active_since=reported.timestamp(begun) if begun else None,
    )


def active_seconds(now: Situation) -> float:
    """Seconds that the job was active, suspension apart."""
    found = accounting(now)
    since = bodies.moment(found.active_since) if found else None
    return (found.active_seconds or 0 if found else 0) + (now.seconds_since(since) if since else 0)


def clip(text: str, limit: int = COLUMN) -> str:
    """A text in one line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def gpus_column(now: Situation) -> str:
    """Such as 2x1; empty without GPUs."""
    return f"{now.spec.workers}x{now.gpus}" if now.gpus else ""


def _period_end(now: Situation) -> datetime:
    suspended = now.job.conditions.get("Suspended") if now.job else None
    return min(now.now, (suspended.time if suspended else None) or now.now)


def _summary(now: Situation, run: Reported, facts: list[reported.Fact]) -> Summary:
    progress, old = now.progress, now.before.summary
    eta = progress.eta_seconds if progress else None
    found = best(run, now.before)
    return Summary(
        stage=clip(reported.stage_column(progress)) or old.stage,
        epoch=reported.epoch_column(progress) or old.epoch,
        progress=f"{reported.percent(progress, run.phase)}%" if progress else old.progress or "0%",
        eta=reported.eta_column(eta),
        best=best_column(found),
        workers=f"{now.ready}/{now.spec.workers}",
        gpus=gpus_column(now),
        reason=_reason(facts),
    )


def best_column(found: MetricValue | None) -> str:
    """Such as val_acc=0.943."""
    return reported.metric_column(found.name, float(found.value)) if found else ""


def _reason(facts: list[reported.Fact]) -> str:
    """Why it is not running, from the first condition that says so."""
    said = (fact for fact in facts if fact.type in _WAITS and not fact.holds)
    return next((clip(f"{fact.reason}: {fact.message}") for fact in said if fact.message), "")


def _heard(now: Situation) -> datetime:
    return now.sample.time if now.sample else now.now


def _job_uid(now: Situation) -> str | None:
    # A suspended job whose Job is gone may make a new one: it has lost nothing but its place.
    gone = None if now.spec.suspend else now.before.job_uid
    return now.job.uid if now.job else gone


def started(now: Situation) -> str | None:
    """When the first of the pods that are there began to run."""
    times = [pod.started for pod in now.pods if pod.started]
    return reported.timestamp(min(times)) if times else None


def _image(now: Situation) -> str | None:
    known = now.before.trainer_image
    if known and "@" in known:
        return known
    found = (now.chief.image if now.chief else "") or (now.job.image if now.job else "")
    return found[:COLUMN] or known


def restarts(now: Situation) -> int:
    """Generations after the first."""
    return max(now.before.workers.restarts, now.heard.restarts if now.heard else 0)


def _checkpoint(now: Situation) -> CheckpointStatus | None:
    old = now.before.checkpoint
    new = reported.checkpoint(now.heard, _heard(now))
    return old if new is None or (old is not None and old.uri == new.uri) else new


def _warnings(now: Situation) -> list[str]:
    told = (
        [warning.message[: reported.TEXT_LIMIT] for warning in now.progress.warnings] if now.progress else []
    )
    assert now.resource.job is not None
    unheeded = [f"no effect of {field}" for field in not_built.overridden(now.resource.job)]
    return list(dict.fromkeys([*unheeded, *now.before.warnings, *told]))[:_MOST_WARNINGS]


def _known_facts(stage: StageStatus) -> StageFacts:
    rate = float(stage.lr) if stage.lr else 0.0
    return StageFacts(stage.name, stage.epochs, rate, stage.trainable_params, "", stage.unfrozen_from)
