"""The token bucket: a burst, then a steady rate, in the order of arrival."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import coroutines
from finetune_operator.rate_limit import TokenBucket


class Clock:
    """Stands still but for those who sleep. Rates are powers of two, so that its sums are exact."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@asynccontextmanager
async def clock() -> AsyncIterator[Clock]:
    """A clock that `asyncio.sleep` sets forward instead of waiting."""
    clock, give_way = Clock(), asyncio.sleep

    async def sleep(seconds: float) -> None:
        await give_way(0)
        clock.time += seconds

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "sleep", sleep)
        yield clock


@coroutines.run
async def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    async with clock() as now:
        bucket = TokenBucket(rate=128, burst=10, clock=now)
        for _ in range(10):
            await bucket.take()
        assert now.time == 0
        for _ in range(32):
            await bucket.take()
        assert now.time == 0.25


@coroutines.run
async def test_it_goes_by_the_real_time() -> None:
    loop = asyncio.get_running_loop()
    bucket = TokenBucket(rate=100, burst=10)
    began = loop.time()
    for _ in range(30):
        await bucket.take()
    assert loop.time() - began >= 0.15


@coroutines.run
async def test_first_come_first_served() -> None:
    bucket = TokenBucket(rate=200, burst=1)
    order: list[int] = []

    async def one(number: int) -> None:
        await bucket.take()
        order.append(number)

    await asyncio.gather(*(one(number) for number in range(10)))
    assert order == list(range(10))


@coroutines.run
async def test_nothing_passes_a_closed_bucket() -> None:
    async with clock() as now:
        bucket = TokenBucket(rate=1024, burst=10, clock=now)
        bucket.close_for(0.25)
        bucket.close_for(0.125)
        await bucket.take()
        assert now.time == 0.25


@coroutines.run
async def test_a_waiter_that_gives_up_takes_no_token_along() -> None:
    async with clock() as now:
        bucket = TokenBucket(rate=64, burst=1, clock=now)
        await bucket.take()
        waiter = asyncio.create_task(bucket.take())
        await asyncio.sleep(0)
        waiter.cancel()
        await bucket.take()
        assert waiter.cancelled()
        assert now.time == 1 / 64


@coroutines.run
async def test_a_rate_of_nothing_is_no_limit() -> None:
    async with clock() as now:
        bucket = TokenBucket(rate=0, burst=1, clock=now)
        for _ in range(1000):
            await bucket.take()
        assert now.time == 0
