"""Why a worker failed, in one reason and one sentence with a hint. First causes win over what they brought down."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from pydantic import ValidationError

from finetune_api import errors
from finetune_api.contract import IGNORED, PERMANENT, ExitCode
from finetune_api.events import TrainerReport
from finetune_api.progress import ProcessFailure
from finetune_operator import sane
from finetune_operator.observed import ConditionView, PodView

SAME_EPISODE = timedelta(seconds=30)
"""Failures closer to one another than this have one cause."""
OUT_OF_MEMORY = "OutOfMemory"
STORAGE_EXCEEDED = "StorageExceeded"

_MEMORY_HINT = (
    "lower spec.globalBatchSize or spec.model.imageSize, raise the memory limit, or use more workers"
)
_STORAGE_HINT = "lower spec.featureCache.maxBytes, or raise the ephemeral-storage limit of the workers"
_BY_CODE: dict[int, tuple[str, str, str]] = {
    ExitCode.INTERNAL: ("InternalError", "its supervisor failed", "read the worker's log"),
    ExitCode.BAD_JOB: ("BadJob", "the FineTuneJob itself is wrong", "read the worker's log"),
    ExitCode.BAD_DATA: ("BadData", "the images, labels or weights are wrong", "read the worker's log"),
    ExitCode.MISSING_INPUT: (
        "MissingInput",
        "something that the job names is not there",
        "read the worker's log",
    ),
    ExitCode.GAVE_UP: ("GaveUp", "it tried and failed for good", "read the worker's log"),
    ExitCode.TRY_AGAIN: ("PeersMissing", "its peers or the storage were away for too long", ""),
    ExitCode.DENIED: (
        "PermissionDenied",
        "the storage refused it",
        "check the credentials and what they may do",
    ),
    ExitCode.BAD_CONFIGURATION: ("BadConfiguration", "its pod is set up wrongly", "read the worker's log"),
    ExitCode.KILLED: ("Killed", "it was killed by SIGKILL", _MEMORY_HINT + ", if its memory was full"),
    ExitCode.STOPPED: ("Stopped", "it was told to stop and has saved its state", ""),
}
_DISRUPTIONS = {
    "PreemptionByScheduler": ("Preempted", "was preempted by pods of higher priority"),
    "DeletionByTaintManager": ("NodeLost", "was on a node that went away"),
    "DeletionByPodGC": ("NodeLost", "was on a node that went away"),
    "EvictionByEvictionAPI": ("Evicted", "was evicted, as when a node is drained"),
    "TerminationByKubelet": ("Evicted", "was evicted by its node"),
    "NodeLost": ("NodeLost", "was on a node that no longer answers"),
    "ForceDeleted": ("ForceDeleted", "was deleted by force"),
}
_NAMED = re.compile(r"for pod \S*?-(?P<index>\d+)-[a-z0-9]+ failed with exit code (?P<code>\d+)")


class Kind(Enum):
    """What a failure means for the job."""

    PERMANENT = "Permanent"  # starting again cannot help
    COUNTED = "Counted"
    DISRUPTION = "Disruption"  # came from outside; not counted
    CONSEQUENCE = "Consequence"  # of another failure; not counted


@dataclass(frozen=True)
class Failure:
    """One failure and what to do about it."""

    reason: str
    message: str
    hint: str = ""
    worker: int | None = None
    exit_code: int | None = None
    time: datetime | None = None
    kind: Kind = Kind.COUNTED

    @property
    def sentence(self) -> str:
        """What happened and what to do."""
        return join(self.message, self.hint)


def join(message: str, hint: str) -> str:
    """One text of what happened and what to do."""
    return f"{message} Fix: {hint}." if hint else message


def camel(reason: str, fallback: str = "Failed") -> str:
    """A reason as Kubernetes wants it: one word of letters and digits."""
    word = re.sub(r"[^A-Za-z0-9]", "", reason)[:128]
    return word if word[:1].isalpha() else fallback


def report(pod: PodView) -> TrainerReport | None:
    """What the worker said last; None when it said nothing, or something else."""
    if not pod.termination.lstrip().startswith("{"):
        return None
    try:
        return sane.report(TrainerReport.model_validate_json(pod.termination, extra="ignore"))
    except ValidationError:
        return None


def of_pod(pod: PodView) -> Failure | None:
    """Why this pod failed; None if it did not, or not yet."""
    if pod.phase == "Succeeded" or pod.exit_code == 0 or (pod.phase != "Failed" and pod.exit_code is None):
        return None
    if pod.disruption:
        return _disrupted(pod)
    if pod.status_reason == "Evicted":
        message = f"worker {pod.index} was evicted: {pod.status_message or 'it used too much storage'}"
        return _failure(pod, STORAGE_EXCEEDED, message, _STORAGE_HINT, Kind.PERMANENT)
    if pod.exit_code is None:
        reason = camel(pod.status_reason, "PodFailed")
        return _failure(pod, reason, f"worker {pod.index} failed: {pod.status_message or reason}", "")
    return _exited(pod, pod.exit_code)


def of_process(said: ProcessFailure) -> Failure:
    """A training process failed and its pod lives on: only worker 0 tells of it."""
    message, hint = errors.split_hint(said.message)
    reason = camel(said.reason)
    return Failure(
        reason=reason,
        message=f"worker {said.worker}: {message}",
        hint=hint or (_MEMORY_HINT if reason == OUT_OF_MEMORY else ""),
        worker=said.worker,
        exit_code=said.exit_code,
        time=datetime.fromtimestamp(said.time, UTC),
    )


def latest(pods: Iterable[PodView], others: Iterable[Failure] = ()) -> Failure | None:
    """The first cause of the newest episode of failures, of pods and `others`; None without any."""
    found = sorted([*filter(None, map(of_pod, pods)), *others], key=_time)
    return _first_cause(_last_episode(found)) if found else None


def decisive(pods: Iterable[PodView], condition: ConditionView) -> Failure:
    """What ended a Job, whose condition says how it ended."""
    found = sorted(filter(None, map(of_pod, pods)), key=_time)
    permanent = [failure for failure in found if failure.kind is Kind.PERMANENT]
    if permanent:
        return permanent[0]
    if condition.reason == "PodFailurePolicy":
        return _from_message(condition)
    counted = [failure for failure in found if failure.kind is Kind.COUNTED]
    if not counted:
        return Failure(camel(condition.reason), condition.message or "the Job failed", time=condition.time)
    cause = _first_cause(_last_episode(counted))
    message = f"{cause.message} It failed as often as spec.maxRestarts allows."
    return Failure(cause.reason, message, cause.hint, cause.worker, cause.exit_code, cause.time)


def is_known(pods: Iterable[PodView], condition: ConditionView) -> bool:
    """Whether the pods tell already what ended the Job."""
    wanted = {Kind.PERMANENT} if condition.reason == "PodFailurePolicy" else {Kind.PERMANENT, Kind.COUNTED}
    return any(failure is not None and failure.kind in wanted for failure in map(of_pod, pods))


def _disrupted(pod: PodView) -> Failure:
    reason, what = _DISRUPTIONS.get(pod.disruption, ("Disrupted", "was disrupted"))
    where = f" ({pod.node})" if pod.node else ""
    return _failure(pod, reason, f"worker {pod.index} {what}{where}.", "", Kind.DISRUPTION)


def _exited(pod: PodView, code: int) -> Failure:
    said = report(pod)
    where = f" in stage {said.stage_name}, step {said.step}" if said and said.stage_name else ""
    if pod.exit_reason == "OOMKilled":
        message = f"worker {pod.index} was killed for lack of memory{where}."
        return _failure(pod, OUT_OF_MEMORY, message, _MEMORY_HINT)
    kind = _kind(pod, code)
    if said and said.reason and said.message:
        message, hint = errors.split_hint(said.message)
        hint = hint or (_MEMORY_HINT if said.reason == OUT_OF_MEMORY else "")
        return _failure(pod, camel(said.reason), f"worker {pod.index}{where}: {message}", hint, kind)
    reason, what, hint = _BY_CODE.get(code, ("Crashed", "its supervisor failed", "read the worker's log"))
    message = f"worker {pod.index} ended with exit code {code}{where}: {what}."
    return _failure(pod, camel(said.reason) if said and said.reason else reason, message, hint, kind)


def _kind(pod: PodView, code: int) -> Kind:
    if code in PERMANENT:
        return Kind.PERMANENT
    if code in IGNORED:
        return Kind.CONSEQUENCE
    # Killed because its grace was over: whoever deleted it is the cause.
    return Kind.DISRUPTION if pod.deleting is not None and code == ExitCode.KILLED else Kind.COUNTED


def _failure(pod: PodView, reason: str, message: str, hint: str, kind: Kind = Kind.COUNTED) -> Failure:
    code = None if pod.exit_code is None else max(-255, min(255, pod.exit_code))
    return Failure(reason, message, hint, pod.index, code, pod.finished or pod.deleting, kind)


def _time(failure: Failure) -> float:
    return failure.time.timestamp() if failure.time else 0.0


def _last_episode(found: Sequence[Failure]) -> list[Failure]:
    episode = [found[-1]]
    for failure in reversed(found[:-1]):
        if _time(episode[-1]) - _time(failure) > SAME_EPISODE.total_seconds():
            break
        episode.append(failure)
    return episode[::-1]


def _first_cause(episode: Sequence[Failure]) -> Failure:
    causes = [failure for failure in episode if failure.kind is not Kind.CONSEQUENCE]
    return (causes or episode)[0]


def _from_message(condition: ConditionView) -> Failure:
    """What the Job controller says of a pod that is no longer there."""
    named = _NAMED.search(condition.message)
    if named is None:
        return Failure(camel(condition.reason), condition.message, time=condition.time, kind=Kind.PERMANENT)
    code, worker = int(named["code"]), int(named["index"])
    reason, what, hint = _BY_CODE.get(code, ("Failed", "it failed", ""))
    message = f"worker {worker} ended with exit code {code}: {what}."
    return Failure(reason, message, hint, worker, min(code, 255), condition.time, Kind.PERMANENT)
