"""The gang's state machine, told as stories: what happens, and what supervisor 0 does about it."""

from collections.abc import Sequence

import pytest
from _pytest.mark import ParameterSet

from finetune_api.events import Role
from finetune_supervisor import gang
from finetune_supervisor.gang import Doing, Gang
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
    Send,
    Settle,
    Settled,
    Survey,
    Surveyed,
)
from finetune_supervisor.messages import End, Ending, Outcome, Start, Verdict
from gang_stories import BAD_DATA, KILLED, LEFT, PEER_LOST, PUBLISHED, STOPPED, TRAINED, arrived, ended


def told(happenings: Sequence[Happening], workers: int = 2) -> tuple[Gang, tuple[Action, ...]]:
    """The gang after a story, and what its last sentence led to."""
    now = Gang(workers)
    actions: tuple[Action, ...] = ()
    for happening in happenings:
        now, actions = gang.step(now, happening)
    return now, actions


GATHERED = [Surveyed(), *arrived(0, 1)]
TRAINING = [*GATHERED, Claimed(1, None)]
BOTH = frozenset({0, 1})
EXPORTING = [*TRAINING, ended(0, TRAINED), ended(1, TRAINED), BecameReady(0), Claimed(2, None)]
EXPORTED = [*EXPORTING, ended(0, Outcome(ending=Ending.EXPORTED), 2)]


def start(
    generation: int = 1, role: Role = Role.TRAIN, checkpoint: str | None = None, restarts: int = 0
) -> Start:
    return Start(generation=generation, role=role, checkpoint=checkpoint, restarts=restarts)


def again(worker: int, outcome: Outcome) -> Outcome:
    return outcome.model_copy(update={"worker": worker})


def tale(sentence: str, happenings: list[Happening], doing: Doing, *actions: Action) -> ParameterSet:
    """After these happenings the gang is `doing` that, and the last of them led to `actions`."""
    return pytest.param(happenings, list(actions), doing, id=sentence)


STORIES = [
    tale("waits for the second of two workers", [Surveyed(), *arrived(0)], Doing.GATHERING),
    tale("does nothing before it knows how far the run is", arrived(0, 1), Doing.SURVEYING),
    tale("a session is not readiness", [Surveyed(), Joined(0), Joined(1), BecameReady(0)], Doing.GATHERING),
    tale("claims a generation when all are ready", GATHERED, Doing.CLAIMING, Claim(Role.TRAIN)),
    tale("starts all workers from scratch", TRAINING, Doing.RUNNING, Send(BOTH, start())),
    tale(
        "starts all workers from the claimed checkpoint",
        [*GATHERED, Claimed(4, "a-checkpoint", 3)],
        Doing.RUNNING,
        Send(BOTH, start(4, checkpoint="a-checkpoint", restarts=3)),
    ),
    tale(
        "a claim is spent when a worker went away meanwhile",
        [*GATHERED, Gone(1), Claimed(1, None)],
        Doing.GATHERING,
    ),
    tale(
        "and the next claim comes when it is back",
        [*GATHERED, Gone(1), Claimed(1, None), *arrived(1)],
        Doing.CLAIMING,
        Claim(Role.TRAIN),
    ),
    tale(
        "a published run is over before anybody joins",
        [Surveyed(published=PUBLISHED)],
        Doing.OVER,
        Conclude(Verdict(code=0, result=PUBLISHED)),
    ),
    tale(
        "a trained run needs worker 0 only",
        [Surveyed(trained=True), *arrived(0)],
        Doing.CLAIMING,
        Claim(Role.EXPORT),
    ),
    tale(
        "one process dies: the others are killed at once",
        [*TRAINING, ended(1, KILLED)],
        Doing.ENDING,
        Send(frozenset({0}), End(generation=1)),
    ),
    tale(
        "when all are reaped the failure is counted",
        [*TRAINING, ended(1, KILLED), ended(0, STOPPED)],
        Doing.SETTLING,
        Settle(again(1, KILLED), advanced=True),
    ),
    tale(
        "and the next generation is claimed as soon as all are ready",
        [*TRAINING, ended(1, KILLED), ended(0, STOPPED), BecameReady(0), BecameReady(1), Settled()],
        Doing.CLAIMING,
        Claim(Role.TRAIN),
    ),
    tale(
        "but not before worker 0 is ready again",
        [*TRAINING, ended(1, KILLED), BecameReady(1), ended(0, STOPPED), Settled()],
        Doing.GATHERING,
    ),
    tale(
        "a lost session ends the generation",
        [*TRAINING, Gone(1)],
        Doing.ENDING,
        Send(frozenset({0}), End(generation=1)),
    ),
    tale(
        "a lost worker is waited for, and nothing is counted",
        [*TRAINING, Gone(1), ended(0, STOPPED), BecameReady(0)],
        Doing.GATHERING,
    ),
    tale(
        "a worker that joins anew has lost its process",
        [*TRAINING, Joined(1)],
        Doing.ENDING,
        Send(frozenset({0}), End(generation=1)),
    ),
    tale(
        "ends of other generations are old news", [*TRAINING, ended(1, KILLED, generation=7)], Doing.RUNNING
    ),
    tale(
        "a lost peer that reports first is a consequence of the crash",
        [*TRAINING, ended(0, PEER_LOST), ended(1, KILLED)],
        Doing.SETTLING,
        Settle(again(1, KILLED), advanced=True),
    ),
    tale(
        "a lost peer without a crash is settled as such",
        [*TRAINING, ended(0, PEER_LOST), ended(1, STOPPED)],
        Doing.SETTLING,
        Settle(again(0, PEER_LOST), advanced=False),
    ),
    tale(
        "of two failures the first decides",
        [*TRAINING, ended(1, KILLED), ended(0, BAD_DATA)],
        Doing.SETTLING,
        Settle(again(1, KILLED), advanced=True),
    ),
    tale(
        "all left for one: it is waited for",
        [*TRAINING, ended(1, LEFT), ended(0, LEFT), BecameReady(0), Gone(1)],
        Doing.GATHERING,
    ),
    tale("who leaves first gives the others time to leave", [*TRAINING, ended(1, LEFT)], Doing.RUNNING),
    tale(
        "a worker that goes before its first step ends the generation",
        [*TRAINING, ended(1, Outcome(ending=Ending.ABANDONED))],
        Doing.ENDING,
        Send(frozenset({0}), End(generation=1)),
    ),
    tale(
        "and that is not counted",
        [*TRAINING, ended(1, Outcome(ending=Ending.ABANDONED)), ended(0, STOPPED)],
        Doing.GATHERING,
    ),
    tale(
        "the others stay until the chief is trained, and then are no longer needed",
        [*TRAINING, ended(0, TRAINED)],
        Doing.ENDING,
        Send(frozenset({1}), End(generation=1)),
    ),
    tale(
        "and until the chief has saved, when all leave for one",
        [*TRAINING, ended(0, LEFT)],
        Doing.ENDING,
        Send(frozenset({1}), End(generation=1)),
    ),
    tale(
        "trained: a generation of worker 0 alone exports",
        [*TRAINING, ended(0, TRAINED), ended(1, TRAINED), BecameReady(0)],
        Doing.CLAIMING,
        Claim(Role.EXPORT),
    ),
    tale(
        "a peer that fails after the chief is trained changes nothing",
        [*TRAINING, ended(0, TRAINED), ended(1, PEER_LOST), BecameReady(0)],
        Doing.CLAIMING,
        Claim(Role.EXPORT),
    ),
    tale(
        "worker 0 alone is started to export",
        EXPORTING,
        Doing.RUNNING,
        Send(frozenset({0}), start(2, Role.EXPORT)),
    ),
    tale("other workers do not matter for the export", [*EXPORTING, Gone(1)], Doing.RUNNING),
    tale(
        "exported: a fresh process of the same generation publishes",
        [*EXPORTED, BecameReady(0)],
        Doing.RUNNING,
        Send(frozenset({0}), start(2, Role.PUBLISH)),
    ),
    tale(
        "published: over",
        [*EXPORTED, BecameReady(0), ended(0, Outcome(ending=Ending.PUBLISHED, result=PUBLISHED), 2)],
        Doing.OVER,
        Conclude(Verdict(code=0, result=PUBLISHED)),
    ),
    tale(
        "a publish that failed may have committed all the same",
        [*EXPORTED, BecameReady(0), ended(0, KILLED, 2), BecameReady(0), Settled()],
        Doing.SURVEYING,
        Survey(),
    ),
    tale(
        "and then the run is over",
        [*EXPORTED, BecameReady(0), ended(0, KILLED, 2), Settled(), Surveyed(published=PUBLISHED)],
        Doing.OVER,
        Conclude(Verdict(code=0, result=PUBLISHED)),
    ),
    tale(
        "a failed export exports again and trains nothing",
        [*EXPORTING, ended(0, KILLED, 2), BecameReady(0), Settled(), Surveyed(trained=True)],
        Doing.CLAIMING,
        Claim(Role.EXPORT),
    ),
    tale(
        "unless it found that the trained weights are damaged",
        [*EXPORTING, ended(0, KILLED, 2), BecameReady(0), Settled(), BecameReady(1), Surveyed()],
        Doing.CLAIMING,
        Claim(Role.TRAIN),
    ),
    tale(
        "a hang: stacks of all workers, then the generation ends",
        [*TRAINING, Hung((1,), "Worker 1 is silent.")],
        Doing.ENDING,
        Send(BOTH, End(generation=1, dump=True)),
    ),
    tale(
        "and is counted",
        [*TRAINING, Hung((1,), "Worker 1 is silent."), ended(0, STOPPED), ended(1, STOPPED)],
        Doing.SETTLING,
        Settle(
            Outcome(ending=Ending.HUNG, code=70, reason="Hung", message="Worker 1 is silent.", worker=1),
            advanced=False,
        ),
    ),
    tale(
        "a hang after the end is none",
        [*TRAINING, ended(1, KILLED), Hung((0,), "Worker 0 is silent.")],
        Doing.ENDING,
    ),
    tale(
        "condemned: over",
        [*TRAINING, Condemned(Verdict(code=69, reason="Killed"))],
        Doing.OVER,
        Conclude(Verdict(code=69, reason="Killed")),
    ),
    tale("nothing happens when it is over", [Surveyed(published=PUBLISHED), *arrived(0, 1)], Doing.OVER),
]


@pytest.mark.parametrize(("story", "actions", "doing"), STORIES)
def test_a_gang(story: list[Happening], actions: list[Action], doing: Doing) -> None:
    now, last = told(story)
    assert list(last) == actions
    assert now.doing is doing


def test_one_worker_needs_nobody() -> None:
    now, actions = told([Surveyed(), *arrived(0), Claimed(1, None)], workers=1)
    assert actions == (Send(frozenset({0}), start()),)
    now, actions = gang.step(now, ended(0, KILLED))
    assert actions == (Settle(again(0, KILLED), advanced=True),)
