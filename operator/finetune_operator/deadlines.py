"""Jobs whose time is up, and gangs that do not become complete."""

from datetime import timedelta
from typing import Any

from finetune_api import reported
from finetune_api.contract import Annotation
from finetune_operator import failures, healing, status
from finetune_operator.failures import STORAGE_EXCEEDED, Failure
from finetune_operator.observed import JobView
from finetune_operator.plan import Patch, Plan
from finetune_operator.situation import Situation

MOST_RELEASES = 3


def stop(now: Situation) -> Plan | None:
    """End the Job when its time is up, or when going on cannot help. Says why on the Job itself, once."""
    if not now.active or now.job is None or now.job.stop_reason:
        return None
    found = _evicted_for_good(now) or _deadline(now) or _start_deadline(now)
    if found is None:
        return None
    return Plan((stopped(now.job, found),), again=5.0)


def stopped(job: JobView, why: Failure) -> Patch:
    """The patch that makes the Job controller end the Job, and tells whoever looks later why."""
    annotations = {Annotation.STOP_REASON: why.reason, Annotation.STOP_MESSAGE: why.sentence[:4096]}
    return patch_job(job, {"metadata": {"annotations": annotations}, "spec": {"activeDeadlineSeconds": 1}})


def release(now: Situation) -> Plan | None:
    """Let go of what an incomplete gang holds, so that another can be complete; try again a little later."""
    left = _start_left(now)
    if left is None or now.job is None or now.job.releases >= MOST_RELEASES:
        return None
    if left > 0:
        return Plan(again=left)
    pause = now.settings.timings.release_seconds * (
        1 + 2 * healing.chance(now.resource.uid, now.job.releases)
    )
    annotations: dict[str, Any] = {
        Annotation.RELEASES: str(now.job.releases + 1),
        Annotation.RESUME_AT: reported.timestamp(now.now + timedelta(seconds=pause)),
    }
    return Plan(_held(now, now.job, annotations, held=True), again=pause)


def resume(now: Situation) -> Plan | None:
    """Let a released gang try again when its time has come."""
    job = now.job
    if job is None or job.resume_at is None or job.stop_reason:
        return None
    left = (job.resume_at - now.now).total_seconds()
    if left > 0 and not now.spec.suspend:
        return Plan(again=left)
    # A suspension by the user takes over; its end is the next try.
    return Plan(_held(now, job, {Annotation.RESUME_AT: None}, held=now.spec.suspend))


def forgive(now: Situation) -> Plan | None:
    """A gang that became complete may be incomplete again for as long as the first time."""
    job = now.job
    if job is None or not job.releases or not now.active or not now.complete:
        return None
    return Plan((patch_job(job, {"metadata": {"annotations": {Annotation.RELEASES: None}}}),))


def patch_job(job: JobView, body: dict[str, Any]) -> Patch:
    """A patch of the Job."""
    return Patch("Job", job.name, job.uid, body)


def deadline_left(now: Situation) -> float | None:
    """Seconds that the job may still be active; None without a limit."""
    if now.spec.active_deadline_seconds is None or not now.active:
        return None
    return now.spec.active_deadline_seconds - status.active_seconds(now)


def _held(now: Situation, job: JobView, annotations: dict[str, Any], *, held: bool) -> tuple[Patch, ...]:
    """One patch that notes why and holds or lets go; of a queue's Job the queue holds it."""
    noted: dict[str, Any] = {"metadata": {"annotations": annotations}}
    workload = now.observed.workload
    if not job.queue:
        return (patch_job(job, {**noted, "spec": {"suspend": held}}),)
    if workload is None:
        return (patch_job(job, noted),)
    asked = Patch("Workload", workload.name, workload.uid, {"spec": {"active": not held}})
    return (patch_job(job, noted), asked)


def _evicted_for_good(now: Situation) -> Failure | None:
    found = (failures.of_pod(pod) for pod in now.pods)
    return next((one for one in found if one and one.reason == STORAGE_EXCEEDED), None)


def _deadline(now: Situation) -> Failure | None:
    left = deadline_left(now)
    if left is None or left > 0:
        return None
    message = f"The job was active for spec.activeDeadlineSeconds, {now.spec.active_deadline_seconds} s."
    return Failure("DeadlineExceeded", message, "raise spec.activeDeadlineSeconds in a new FineTuneJob")


def _start_left(now: Situation) -> float | None:
    """Seconds that an incomplete gang has left to become complete."""
    if not now.active or now.complete or now.is_ending or now.job is None or now.job.stop_reason:
        return None
    return now.spec.start_deadline_seconds - now.seconds_since(now.incomplete_since)


def _start_deadline(now: Situation) -> Failure | None:
    left = _start_left(now)
    if left is None or left > 0 or now.job is None or now.job.releases < MOST_RELEASES:
        return None
    why = f": {now.obstacle.reason}: {now.obstacle.message}" if now.obstacle else "."
    message = (
        f"Only {now.ready} of {now.spec.workers} workers could start within spec.startDeadlineSeconds,"
        f" {now.spec.start_deadline_seconds} s, at {MOST_RELEASES + 1} tries{why}"
    )
    return Failure("StartDeadlineExceeded", message, now.obstacle.hint if now.obstacle else "")
