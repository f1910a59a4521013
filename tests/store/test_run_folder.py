"""What the generations of a run agree on."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import pytest

from finetune_api.errors import GaveUp, TryAgain
from finetune_store.run_folder import RunFolder

T = TypeVar("T")


def race(count: int, act: Callable[[int], T]) -> list[T]:
    """Call `act` on as many threads at the same moment."""
    barrier = threading.Barrier(count)

    def start(number: int) -> T:
        barrier.wait()
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(start, range(count)))


def test_the_first_plan_is_everybodys_plan(run: RunFolder) -> None:
    plans = race(8, lambda number: run.adopt_plan(lambda: f"plan of {number}"))
    assert len(set(plans)) == 1
    assert run.adopt_plan(lambda: pytest.fail("there is a plan already")) == plans[0]


def test_each_generation_has_one_claimant(run: RunFolder) -> None:
    assert run.latest_generation() is None
    for generation in (1, 2, 3):
        claims = race(8, partial(claim, run, generation))
        assert claims.count(True) == 1
        latest = run.latest_generation()
        assert latest is not None
        assert latest[0] == generation
        assert latest[1]["by"] == claims.index(True)


def claim(run: RunFolder, generation: int, number: int) -> bool:
    return run.claim_generation(generation, {"by": number})


def test_the_same_document_twice_is_still_one_claimant(run: RunFolder) -> None:
    assert race(8, lambda _: run.claim_generation(1, {"checkpoint": None})).count(True) == 1


def test_a_later_claim_fences_the_earlier_one_out(run: RunFolder) -> None:
    run.claim_generation(1, {})
    run.require_current(1)
    run.claim_generation(2, {})
    assert run.is_current(2)
    assert not run.is_current(1)
    with pytest.raises(TryAgain, match="generation 1 is over") as raised:
        run.require_current(1)
    assert raised.value.reason == "Fenced"


def test_the_budget_outlives_its_writer(run: RunFolder) -> None:
    assert run.budget() is None
    run.save_budget({"failures": 1})
    run.save_budget({"failures": 2})
    again = RunFolder(run.store, "team", "flowers", "run1")
    assert again.budget() == {"failures": 2}


def test_training_ends_once(run: RunFolder) -> None:
    assert run.trained() is None
    assert run.mark_trained({"checkpoint": "a"}) == {"checkpoint": "a"}
    assert run.mark_trained({"checkpoint": "b"}) == {"checkpoint": "a"}
    assert run.trained() == {"checkpoint": "a"}
    run.forget_trained()
    assert run.trained() is None


def test_runs_do_not_see_each_other(run: RunFolder) -> None:
    other = RunFolder(run.store, "team", "flowers", "run2")
    run.claim_generation(5, {})
    run.mark_trained({})
    assert other.latest_generation() is None
    assert other.trained() is None


def test_a_document_that_is_not_ours_is_named(run: RunFolder) -> None:
    run.store.put(run.key("trained.json"), b"not json")
    with pytest.raises(GaveUp, match=r"run1/trained\.json"):
        run.trained()
