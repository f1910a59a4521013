"""Which example sits where in which global batch: a pure function of (ids, batch size, seed, epoch).

Each example belongs for the whole job to one of B = globalBatchSize lanes; position p of every batch comes
from lane p. Epoch e permutes within each lane. Worker w of N owns B/N neighbouring lanes, so any N that
divides B sees the same batches, and what a worker has read and cached stays its own.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


class Lanes:
    """The examples of a job dealt to `global_batch` lanes."""

    def __init__(self, ids: Sequence[str], global_batch: int, seed: int) -> None:
        """`ids` in the order that example indexes refer to; at least `global_batch` of them."""
        if len(ids) < global_batch:
            raise ValueError(f"{len(ids)} examples cannot fill {global_batch} lanes")
        self.seed = seed
        self.global_batch = global_batch
        self.steps = -(-len(ids) // global_batch)
        self.table = _deal(ids, self.steps, global_batch, seed)
        """[steps, lanes] example index, or -1 for an empty place."""

    def epoch(self, epoch: int) -> tuple[Indices, NDArray[np.float32]]:
        """Example index and weight at every place of this epoch's batches, [steps, lanes] each.

        An empty place holds an example of the same lane with weight 0, so every example counts once.
        """
        order = np.argsort(_keys(self.seed, epoch, self.table.shape), axis=0, kind="stable")
        index = np.take_along_axis(self.table, order, axis=0)
        weight = (index >= 0).astype(np.float32)
        # The first row of the table has no empty place.
        return np.where(index >= 0, index, self.table[0]), weight

    def owned(self, worker: int, workers: int) -> slice:
        """The lanes that worker `worker` of `workers` owns."""
        if self.global_batch % workers:
            raise ValueError(f"{workers} workers do not divide {self.global_batch} lanes")
        share = self.global_batch // workers
        return slice(worker * share, (worker + 1) * share)

    def examples(self, worker: int, workers: int) -> Indices:
        """The examples that `worker` lists, reads and caches: those of its lanes, ascending."""
        mine = self.table[:, self.owned(worker, workers)]
        return np.sort(mine[mine >= 0])


def _deal(ids: Sequence[str], steps: int, lanes: int, seed: int) -> Indices:
    """Round-robin by the rank of hash(seed, id): neighbours in a folder end up in different lanes."""
    ranked = sorted(range(len(ids)), key=lambda i: hashlib.sha256(f"{seed}/{ids[i]}".encode()).digest())
    table = np.full(steps * lanes, -1, np.int64)
    table[: len(ids)] = ranked
    return table.reshape(steps, lanes)


def _keys(seed: int, epoch: int, shape: tuple[int, ...]) -> NDArray[np.uint64]:
    """Sort keys of an epoch, one per place; integers only: no library's generator decides a result."""
    start = hashlib.sha256(f"epoch/{seed}/{epoch}".encode()).digest()
    row, lane = np.indices(shape, dtype=np.uint64)
    base = np.uint64(int.from_bytes(start[:8], "big"))
    return _scramble(_scramble(lane + base) + row)


def _scramble(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64: a bijection of 64-bit integers that mixes every bit."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
