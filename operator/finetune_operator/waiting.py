"""Why workers are not there yet, in one reason and one sentence: from pods, from Events, from the queue."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from finetune_operator.observed import EventView, PodView, Rejection


class Waiting(NamedTuple):
    """What is waited for."""

    reason: str
    message: str
    hint: str = ""


class _Pattern(NamedTuple):
    source: str
    """Reason of the Event."""
    text: re.Pattern[str]
    reason: str
    hint: str


_IMAGE_HINT = "check spec.image and the pull secrets of the namespace"
_SECRET_HINT = "create the secret in the job's namespace, or correct spec.storage.secretName"
_CLAIM_HINT = "check the PersistentVolumeClaim and its StorageClass"
_QUOTA_HINT = "raise the namespace's ResourceQuota, or ask for less: spec.workers, spec.resources.limits"
_REJECTED_HINT = "see the policies of the namespace; the pods keep to Pod Security `restricted`"
_NODES_HINT = "ask for less, change spec.placement, or add nodes"

_EVENTS: Sequence[_Pattern] = (
    _Pattern(
        "FailedCreate",
        re.compile("exceeded quota|must specify .*(limits|requests)"),
        "QuotaExceeded",
        _QUOTA_HINT,
    ),
    _Pattern(
        "FailedCreate",
        re.compile("violates PodSecurity|forbidden|denied|admission"),
        "PodRejected",
        _REJECTED_HINT,
    ),
    _Pattern("FailedCreate", re.compile(""), "PodRejected", ""),
    _Pattern(
        "FailedMount", re.compile('secret ".*" not found|couldn\'t find key'), "SecretMissing", _SECRET_HINT
    ),
    _Pattern(
        "FailedMount",
        re.compile('configmap ".*" not found'),
        "ConfigMapMissing",
        "it is made again by the operator",
    ),
    _Pattern(
        "FailedMount|FailedAttachVolume|ProvisioningFailed", re.compile(""), "VolumeUnbound", _CLAIM_HINT
    ),
    _Pattern("FailedScheduling", re.compile("(?i)persistentvolumeclaim"), "VolumeUnbound", _CLAIM_HINT),
    _Pattern("FailedScheduling", re.compile(""), "Unschedulable", _NODES_HINT),
    _Pattern("Failed|BackOff|InspectFailed", re.compile("(?i)image"), "ImagePull", _IMAGE_HINT),
    _Pattern("FailedCreatePodSandBox", re.compile(""), "NodeNotReady", "see the events of the pod"),
)
"""The first that fits an Event decides."""
_OF_JOB = frozenset({"FailedCreate"})
_PREEMPTION = re.compile(r" (no new claims to deallocate, )?preemption: .*", re.DOTALL)
"""What the scheduler adds to each refusal about the nodes: as long as the reason itself, and no help."""


def of_pods(pods: Iterable[PodView], missing: bool, events: Sequence[EventView] | None) -> Waiting | None:
    """Why the gang is not complete; None when nothing says so.

    Args:
        pods: those that are not ready.
        missing: whether workers have no pod at all.
        events: Warnings about Job and pods, if they were listed.
    """
    pods = tuple(pods)
    waiting = {pod.name for pod in pods}
    about = [
        event for event in events or () if event.name in waiting or (missing and event.reason in _OF_JOB)
    ]
    newest = sorted(about, key=lambda event: event.time.timestamp() if event.time else 0.0, reverse=True)
    rules: tuple[Callable[[], Iterable[Waiting | None]], ...] = (
        lambda: (_from_event(event) for event in newest if event.reason in _OF_JOB),
        lambda: map(_from_pod, pods),
        lambda: map(_from_event, newest),
    )
    return next((found for rule in rules for found in rule() if found), None)


def of_rejection(rejection: Rejection) -> Waiting:
    """Why an object of the job could not be made or changed."""
    message = f"{rejection.kind}: {rejection.message}"
    if "exceeded quota" in rejection.message:
        return Waiting("QuotaExceeded", message, _QUOTA_HINT)
    return Waiting(
        "Refused", message, "see the permissions of the operator and the policies of the namespace"
    )


def _from_pod(pod: PodView) -> Waiting | None:
    if pod.unschedulable:
        if "persistentvolumeclaim" in pod.unschedulable.lower():
            return Waiting("VolumeUnbound", pod.unschedulable, _CLAIM_HINT)
        return Waiting("Unschedulable", _PREEMPTION.sub("", pod.unschedulable), _NODES_HINT)
    reason, message = pod.waiting_reason, pod.waiting_message
    if not reason:
        return None
    if "Image" in reason or "Registry" in reason:
        return Waiting("ImagePull", f"{reason}: {message}" if message else reason, _IMAGE_HINT)
    if "secret" in message.lower():
        return Waiting("SecretMissing", message, _SECRET_HINT)
    return Waiting("ContainerNotStarted", f"{reason}: {message}", "see the events of the pod")


def _from_event(event: EventView) -> Waiting | None:
    for pattern in _EVENTS:
        if re.fullmatch(pattern.source, event.reason) and pattern.text.search(event.message):
            return Waiting(pattern.reason, _PREEMPTION.sub("", event.message), pattern.hint)
    return None
