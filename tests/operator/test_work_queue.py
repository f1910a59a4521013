"""The work queue: each key once, one worker at a time, later again after an error."""

import asyncio

import pytest

import coroutines
from finetune_operator import work_queue
from finetune_operator.work_queue import QueueClosed, WorkQueue


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@coroutines.run
async def test_a_key_that_waits_is_not_added_again_and_order_is_kept() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "abab":
        queue.add(key)
    assert [await queue.take(), await queue.take()] == ["a", "b"]
    assert len(queue) == 0


@coroutines.run
async def test_a_key_in_hand_comes_back_only_when_its_worker_is_done() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await queue.take() == "a"
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.take() == "a"
    queue.done("a")
    assert len(queue) == 0


@coroutines.run
async def test_new_keys_come_first_and_those_that_go_on_still_have_their_turn() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "abc":
        queue.add_later(key, 0)
    await asyncio.sleep(0.01)
    for key in "uvwxyz":
        queue.add(key)
    taken = "".join([await queue.take() for _ in range(len(queue))])
    assert taken.startswith("uvw")
    assert [key for key in taken if key in "abc"] == ["a", "b", "c"]
    assert [key for key in taken if key not in "abc"] == list("uvwxyz")
    assert taken.index("a") < taken.index("y")


@coroutines.run
async def test_a_worker_that_waits_is_woken() -> None:
    queue: WorkQueue[str] = WorkQueue()
    worker = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.add("a")
    assert await asyncio.wait_for(worker, 30) == "a"


@coroutines.run
async def test_later_replaces_the_time_that_was_said_before() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_later("a", 0.01)
    queue.add_later("a", 3600)
    queue.add_later("b", 0.02)
    queue.add_later("c", 0.01)
    queue.add_later("c", None)
    assert await asyncio.wait_for(queue.take(), 30) == "b"
    assert len(queue) == 0


@coroutines.run
async def test_what_happens_within_a_moment_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_queue, "MOMENT", 0.01)
    queue: WorkQueue[str] = WorkQueue()
    for _ in range(10):
        queue.add_soon("a")
    assert len(queue) == 0
    assert await asyncio.wait_for(queue.take(), 30) == "a"
    queue.done("a")
    assert len(queue) == 0


@coroutines.run
async def test_each_failure_of_a_key_doubles_its_own_pause() -> None:
    queue: WorkQueue[str] = WorkQueue(base=1.0, longest=10.0)
    pauses = [queue.retry("a") for _ in range(6)]
    assert all(
        0.8 * wanted <= pause <= 1.2 * wanted
        for pause, wanted in zip(pauses, (1, 2, 4, 8, 10, 10), strict=True)
    )
    assert 0.8 <= queue.retry("b") <= 1.2
    queue.forgive("a")
    assert 0.8 <= queue.retry("a") <= 1.2
    assert queue.retries == 8


@coroutines.run
async def test_a_pause_is_as_long_as_the_server_says_and_never_longer_than_wanted() -> None:
    queue: WorkQueue[str] = WorkQueue(base=1.0)
    assert queue.retry("a", at_least=30) == 30
    for _ in range(8):
        queue.retry("a", at_most=5)
    assert queue.retry("a", at_most=5) <= 6


@coroutines.run
async def test_age_is_that_of_the_head_and_stalled_needs_idle_workers() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    assert (queue.age, queue.stalled) == (0, 0)
    queue.add("a")
    clock.time = 5
    queue.add("b")
    assert (queue.age, queue.stalled) == (5, 5)
    await queue.take()
    clock.time = 7
    assert (queue.age, queue.stalled) == (2, 2)


@coroutines.run
async def test_a_closed_queue_gives_nothing_more() -> None:
    queue: WorkQueue[str] = WorkQueue()
    worker = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    queue.close()
    with pytest.raises(QueueClosed):
        await worker
    queue.add("a")
    with pytest.raises(QueueClosed):
        await queue.take()
