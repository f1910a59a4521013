"""What a queue says about a job: Kueue's Workload as our condition Admitted."""

from finetune_api.reported import Fact
from finetune_operator import failures
from finetune_operator.situation import Situation


def is_queued(now: Situation) -> bool:
    """Whether the Job waits for its queue."""
    job = now.job
    return (
        job is not None
        and bool(job.queue)
        and job.suspended
        and not now.spec.suspend
        and job.resume_at is None
    )


def admitted(now: Situation) -> Fact:
    """Whether the workers may start."""
    if now.spec.suspend:
        return Fact("Admitted", False, "Suspended", "spec.suspend is true.")
    if now.spec.scheduling.gang != "Kueue" and not (now.job and now.job.queue):
        return Fact("Admitted", True, "NoQueue")
    if now.active:
        return Fact("Admitted", True, "Admitted")
    return _queued(now)


def unenforced_in(now: Situation) -> float | None:
    """Seconds until a queue without a Workload counts as not enforced; None when that is no question."""
    if not is_queued(now) or now.observed.workload is not None or now.job is None:
        return None
    return now.settings.timings.queue_wait_seconds - now.seconds_since(now.job.created)


def _queued(now: Situation) -> Fact:
    workload, queue = now.observed.workload, now.spec.scheduling.queue_name
    left = unenforced_in(now)
    if left is not None and left <= 0:
        message = f"Kueue has made no Workload for this job, so nothing will start it from queue {queue}."
        hint = "check that Kueue runs, serves Jobs, and manages this namespace"
        return Fact("Admitted", False, "QueueNotEnforced", failures.join(message, hint))
    if workload is None:
        return Fact("Admitted", False, "Queued", f"Waiting in queue {queue}.")
    evicted = workload.conditions.get("Evicted")
    if evicted is not None and evicted.status == "True":
        return Fact("Admitted", False, failures.camel(evicted.reason, "Evicted"), evicted.message)
    reserved = workload.conditions.get("QuotaReserved")
    if reserved is not None and reserved.status == "True":
        return Fact("Admitted", False, "QuotaReserved", reserved.message)
    said = reserved.message if reserved is not None else ""
    return Fact("Admitted", False, "Queued", said or f"Waiting in queue {queue}.")
