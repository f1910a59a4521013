"""The whole of what the operator decides: from what is known of one FineTuneJob to what is to be done. Pure."""

import re
from datetime import datetime

from finetune_api.contract import CONTROLLER
from finetune_api.v1alpha1 import Condition, FineTuneJobStatus
from finetune_operator import deadlines, ending, final_conditions, notes, policies, status
from finetune_operator.bodies import moment
from finetune_operator.ending import Ending, NotYet
from finetune_operator.observed import Observed, Resource
from finetune_operator.plan import Create, Delete, Plan
from finetune_operator.settings import Settings
from finetune_operator.situation import Situation, soonest
from finetune_operator.verdicts import Refusal

_FINAL = frozenset({"Complete", "Failed"})
_PROGRESS = frozenset({"Training", "ProgressAvailable", "CheckpointHealthy"})
"""Conditions that change with progress, and are written as seldom."""


_MOMENT = 0.1
"""Seconds."""


def decide(resource: Resource, observed: Observed, settings: Settings, now: datetime) -> Plan:
    """What to do about one FineTuneJob at `now`. Asked again with the answer carried out, it wants nothing."""
    situation = Situation(resource, observed, settings, now)
    if resource.status.phase in _FINAL and not resource.deleting:
        return _afterwards(situation)
    verdict = next(filter(None, (rule(situation) for rule in policies.ENDINGS)), None)
    match verdict:
        case Plan():
            return verdict
        case NotYet():
            return Plan(again=1.0)
        case Refusal():
            return _refuse(situation, verdict)
        case Ending():
            return _finish(situation, verdict)
    return _go_on(situation)


def _go_on(now: Situation) -> Plan:
    plans = [plan for step in policies.STEPS if (plan := step(now)) is not None]
    actions = tuple(action for plan in plans for action in plan.actions)
    new = status.derive(now)
    creates = [action.manifest["kind"] for action in actions if isinstance(action, Create)]
    # When many jobs come at once, each has its objects before the first is told so. And the Job's uid is known then.
    later = "Job" in creates and now.observed.rejection is None
    wait = _MOMENT if later else _write_in(now, new)
    written = new if wait is not None and wait <= 0 else None
    # What was there already, but without its labels, no watch will tell of.
    look_at_it = _MOMENT if creates else None
    return Plan(
        actions=actions,
        status=written,
        notes=notes.between(now.before, new, now.name) if written else (),
        again=soonest([*(plan.again for plan in plans), wait if wait and wait > 0 else None, look_at_it]),
        poll=any(plan.poll for plan in plans),
        want_events=any(plan.want_events for plan in plans),
        check=any(plan.check for plan in plans),
    )


def _refuse(now: Situation, refusal: Refusal) -> Plan:
    job = now.job
    runs = job is not None and not job.stop_reason
    actions = (deadlines.stopped(job, refusal.failure),) if job is not None and runs else ()
    new = ending.refusal(now, refusal.failure, validated=refusal.validated)
    return Plan(actions, new, notes.between(now.before, new, now.resource.name))


def _finish(now: Situation, end: Ending) -> Plan:
    new = ending.final_status(now, end)
    return Plan(status=new, notes=notes.between(now.before, new, now.name))


def _afterwards(now: Situation) -> Plan:
    """A job that has ended stays as it is; only its time to live is left, and whom its conditions answer."""
    new = final_conditions.restamped(now)
    left = _time_to_live(now)
    if left is None:
        return Plan(status=new)
    if left > 0:
        return Plan(status=new, again=left)
    return Plan((Delete("FineTuneJob", now.resource.name, now.resource.uid),))


def _time_to_live(now: Situation) -> float | None:
    spec = now.resource.job.spec if now.resource.job else None
    asked = spec.ttl_seconds_after_finished if spec else None
    seconds = now.settings.ttl_seconds_after_finished if asked is None else asked
    ended = moment(now.before.completion_time)
    if seconds is None or ended is None or now.resource.managed_by not in ("", CONTROLLER):
        return None
    return seconds - now.seconds_since(ended)


def _write_in(now: Situation, new: FineTuneJobStatus) -> float | None:
    """Seconds until `new` has to be written; None when it says nothing new."""
    before = now.before
    if now.is_ending:
        # The Job's own end is about to be told; what comes before it would be news for a second.
        return 2.0
    if now.resource.damaged or _facts(new) != _facts(before):
        return 0.0
    if _figures(new) == _figures(before):
        return None
    last = moment(before.progress.last_update_time)
    often = max(now.settings.progress_interval_seconds, now.observed.running_jobs / 10)
    return 0.0 if last is None else max(0.0, often - now.seconds_since(last))


def _facts(of: FineTuneJobStatus) -> tuple[object, ...]:
    """What is written at once when it changes."""
    lasting = [_said(one) for one in of.conditions if one.type not in _PROGRESS]
    return (of.phase, of.observed_generation, of.job_uid, of.last_failure, lasting, len(of.conditions))


def _figures(of: FineTuneJobStatus) -> tuple[object, ...]:
    """What is written now and then when it changes."""
    shown = (of.summary.stage, of.summary.epoch, of.progress.percent, of.summary.best, of.workers.restarts)
    return (*shown, of.warnings, [_said(one)[:3] for one in of.conditions if one.type in _PROGRESS])


def _said(condition: Condition) -> tuple[object, ...]:
    # Numbers in messages come and go: `0/5 nodes are available` need not be written anew for each node.
    message = re.sub(r"\d+", "#", condition.message)
    return (condition.type, condition.status, condition.reason, message, condition.observed_generation)
