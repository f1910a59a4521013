"""What holds of a gang whatever happens, in whatever order."""

from hypothesis import event, given, settings
from hypothesis import strategies as st

from finetune_supervisor import gang
from finetune_supervisor.gang import Doing, Gang
from finetune_supervisor.happenings import (
    BecameReady,
    Claimed,
    Gone,
    Happening,
    Hung,
    Joined,
    Send,
    Settled,
    Surveyed,
)
from finetune_supervisor.messages import Ending, Outcome, Start
from gang_stories import BAD_DATA, KILLED, LEFT, PEER_LOST, STOPPED, TRAINED, ended

WORKERS = 3
OUTCOMES = [KILLED, PEER_LOST, BAD_DATA, STOPPED, LEFT, TRAINED, Outcome(ending=Ending.EXPORTED)]
WORKER = st.integers(0, WORKERS - 1)
HAPPENINGS = st.one_of(
    st.builds(Joined, WORKER),
    st.builds(BecameReady, WORKER),
    st.builds(BecameReady, WORKER),
    st.builds(Gone, WORKER),
    st.builds(ended, WORKER, st.sampled_from(OUTCOMES), st.integers(1, 3)),
    st.builds(Hung, st.just((0,)), st.just("")),
    st.just("the storage answers"),
)
ALL_READY: list[Happening | str] = [
    *(BecameReady(worker) for worker in range(WORKERS)),
    "the storage answers",
]


def happens(now: Gang, happening: Happening | str) -> Happening | None:
    """What it is in this gang; None for what cannot happen in it."""
    if isinstance(happening, str):
        answers: dict[Doing, Happening] = {
            Doing.CLAIMING: Claimed(now.generation + 1, None),
            Doing.SETTLING: Settled(),
        }
        return answers.get(now.doing)
    running = isinstance(happening, BecameReady) and happening.worker in now.running
    return None if running else happening


@settings(max_examples=300)
@given(st.lists(HAPPENINGS, min_size=20, max_size=80))
def test_only_workers_that_said_so_since_their_last_process_are_started(
    happenings: list[Happening | str],
) -> None:
    now, _ = gang.step(Gang(WORKERS), Surveyed())
    ready: set[int] = set()
    for each in (*ALL_READY, *happenings):
        if (happening := happens(now, each)) is None:
            continue
        if isinstance(happening, BecameReady):
            ready.add(happening.worker)
        elif isinstance(happening, Gone | Joined):
            # A session that ended, or was replaced, takes its word with it.
            ready -= (
                {happening.worker} if happening.worker in now.joined or isinstance(happening, Gone) else set()
            )
        now, actions = gang.step(now, happening)
        for order in (action for action in actions if isinstance(action, Send)):
            if isinstance(order.order, Start):
                event("started")
                assert order.workers == now.running
                assert order.workers <= ready
                ready -= order.workers
