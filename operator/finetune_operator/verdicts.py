"""Whether a job is ours, can be run at all, or is over: rules of which the first with an answer decides."""

from dataclasses import dataclass

from finetune_api import errors, schedule
from finetune_api.contract import CONTROLLER
from finetune_api.errors import BadJob
from finetune_operator import ending, failures, gangs, references
from finetune_operator.ending import Ending, NotYet
from finetune_operator.failures import Failure
from finetune_operator.observed import ChildView, JobView
from finetune_operator.plan import Plan
from finetune_operator.situation import Situation

_DELETED_WITH_NAMESAKE = 5.0
"""Seconds between two looks at what a deleted FineTuneJob of the same name has left behind."""
_INVALID = frozenset({400, 422})
"""Answers of the API server to an object that can never be."""


@dataclass(frozen=True)
class Refusal:
    """The job comes to nothing."""

    failure: Failure
    validated: bool
    """Whether the spec itself is fine."""


Verdict = Plan | Ending | NotYet | Refusal | None
"""What a rule says: all that is to be done now, the end, that the end is near, that the job came to nothing,
or nothing."""


def deleted(now: Situation) -> Verdict:
    """A FineTuneJob on its way out is left to the garbage collector."""
    return Plan() if now.resource.deleting else None


def managed_elsewhere(now: Situation) -> Verdict:
    """Another controller takes care of it."""
    return Plan() if now.resource.managed_by not in ("", CONTROLLER) else None


def refused(now: Situation) -> Verdict:
    """The spec is wrong, or asks for what this operator does not do. What was started is not judged again."""
    if now.resource.job is None:
        return _wrong(now.resource.invalid or BadJob("InvalidSpec", "the spec cannot be read"))
    if now.started:
        return None
    try:
        schedule.resolve(now.resource.job, cluster=True)
    except BadJob as error:
        return _wrong(error)
    found = references.refused_references(now.resource.job, now.resource.namespace, now.settings)
    if found:
        failure = Failure("ReferenceRefused", "; ".join(found) + ".", "name one that is allowed")
        return Refusal(failure, validated=False)
    gang = gangs.refused_gang(now.resource.job, now.settings)
    if gang is not None:
        return Refusal(Failure("GangRefused", *errors.split_hint(gang)), validated=False)
    return None


def name_taken(now: Situation) -> Verdict:
    """An object of somebody else has the name of one of ours; it is never touched."""
    for kind, found in _foreign(now).items():
        if found.owner == f"FineTuneJob/{now.resource.name}":
            # Of a FineTuneJob of the same name that was deleted a moment ago: soon gone.
            return Plan(again=_DELETED_WITH_NAMESAKE)
        owner = f"belongs to {found.owner}" if found.owner else "belongs to nobody"
        message = f"There is a {kind} {found.name} in the namespace already, and it {owner}."
        hint = f"delete that {kind}, or give the FineTuneJob another name"
        return Refusal(Failure("NameConflict", message, hint), validated=True)
    return None


def never_accepted(now: Situation) -> Verdict:
    """The API server calls an object invalid that the spec leads to; waiting cannot help."""
    rejection = now.observed.rejection
    if rejection is None or rejection.code not in _INVALID or now.started:
        return None
    message = f"The API server does not accept the {rejection.kind} of this job: {rejection.message}"
    return Refusal(Failure("InvalidSpec", message, "correct the named field and create the job anew"), False)


def gang_not_served(now: Situation) -> Verdict:
    """The scheduler that the job asks for is not there, and nothing was started yet."""
    if now.observed.queues_served or now.started or now.spec.scheduling.gang == "Kueue":
        return None
    gang = now.spec.scheduling.gang
    message = f"This cluster does not serve what spec.scheduling.gang {gang} needs."
    return Refusal(Failure("GangRefused", message, f"install {gang}, or choose another gang"), validated=True)


def ended(now: Situation) -> Verdict:
    """The Job is over."""
    return ending.of_job(now)


def job_lost(now: Situation) -> Verdict:
    """The Job that was made for this is gone: it is never made again in silence."""
    if now.job is not None or now.before.job_uid is None or now.spec.suspend:
        return None
    if not now.observed.job_absent:
        return Plan(want_job=True, again=1.0)
    message = f"The Job {now.name} of this FineTuneJob was deleted."
    return Ending(Failure("JobLost", message, "make the FineTuneJob anew; checkpoints are in its run folder"))


def _wrong(error: BadJob) -> Refusal:
    failure = Failure(failures.camel(error.reason, "InvalidSpec"), *errors.split_hint(str(error)))
    return Refusal(failure, validated=False)


def _foreign(now: Situation) -> dict[str, JobView | ChildView]:
    found: dict[str, JobView | ChildView] = dict(now.observed.children)
    if now.observed.job is not None:
        found["Job"] = now.observed.job
    return {kind: one for kind, one in found.items() if one.owner_uid != now.resource.uid}
