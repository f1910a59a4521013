"""Which failures count, and when there have been too many."""

import pytest

from finetune_supervisor.budget import Budget, Trouble, settle
from finetune_supervisor.messages import Ending, Outcome, Verdict

OLD, NEW = "0000000010-s00-e0001-g0001", "0000000020-s00-e0002-g0002"


def failure(code: int = 137, reason: str = "Killed", step: int = 12) -> Outcome:
    return Outcome(ending=Ending.FAILED, code=code, reason=reason, message="It ended.", step=step, worker=1)


OUT_OF_MEMORY = failure(reason="OutOfMemory")


@pytest.mark.parametrize(
    ("before", "failed", "newest", "after"),
    [
        pytest.param(Budget(), failure(), None, Budget(failures=1), id="the first failure counts"),
        pytest.param(
            Budget(failures=2, checkpoint=OLD),
            failure(),
            OLD,
            Budget(failures=3, checkpoint=OLD),
            id="no newer checkpoint: one more",
        ),
        pytest.param(
            Budget(failures=3, checkpoint=OLD),
            failure(),
            NEW,
            Budget(failures=1, checkpoint=NEW),
            id="a newer one: counting starts anew",
        ),
        pytest.param(
            Budget(failures=3, checkpoint=NEW),
            failure(),
            OLD,
            Budget(failures=4, checkpoint=OLD),
            id="an older one is no progress",
        ),
        pytest.param(
            Budget(failures=3),
            failure(75),
            None,
            Budget(failures=3),
            id="peers or storage away are not counted",
        ),
        pytest.param(
            Budget(),
            OUT_OF_MEMORY,
            None,
            Budget(failures=1, out_of_memory_step=12),
            id="the step of a memory failure is kept",
        ),
        pytest.param(
            Budget(failures=1, out_of_memory_step=12),
            failure(reason="OutOfMemory", step=13),
            None,
            Budget(failures=2, out_of_memory_step=13),
            id="out of memory at a later step may go on",
        ),
    ],
)
def test_counting(before: Budget, failed: Outcome, newest: str | None, after: Budget) -> None:
    assert settle(before, failed, newest, max_restarts=5) == (after, None)


@pytest.mark.parametrize("code", [64, 65, 66, 69, 77, 78])
def test_a_permanent_failure_ends_the_run_as_it_is(code: int) -> None:
    verdict = Verdict(code=code, reason="BadImages", message="It ended.")
    assert settle(Budget(), failure(code, "BadImages"), None, 5) == (Budget(), verdict)


def test_a_spent_budget_ends_the_run_with_the_last_reason() -> None:
    _, verdict = settle(Budget(failures=5), failure(), None, max_restarts=5)
    assert verdict is not None
    assert (verdict.code, verdict.reason) == (69, "Killed")
    assert verdict.message == (
        "Training failed 6 times without a newer checkpoint in between (maxRestarts 5). "
        "The last failure, on worker 1 at step 12: It ended."
    )


def test_no_restart_at_all_may_be_allowed() -> None:
    _, verdict = settle(Budget(), failure(), None, max_restarts=0)
    assert verdict is not None
    assert verdict.message.startswith("Training failed once without")


@pytest.mark.parametrize("step", [12, 11])
def test_out_of_memory_twice_without_getting_farther_ends_the_run(step: int) -> None:
    before = Budget(failures=1, out_of_memory_step=12)
    _, verdict = settle(before, failure(reason="OutOfMemory", step=step), NEW, 5)
    assert verdict is not None
    assert (verdict.code, verdict.reason) == (69, "OutOfMemory")


def test_pauses_grow_only_while_no_step_is_done() -> None:
    trouble, pauses = Trouble(), []
    for advanced in (False, False, False, False, True, False, False):
        trouble = trouble.after(advanced=advanced, now=0.0)
        pauses.append(trouble.pause())
    assert pauses == [0.0, 1.0, 2.0, 4.0, 0.0, 0.0, 1.0]


def test_pauses_are_bounded() -> None:
    assert Trouble(fruitless=10_000).pause() == 30.0


def test_trouble_lasts_from_the_first_fruitless_end() -> None:
    trouble = Trouble().after(advanced=False, now=10.0).after(advanced=False, now=20.0)
    assert trouble.lasts(now=25.0) == 15.0
    assert trouble.after(advanced=True, now=30.0).lasts(now=40.0) == 0.0
