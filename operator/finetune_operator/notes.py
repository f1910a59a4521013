"""Kubernetes Events: what is worth telling about the way from one status to the next. Few: each is a write."""

from collections.abc import Iterator

from finetune_api.v1alpha1 import FineTuneJobStatus
from finetune_operator import failures
from finetune_operator.plan import Note

_LONGEST = 1000
"""Kubernetes takes 1024 bytes."""
_CALM = frozenset(
    {"Ready", "Starting", "WorkerLost", "Suspended", "Queued", "Released", "Complete", "Failed", "NotStarted"}
)
"""Reasons of WorkersReady that other Events tell, or that nobody has to be told."""


def between(before: FineTuneJobStatus, after: FineTuneJobStatus, name: str) -> tuple[Note, ...]:
    """What to tell; `name` is that of the job's objects."""
    return tuple(_told(before, after, name))


def _told(before: FineTuneJobStatus, after: FineTuneJobStatus, name: str) -> Iterator[Note]:
    if after.phase == "Complete":
        where = after.artifacts.model_uri if after.artifacts else None
        yield _note("Normal", "Completed", f"the model is at {where}" if where else "the model was published")
        return
    failure = after.last_failure
    if failure is not None and failure != before.last_failure:
        what = failures.join(f"{failure.reason}: {failure.message}", failure.hint)
        yield _note("Warning", "Failed" if after.phase == "Failed" else "WorkerFailed", what)
    if after.phase == "Failed":
        return
    if after.job_uid and not before.job_uid:
        yield _note("Normal", "Created", f"made Job {name} with {after.workers.desired} workers")
    yield from _of_phase(before, after)
    yield from _of_waiting(before, after)


def _of_phase(before: FineTuneJobStatus, after: FineTuneJobStatus) -> Iterator[Note]:
    if after.phase == before.phase:
        return
    if after.phase == "Suspended":
        yield _note("Normal", "Suspended", "spec.suspend is true; everything is kept, the pods go")
    elif before.phase == "Suspended" and after.job_uid == before.job_uid:
        yield _note("Normal", "Resumed", "goes on from the newest checkpoint")
    elif before.phase == "Queued":
        yield _note("Normal", "Admitted", "the queue lets the workers start")
    elif after.phase == "Queued" and before.phase != "Pending":
        yield _note(
            "Normal", "Preempted", "the queue has taken the job back; it goes on from its newest checkpoint"
        )
    if after.phase == "Running" and before.phase in ("Pending", "Starting", "Queued"):
        yield _note("Normal", "WorkersReady", f"all {after.workers.desired} workers are up")


def _of_waiting(before: FineTuneJobStatus, after: FineTuneJobStatus) -> Iterator[Note]:
    for kind in ("Admitted", "WorkersReady", "Training"):
        new = next((one for one in after.conditions if one.type == kind), None)
        old = next((one for one in before.conditions if one.type == kind), None)
        if new is None or new.status == "True" or (old is not None and old.reason == new.reason):
            continue
        if new.reason == "Released" or (new.message and new.reason not in _CALM):
            yield _note("Warning", new.reason, new.message)


def _note(kind: str, reason: str, message: str) -> Note:
    line = " ".join(message.split())
    return Note("Warning" if kind == "Warning" else "Normal", reason, line[:_LONGEST])
