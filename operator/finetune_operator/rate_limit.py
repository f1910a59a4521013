"""A token bucket in front of the API server: first come, first served."""

import asyncio
from collections.abc import Callable
from time import monotonic


class TokenBucket:
    """Lets `rate` requests a second through, after a burst of up to `burst`.

    Waiters are served in the order in which they came. A worker has one request out at a time, so no key
    gets more than its share. `rate` 0 is no limit.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = monotonic) -> None:
        self._rate = rate
        self._burst = float(max(1, burst))
        self._clock = clock
        self._tokens = self._burst
        self._filled = clock()
        self._closed_until = 0.0
        self._turn = asyncio.Lock()  # an asyncio lock wakes its waiters first in, first out

    async def take(self) -> None:
        """Returns when one request may go out."""
        async with self._turn:
            while wait := self._wait():
                await asyncio.sleep(wait)
            self._tokens -= 1 if self._rate else 0

    def close_for(self, seconds: float) -> None:
        """Nothing goes out for so long: the server said when to come back."""
        self._closed_until = max(self._closed_until, self._clock() + seconds)

    def _wait(self) -> float:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        short = (1 - self._tokens) / self._rate if self._rate and self._tokens < 1 else 0.0
        return max(0.0, short, self._closed_until - now)
