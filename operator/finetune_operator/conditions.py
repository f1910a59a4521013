"""The ten conditions of a job that has not ended."""

from collections.abc import Iterator

from finetune_api import reported
from finetune_api.events import Phase
from finetune_api.reported import Fact
from finetune_api.v1alpha1 import JobPhase
from finetune_operator import failures, queues
from finetune_operator.situation import Situation

_NOT_YET = frozenset({None, Phase.START, Phase.DATA})
_UNREACHABLE_AFTER = 60.0
"""Seconds without an answer of worker 0."""


def facts(now: Situation, phase: JobPhase) -> Iterator[Fact]:
    """What each condition says in `phase`, which is not a final one."""
    yield Fact("Validated", True, "Accepted")
    yield queues.admitted(now)
    yield workers_ready(now, phase)
    yield _training(now, phase)
    saved = now.before.checkpoint is not None or (now.progress is not None and bool(now.progress.checkpoint))
    yield Fact("CheckpointHealthy", True if saved else None, "Saved" if saved else "NoneYet")
    yield Fact("ModelExported", None, "NotYet")
    yield _progress_available(now)
    yield Fact("Complete", False, "NotYet")
    yield Fact("Failed", False, "NotYet")
    yield Fact("Finished", False, "NotYet")


def workers_ready(now: Situation, phase: JobPhase) -> Fact:
    """Whether the whole gang is up, and why not."""
    if phase in ("Suspended", "Queued"):
        return Fact("WorkersReady", False, phase)
    if now.job is not None and now.job.resume_at is not None:
        when = reported.timestamp(now.job.resume_at)
        message = f"Not all workers could start, so those that could were let go; next try at {when}."
        return Fact("WorkersReady", False, "Released", message)
    if now.active and now.complete:
        return Fact("WorkersReady", True, "Ready")
    if now.waiting is not None:
        message = failures.join(now.waiting.message, now.waiting.hint)
        return Fact("WorkersReady", False, now.waiting.reason, message)
    return Fact("WorkersReady", False, "WorkerLost" if phase == "Restarting" else "Starting")


def _training(now: Situation, phase: JobPhase) -> Fact:
    progress = now.progress
    known = now.condition("Training")
    said = now.heard.report if now.heard else None
    if phase == "Running" and said and said.reason and said.message and said.exit_code is None:
        # It is up, but waits for something before it begins, such as its secret.
        return Fact("Training", None, failures.camel(said.reason), f"worker 0: {said.message}")
    if phase == "Running" and progress is None:
        # Nothing is heard yet, as after a restart of the operator: what was said still holds.
        holds = {"True": True, "False": False}.get(known.status) if known else None
        return Fact("Training", holds, known.reason if known else "NotYet", known.message if known else "")
    if phase == "Running" and progress is not None and progress.phase not in _NOT_YET:
        return Fact("Training", True, "Training", f"stage {reported.stage_column(progress)}")
    begun = known is not None and known.status != "Unknown"
    return Fact("Training", False if begun else None, phase if begun else "NotYet")


def _progress_available(now: Situation) -> Fact:
    if now.sample is not None:
        return Fact("ProgressAvailable", True, "Reported")
    since = now.observed.poll_failing_since
    if since is not None and now.complete and now.seconds_since(since) >= _UNREACHABLE_AFTER:
        message = "Worker 0 does not answer on its port 9090; training goes on."
        hint = "let the operator's namespace reach the pods: NetworkPolicy, service mesh"
        return Fact("ProgressAvailable", False, "ChiefUnreachable", failures.join(message, hint))
    known = now.condition("ProgressAvailable")
    if known is not None and known.status != "Unknown":
        return Fact("ProgressAvailable", known.status == "True", known.reason, known.message)
    return Fact("ProgressAvailable", None, "NotYet")
