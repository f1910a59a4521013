"""The token bucket: a burst, then a steady rate, in the order of arrival."""

import asyncio
from time import monotonic

import coroutines
from finetune_operator.rate_limit import TokenBucket


@coroutines.run
async def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    bucket = TokenBucket(rate=100, burst=10)
    began = monotonic()
    for _ in range(10):
        await bucket.take()
    assert monotonic() - began < 0.05
    for _ in range(20):
        await bucket.take()
    assert 0.15 <= monotonic() - began < 0.5


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
    bucket = TokenBucket(rate=1000, burst=10)
    bucket.close_for(0.2)
    bucket.close_for(0.01)
    began = monotonic()
    await bucket.take()
    assert monotonic() - began >= 0.19


@coroutines.run
async def test_a_waiter_that_gives_up_takes_no_token_along() -> None:
    bucket = TokenBucket(rate=50, burst=1)
    await bucket.take()
    waiter = asyncio.create_task(bucket.take())
    await asyncio.sleep(0)
    waiter.cancel()
    began = monotonic()
    await bucket.take()
    assert monotonic() - began < 0.1


@coroutines.run
async def test_a_rate_of_nothing_is_no_limit() -> None:
    bucket = TokenBucket(rate=0, burst=1)
    async with asyncio.timeout(1):
        for _ in range(1000):
            await bucket.take()
