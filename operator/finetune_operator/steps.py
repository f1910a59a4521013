"""What a job that goes on needs: its objects, its suspension, and to be looked at again in time."""

from finetune_operator import deadlines, manifests, queues
from finetune_operator.bodies import EPOCH
from finetune_operator.deadlines import patch_job
from finetune_operator.plan import Create, Patch, Plan
from finetune_operator.situation import Situation


def create(now: Situation) -> Plan | None:
    """Make what is missing; of a suspended job nothing at all before it is resumed."""
    if now.spec.suspend and now.job is None:
        return None
    missing = [kind for kind in _expected(now) if kind not in now.observed.children]
    if now.job is None:
        missing += ["PodGroup", "Job"]
    elif not missing:
        return None
    assert now.resource.job is not None
    made = manifests.children(now.resource.job, now.resource.uid, now.resource.namespace, now.settings)
    return Plan(tuple(Create(made[kind]) for kind in made if kind in missing), check=True)


def suspend(now: Situation) -> Plan | None:
    """Suspend or resume as the spec says. A queue's Job is the queue's to start: it is asked instead."""
    job, workload, wanted = now.job, now.observed.workload, now.spec.suspend
    if job is None or job.stop_reason or (job.resume_at is not None and not wanted):
        return None
    if job.queue:
        if workload is None or workload.active is not wanted:
            return None
        return Plan((Patch("Workload", workload.name, workload.uid, {"spec": {"active": not wanted}}),))
    return None if job.suspended is wanted else Plan((patch_job(job, {"spec": {"suspend": wanted}}),))


def resize(now: Situation) -> Plan | None:
    """Somebody has changed the number of pods; a gang is as large as the job says."""
    job, workers = now.job, now.spec.workers
    if job is None or job.stop_reason or not job.parallelism or job.parallelism == workers:
        return None
    return Plan((patch_job(job, {"spec": {"parallelism": workers, "completions": workers}}),))


def watch(now: Situation) -> Plan | None:
    """When to look again, and what else has to be known."""
    job = now.job
    if job is None:
        return None
    agains = (_events_due(now), deadlines.deadline_left(now), queues.unenforced_in(now))
    due = [seconds for seconds in agains if seconds is not None and seconds > 0]
    answers = now.active and now.chief is not None and bool(now.chief.ip) and now.chief.started is not None
    listing = _events_due(now)
    return Plan(
        again=min(due, default=None),
        poll=answers and now.chief is not None and now.chief.exit_code is None,
        want_events=listing is not None and listing <= 0,
    )


def _expected(now: Situation) -> list[str]:
    """Kinds of the objects that this job needs besides its Job, as long as it runs. A PodGroup matters to the
    start alone, and its scheduler fills it in: it is made once and not watched."""
    return ["Service", "ConfigMap", *(["NetworkPolicy"] if now.settings.network_policy.enabled else [])]


def _events_due(now: Situation) -> float | None:
    """Seconds until the Events are to be listed, as only they say why workers are missing."""
    if not now.active or now.complete or now.is_ending:
        return None
    timings, waited = now.settings.timings, now.seconds_since(now.incomplete_since)
    last = now.observed.events_time or EPOCH
    pause = min(timings.events_longest_seconds, max(timings.events_after_seconds, waited / 2))
    return max(timings.events_after_seconds - waited, pause - now.seconds_since(last))
