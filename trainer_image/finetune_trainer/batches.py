"""The batches of one epoch, prepared in a thread of its own while the devices train."""

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BYTES_AHEAD = 128 << 20
STEPS_AHEAD = 256

Rows = Callable[[NDArray[np.int64]], list[NDArray[Any]]]


@dataclass(frozen=True)
class EpochOrder:
    """Which examples each step of an epoch takes, for the whole gang: [steps, lanes] each."""

    examples: NDArray[np.int64]
    weights: NDArray[np.float32]
    labels: NDArray[np.int32]


@dataclass(frozen=True)
class Taken:
    """`n` steps of this worker, n in front; `waited` seconds were spent waiting for them."""

    features: list[NDArray[Any]]
    labels: NDArray[np.int32]
    weights: NDArray[np.float32]
    batch_weights: NDArray[np.float32]
    waited: float


class Batches:
    """Steps `first_step`... of an epoch, for the lanes `owned`; close it when leaving early."""

    def __init__(self, rows: Rows, order: EpochOrder, owned: slice, first_step: int) -> None:
        self._rows = rows
        self._order = order
        self._owned = owned
        self._next = first_step
        self._ready: queue.Queue[list[NDArray[Any]] | BaseException] = queue.Queue(maxsize=STEPS_AHEAD)
        self._closed = threading.Event()
        self._room = threading.Semaphore(2)
        self.bytes_per_step = 0
        threading.Thread(target=self._prepare, args=(first_step,), name="batches", daemon=True).start()

    def take(self, steps: int) -> Taken:
        """The next `steps` steps."""
        began = time.monotonic()
        parts = [self._take_one() for _ in range(steps)]
        waited = time.monotonic() - began
        at = slice(self._next, self._next + steps)
        self._next += steps
        return Taken(
            features=[np.stack(column) for column in zip(*parts, strict=True)],
            labels=self._order.labels[at, self._owned],
            weights=self._order.weights[at, self._owned],
            batch_weights=self._order.weights[at].sum(axis=1),
            waited=waited,
        )

    def close(self) -> None:
        """Stop preparing; safe to call twice."""
        self._closed.set()
        self._room.release(STEPS_AHEAD)

    def _take_one(self) -> list[NDArray[Any]]:
        item = self._ready.get()
        self._room.release()
        if isinstance(item, BaseException):
            raise item
        return item

    def _prepare(self, first_step: int) -> None:
        try:
            for step in range(first_step, len(self._order.examples)):
                self._room.acquire()
                if self._closed.is_set():
                    return
                features = self._rows(self._order.examples[step, self._owned])
                if not self.bytes_per_step:
                    self._widen(sum(part.nbytes for part in features))
                self._ready.put(features)
        except BaseException as error:  # handed to the training thread, which raises it
            self._ready.put(error)

    def _widen(self, bytes_per_step: int) -> None:
        """Small steps may run further ahead; large ones stay within the memory bound."""
        self.bytes_per_step = max(1, bytes_per_step)
        ahead = min(STEPS_AHEAD, max(2, BYTES_AHEAD // self.bytes_per_step))
        # Releasing none is an error of its own.
        if ahead > 2:
            self._room.release(ahead - 2)
