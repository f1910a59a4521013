"""The gang as a state machine: pure. Supervisor 0 feeds it what happens and carries out what it returns.

    SURVEYING → GATHERING → CLAIMING → RUNNING → (ENDING →) (SETTLING →) GATHERING → … → OVER

A *generation* is one training process per worker. It ends as a whole: when one process fails, the others are
killed at once, and the next generation starts when every worker has reported ready again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from finetune_api.contract import ExitCode
from finetune_api.events import Role
from finetune_supervisor.happenings import (
    Action,
    BecameReady,
    Claim,
    Claimed,
    Conclude,
    Condemned,
    Gone,
    Happening,
    Hung,
    Joined,
    ProcessEnded,
    Send,
    Settle,
    Settled,
    Survey,
    Surveyed,
)
from finetune_supervisor.messages import End, Ending, Outcome, Start, Verdict


class Doing(StrEnum):
    """What supervisor 0 is busy with."""

    SURVEYING = "Surveying"  # reading from the run folder how far the run is
    GATHERING = "Gathering"  # waiting for workers to be ready
    CLAIMING = "Claiming"  # taking the next generation's number in the run folder
    RUNNING = "Running"
    ENDING = "Ending"  # training processes are being killed
    SETTLING = "Settling"  # counting a failure, pausing
    OVER = "Over"


@dataclass(frozen=True)
class Gang:
    """Everything the next decision depends on. Workers are numbered from 0."""

    workers: int
    doing: Doing = Doing.SURVEYING
    role: Role = Role.TRAIN
    generation: int = 0
    joined: frozenset[int] = frozenset()
    ready: frozenset[int] = frozenset()
    running: frozenset[int] = frozenset()
    ended: tuple[Outcome, ...] = ()
    """Ends of this generation's processes, in order of arrival."""

    @property
    def wanted(self) -> frozenset[int]:
        """Workers that the next start needs: all to train, worker 0 alone to export and publish."""
        return frozenset(range(self.workers)) if self.role is Role.TRAIN else frozenset({0})

    @property
    def missing(self) -> tuple[int, ...]:
        """Wanted workers that are not ready."""
        return tuple(sorted(self.wanted - self.ready))


Decision = tuple[Gang, tuple[Action, ...]]


def step(gang: Gang, happening: Happening) -> Decision:
    """The gang after `happening`, and what to do about it."""
    if gang.doing is Doing.OVER:
        return gang, ()
    return _RULES[type(happening)](gang, happening)


def decisive(ended: tuple[Outcome, ...]) -> Outcome | None:
    """The end that explains why a generation ended, or None if it was a disruption, which is never counted.

    The first failure decides, for the others are its consequences. A process that lost its peers or the
    storage (75) may well report sooner than the cause does, so it decides only if nothing else failed.
    """
    consequence = None
    for outcome in ended:
        if outcome.ending in _DISRUPTIONS:
            return None
        if outcome.ending in _FAILURES and outcome.code != ExitCode.TRY_AGAIN:
            return outcome
        if outcome.ending is Ending.FAILED:
            consequence = consequence or outcome
    return consequence


_DISRUPTIONS = frozenset({Ending.LOST, Ending.LEFT, Ending.ABANDONED})
_FAILURES = frozenset({Ending.FAILED, Ending.HUNG})
_PEACEFUL = frozenset({Ending.TRAINED, Ending.LEFT, Ending.EXPORTED, Ending.PUBLISHED})


def _surveyed(gang: Gang, seen: Surveyed) -> Decision:
    if seen.published:
        return _over(gang, Verdict(code=ExitCode.OK, result=seen.published))
    return _gather(replace(gang, role=Role.EXPORT if seen.trained else Role.TRAIN))


def _joined(gang: Gang, event: Joined) -> Decision:
    gang, actions = _gone(gang, Gone(event.worker)) if event.worker in gang.joined else (gang, ())
    return replace(gang, joined=gang.joined | {event.worker}), actions


def _became_ready(gang: Gang, event: BecameReady) -> Decision:
    gang = replace(gang, ready=gang.ready | {event.worker})
    return _gather(gang) if gang.doing is Doing.GATHERING else (gang, ())


def _gone(gang: Gang, event: Gone) -> Decision:
    gang = replace(gang, joined=gang.joined - {event.worker}, ready=gang.ready - {event.worker})
    if event.worker not in gang.running:
        return gang, ()
    return _one_less(gang, event.worker, Outcome(ending=Ending.LOST))


def _process_ended(gang: Gang, event: ProcessEnded) -> Decision:
    if event.report.generation != gang.generation or event.worker not in gang.running:
        return gang, ()
    return _one_less(gang, event.worker, event.report.outcome)


def _claimed(gang: Gang, event: Claimed) -> Decision:
    gang = replace(gang, generation=event.generation, ended=())
    if gang.missing:
        # A worker went away meanwhile: the number is spent, the next attempt takes another.
        return replace(gang, doing=Doing.GATHERING), ()
    return _start(gang, event.checkpoint, event.restarts)


def _hung(gang: Gang, event: Hung) -> Decision:
    if gang.doing is not Doing.RUNNING:
        return gang, ()
    hung = {"ending": Ending.HUNG, "code": ExitCode.INTERNAL, "reason": "Hung", "message": event.message}
    outcome = Outcome.model_validate({**hung, "worker": event.workers[0]})
    gang = replace(gang, ended=(*gang.ended, outcome))
    return _end(gang, dump=True)


def _settled(gang: Gang, _: Settled) -> Decision:
    if gang.role is Role.TRAIN:
        return _gather(gang)
    # The process may have committed before it died, or found that its checkpoint is damaged.
    return replace(gang, doing=Doing.SURVEYING), (Survey(),)


def _condemned(gang: Gang, event: Condemned) -> Decision:
    return _over(gang, event.verdict)


def _gather(gang: Gang) -> Decision:
    gang = replace(gang, doing=Doing.GATHERING)
    if gang.missing:
        return gang, ()
    if gang.role is Role.PUBLISH:
        # The process that verifies is a second, fresh one of the generation that exported.
        return _start(replace(gang, ended=()), None, 0)
    return replace(gang, doing=Doing.CLAIMING), (Claim(gang.role),)


def _start(gang: Gang, checkpoint: str | None, restarts: int) -> Decision:
    order = Start(generation=gang.generation, role=gang.role, checkpoint=checkpoint, restarts=restarts)
    started = replace(gang, doing=Doing.RUNNING, running=gang.wanted, ready=gang.ready - gang.wanted)
    return started, (Send(gang.wanted, order),)


def _one_less(gang: Gang, worker: int, outcome: Outcome) -> Decision:
    outcome = outcome.model_copy(update={"worker": worker})
    gang = replace(gang, running=gang.running - {worker}, ended=(*gang.ended, outcome))
    if not gang.running:
        return _ended(gang)
    if gang.doing is Doing.ENDING or (outcome.ending in _PEACEFUL and worker != 0):
        return gang, ()
    # The others stay until the chief is done, for it may still be fetching their part of the last all-reduce.
    return _end(gang, dump=False)


def _end(gang: Gang, *, dump: bool) -> Decision:
    order = End(generation=gang.generation, dump=dump)
    return replace(gang, doing=Doing.ENDING), (Send(gang.running, order),)


def _ended(gang: Gang) -> Decision:
    """The last process of the generation is gone."""
    chief = next((outcome for outcome in gang.ended if outcome.worker == 0), Outcome(ending=Ending.STOPPED))
    if chief.ending is Ending.PUBLISHED:
        return _over(gang, Verdict(code=ExitCode.OK, result=chief.result))
    following = {Ending.TRAINED: Role.EXPORT, Ending.EXPORTED: Role.PUBLISH}.get(chief.ending)
    if following:
        # Whatever happened to the others: the chief's result is whole.
        return _gather(replace(gang, role=following))
    failure = decisive(gang.ended)
    if failure is None:
        return _settled(gang, Settled())
    advanced = any(outcome.advanced for outcome in gang.ended)
    return replace(gang, doing=Doing.SETTLING), (Settle(failure, advanced),)


def _over(gang: Gang, verdict: Verdict) -> Decision:
    return replace(gang, doing=Doing.OVER), (Conclude(verdict),)


_RULES: dict[type, Callable[[Gang, Any], Decision]] = {
    Surveyed: _surveyed,
    Joined: _joined,
    BecameReady: _became_ready,
    Gone: _gone,
    ProcessEnded: _process_ended,
    Claimed: _claimed,
    Hung: _hung,
    Settled: _settled,
    Condemned: _condemned,
}
