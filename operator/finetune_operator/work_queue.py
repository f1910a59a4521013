"""Keys that wait to be looked at: each once, never by two workers at a time, later again after an error."""

import asyncio
import math
import random
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Generic, TypeVar

Key = TypeVar("Key")


EVERY = 4
"""Of so many keys in a row one is not new, while keys of both sorts wait."""
MOMENT = 0.1
"""Seconds: what happens within them is looked at together."""


class QueueClosed(Exception):
    """The process stops: no more keys."""


class WorkQueue(Generic[Key]):
    """What is new before what only goes on, each first come, first served, and neither ever waits for ever.

    So when a thousand jobs come at once, each has its objects before much is said about the first.
    Must be used on one event loop. Times in seconds.
    """

    def __init__(
        self, base: float = 0.2, longest: float = 60.0, clock: Callable[[], float] = monotonic
    ) -> None:
        self._base = base
        self._longest = longest
        self._clock = clock
        self._new: deque[Key] = deque()
        self._turn = 0
        self._going_on: deque[Key] = deque()
        self._waiting: dict[Key, float] = {}  # since when; also those that a worker has in hand
        self._in_hand: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._soon: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._wake = asyncio.Event()
        self.retries = 0
        """How many errors led to a later try, in all."""

        self._taken = clock()
        self._closed = False

    def __len__(self) -> int:
        return len(self._new) + len(self._going_on)

    @property
    def age(self) -> float:
        """How long the key at the head has waited."""
        heads = [line[0] for line in (self._new, self._going_on) if line]
        return max((self._clock() - self._waiting[head] for head in heads), default=0.0)

    @property
    def stalled(self) -> float:
        """For how long keys have waited and nobody took any."""
        return min(self.age, self._clock() - self._taken)

    def close(self) -> None:
        """Whoever takes a key from now on gets QueueClosed."""
        self._closed = True
        self._wake.set()

    def add(self, key: Key) -> None:
        """Wants `key`, which is new or wants something new, looked at as soon as possible; again if a worker has it in
        hand right now."""
        self._want(key, self._new)

    def add_soon(self, key: Key) -> None:
        """Wants `key` looked at in a moment, once for all that happens until then."""
        if key not in self._waiting and key not in self._soon:
            loop = asyncio.get_running_loop()
            self._soon[key] = loop.call_later(MOMENT, self._moment_is_over, key)

    def add_later(self, key: Key, delay: float | None) -> None:
        """Wants `key` looked at after `delay` seconds instead of at the time said before; None: not at all."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if delay is not None:
            self._timers[key] = asyncio.get_running_loop().call_later(delay, self._due, key)

    def retry(self, key: Key, at_least: float = 0.0, at_most: float = math.inf) -> float:
        """Wants `key` looked at after its own back-off, doubled by each failure; returns the delay."""
        failures = self._failures.get(key, 0)
        self._failures[key] = min(failures + 1, 30)
        delay = min(self._longest, at_most, self._base * 2.0**failures) * random.uniform(0.8, 1.2)
        self.retries += 1
        self.add_later(key, max(at_least, delay))
        return max(at_least, delay)

    def forgive(self, key: Key) -> None:
        """The key went well: its next failure is its first."""
        self._failures.pop(key, None)

    async def take(self) -> Key:
        """Waits for a key; the caller has it in hand until `done`. Raises QueueClosed."""
        while not len(self) and not self._closed:
            self._wake.clear()
            await self._wake.wait()
        if self._closed:
            raise QueueClosed
        self._taken = self._clock()
        key = self._next_line().popleft()
        del self._waiting[key]
        self._in_hand.add(key)
        return key

    def done(self, key: Key) -> None:
        """The caller is through with `key`."""
        self._in_hand.discard(key)
        if key in self._waiting:
            self._offer(key, self._going_on)

    def _moment_is_over(self, key: Key) -> None:
        self._soon.pop(key, None)
        self._want(key, self._going_on)

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self._want(key, self._going_on)

    def _want(self, key: Key, line: deque[Key]) -> None:
        if key not in self._waiting:
            self._waiting[key] = self._clock()
            if key not in self._in_hand:
                self._offer(key, line)

    def _next_line(self) -> deque[Key]:
        self._turn = (self._turn + 1) % EVERY
        if self._new and not (self._going_on and self._turn == 0):
            return self._new
        return self._going_on or self._new

    def _offer(self, key: Key, line: deque[Key]) -> None:
        line.append(key)
        self._wake.set()
