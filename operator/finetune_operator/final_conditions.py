"""The ten conditions of a job that has ended."""

from collections.abc import Iterable, Iterator
from typing import get_args

from finetune_api import reported
from finetune_api.reported import Fact
from finetune_api.v1alpha1 import Condition, FineTuneJobStatus
from finetune_api.v1alpha1.status import ConditionType
from finetune_operator.failures import Failure
from finetune_operator.situation import Situation

TYPES: tuple[ConditionType, ...] = get_args(ConditionType)
_UNTOUCHED: tuple[ConditionType, ...] = ("Admitted", "WorkersReady", "Training", "CheckpointHealthy")


def ended(now: Situation, failure: Failure | None) -> list[Condition]:
    """Of a job that is over; without a failure the model is there."""
    return _conditions(now, _facts(now, failure))


def refused(now: Situation, failure: Failure, *, validated: bool) -> list[Condition]:
    """Of a job that came to nothing; `validated` tells whether its spec is fine."""
    checked = Fact("Validated", False, failure.reason, failure.sentence)
    facts = [
        Fact("Validated", True, "Accepted") if validated else checked,
        *(Fact(kind, None, "NotStarted") for kind in _UNTOUCHED),
        Fact("ModelExported", False, "Failed"),
        Fact("ProgressAvailable", None, "NotStarted"),
        *_final_facts(failure),
    ]
    return _conditions(now, facts)


def restamped(now: Situation) -> FineTuneJobStatus | None:
    """The status of a job that has ended, about the newest spec; None when it is that already."""
    before, generation = now.before, now.resource.generation
    known = {condition.type for condition in before.conditions}
    whole = len(known) == len(TYPES) and before.completion_time is not None and not now.resource.damaged
    if whole and all(one.observed_generation == generation for one in before.conditions):
        return None if before.observed_generation == generation else _stamped(now, before.conditions)
    final = {"Complete": before.phase == "Complete", "Failed": before.phase == "Failed", "Finished": True}
    lost = [Fact(kind, final.get(kind), before.phase) for kind in TYPES if kind not in known]
    kept = [one.model_copy(update={"observed_generation": generation}) for one in before.conditions]
    return _stamped(now, [*kept, *_conditions(now, lost)])


def _stamped(now: Situation, conditions: list[Condition]) -> FineTuneJobStatus:
    return now.before.model_copy(
        update={
            "observed_generation": now.resource.generation,
            "completion_time": now.before.completion_time or reported.timestamp(now.now),
            "conditions": conditions,
        }
    )


def _conditions(now: Situation, facts: Iterable[Fact]) -> list[Condition]:
    return reported.conditions(facts, now.before.conditions, now.resource.generation, now.now)


def _facts(now: Situation, failure: Failure | None) -> Iterator[Fact]:
    word = "Failed" if failure else "Complete"
    yield Fact("Validated", True, "Accepted")
    admitted = now.condition("Admitted")
    # Only the end of all waiting is told here; who let it start stays as it was.
    yield (
        Fact("Admitted", True, admitted.reason)
        if _holds(admitted) and admitted
        else Fact("Admitted", True, word)
    )
    yield Fact("WorkersReady", False, word)
    yield Fact("Training", False, word)
    saved = now.condition("CheckpointHealthy")
    yield Fact("CheckpointHealthy", True if _holds(saved) else None, saved.reason if saved else "NoneYet")
    exported = failure is None
    yield Fact(
        "ModelExported", exported, "Published" if exported else "Failed", _where(now) if exported else ""
    )
    heard = now.condition("ProgressAvailable")
    yield Fact("ProgressAvailable", False if heard and heard.status != "Unknown" else None, word)
    yield from _final_facts(failure, _where(now))


def _final_facts(failure: Failure | None, where: str = "") -> Iterator[Fact]:
    if failure is None:
        yield Fact("Complete", True, "Published", where)
        yield Fact("Failed", False, "Complete")
        yield Fact("Finished", True, "Complete", where)
        return
    yield Fact("Complete", False, "Failed")
    yield Fact("Failed", True, failure.reason, failure.sentence)
    yield Fact("Finished", True, "Failed", failure.sentence)


def _holds(condition: Condition | None) -> bool:
    return condition is not None and condition.status == "True"


def _where(now: Situation) -> str:
    result = now.report.result if now.report else None
    if result is None or not result.model_uri:
        return "The model was published; worker 0's report of where has not been found."
    return f"The model is at {result.model_uri}."
