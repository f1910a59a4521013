"""What nobody else puts right: pods on dead nodes, and delays that outlast their reason."""

import hashlib
from datetime import timedelta

from finetune_api import reported
from finetune_operator import views
from finetune_operator.observed import PodView
from finetune_operator.plan import Action, Delete, Patch, Plan
from finetune_operator.situation import Situation, has_ended, is_up, soonest

_FORCED_PATIENCE = 5.0
"""Seconds for a living node to report the end of a pod that was deleted by force."""


def free_dead_pods(now: Situation) -> Plan | None:
    """Declare pods failed that nobody will ever report on: their index would wait for them for ever."""
    if not now.settings.dead_nodes or now.job is None:
        return None
    waits = {pod.name: _dead_in(now, pod) for pod in now.pods}
    dead = [pod for pod in now.pods if (left := waits[pod.name]) is not None and left <= 0]
    actions = tuple(action for pod in dead for action in _bury(now, pod))
    return Plan(actions, again=soonest(left for left in waits.values() if left is not None and left > 0))


def forget_failures(now: Situation) -> Plan | None:
    """Once the gang has saved something new, the Job controller need not remember old losses of its workers."""
    if not now.complete or not now.active:
        return None
    due = [pod for pod in now.current.values() if pod.failures and is_up(pod) and _has_saved_since(now, pod)]
    zero = {"metadata": {"annotations": dict.fromkeys(views.FAILURES, "0")}}
    return Plan(tuple(Patch("Pod", pod.name, pod.uid, zero) for pod in due)) if due else None


def chance(uid: str, attempt: int) -> float:
    """From 0 to 1, different for each job and attempt, and the same each time it is asked."""
    return hashlib.sha256(f"{uid}/{attempt}".encode()).digest()[0] / 255


def _dead_in(now: Situation, pod: PodView) -> float | None:
    """Seconds until this pod counts as dead; None while nothing points to it."""
    if pod.deleting is None or has_ended(pod):
        return None
    if pod.grace_seconds == 0:
        return _FORCED_PATIENCE - now.seconds_since(pod.deleting)
    node = now.observed.nodes.get(pod.node)
    if node is None or node.unreachable_since is None:
        return None
    # Whatever grace it has: on a node that hears nothing, grace does not even begin (ADR 13).
    return now.spec.dead_node_timeout_seconds - now.seconds_since(node.unreachable_since)


def _bury(now: Situation, pod: PodView) -> tuple[Action, ...]:
    reason = "ForceDeleted" if pod.grace_seconds == 0 else "NodeLost"
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": reason,
        "message": "finetune-operator: nobody can report the end of this pod any more",
        "lastTransitionTime": reported.timestamp(now.now),
    }
    said = {"status": {"phase": "Failed", "conditions": [condition]}}
    failed = Patch("Pod", pod.name, pod.uid, said, "status", keyed=True)
    return (failed, Delete("Pod", pod.name, pod.uid, grace_seconds=0))


def _has_saved_since(now: Situation, pod: PodView) -> bool:
    """Whether the newest checkpoint was made after this pod began."""
    progress, sample = now.progress, now.sample
    if progress is None or sample is None or progress.checkpoint is None or pod.started is None:
        return False
    if progress.checkpoint_age_seconds is None:  # from before this worker 0
        return False
    return sample.time - timedelta(seconds=progress.checkpoint_age_seconds) > pod.started
