"""The gang as TensorFlow sees it: the strategy, and the few collectives that training needs.

Must be created before any other TensorFlow operation of the process: collectives are configured once.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from finetune_api import contract
from finetune_api.errors import BadConfiguration, TryAgain
from finetune_trainer import gpu, gpu_errors

PEER_ERRORS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
)
"""What a collective raises when a peer is gone; which of them first is a matter of timing."""

HEARTBEAT_TIMEOUT_MS = 10_000
REGISTER_TIMEOUT_MS = 120_000


class Gang:
    """This worker's place among its peers."""

    def __init__(self, strategy: Any, index: int, num_workers: int) -> None:
        self.strategy = strategy
        self.index = index
        self.num_workers = num_workers
        self.num_replicas = int(strategy.num_replicas_in_sync)
        """Devices that train, over all workers."""
        self._reduce = tf.function(self._sum_once_per_worker, autograph=False)
        self._gather = tf.function(self._gather_rows, autograph=False)

    @property
    def is_chief(self) -> bool:
        """Whether this worker saves, evaluates for the record and publishes."""
        return self.index == 0

    @contextmanager
    def peer_errors(self) -> Iterator[None]:
        """As the function of that name where there are peers: alone, the same errors are the device's own."""
        with peer_errors() if self.num_workers > 1 else nullcontext():
            yield

    def all_reduce(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum over workers of a vector [n]; the same result, bit for bit, on each of them."""
        if self.num_workers == 1:
            return vector
        with self.peer_errors():
            return np.asarray(self._reduce(tf.constant(vector)))

    def all_gather(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows [n, k] of all workers, in worker order, [workers * n, k]; n must be equal everywhere."""
        if self.num_workers == 1:
            return rows
        with self.peer_errors():
            return np.asarray(self._gather(tf.constant(rows)))

    def averager(self, variables: list[Any]) -> Callable[[], list[NDArray[np.float32]]]:
        """A function that gives, for variables that each replica updates by itself, their means over replicas.

        It is traced once for these very variables (a tf.function takes two variables of one shape for the same),
        and needs one all-reduce for all of them.
        """

        def flat_mean() -> tf.Tensor:
            flat = tf.concat(
                [tf.reshape(tf.convert_to_tensor(variable), [-1]) for variable in variables], axis=0
            )
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, flat)

        traced = tf.function(lambda: self._first(self.strategy.run(flat_mean)), autograph=False)
        shapes = [tuple(variable.shape) for variable in variables]
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])

        def means() -> list[NDArray[np.float32]]:
            with self.peer_errors():
                parts = np.split(traced().numpy(), ends[:-1])
            return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

        return means

    def _sum_once_per_worker(self, vector: tf.Tensor) -> tf.Tensor:
        def reduce(value: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            local_replicas = self.num_replicas // self.num_workers
            # With several devices on a worker only the first one speaks for it.
            first = tf.cast(context.replica_id_in_sync_group, tf.int32) % local_replicas == 0
            return context.all_reduce(
                tf.distribute.ReduceOp.SUM, tf.where(first, value, tf.zeros_like(value))
            )

        return self._first(self.strategy.run(reduce, args=(vector,)))

    def _gather_rows(self, rows: tf.Tensor) -> tf.Tensor:
        def gather(value: tf.Tensor) -> tf.Tensor:
            return tf.distribute.get_replica_context().all_gather(tf.identity(value), axis=0)

        gathered = self._first(self.strategy.run(gather, args=(rows,)))
        # Every local replica contributed the same rows; keep those of each worker's first.
        parts = tf.split(gathered, self.num_replicas, axis=0)
        return tf.concat(parts[:: self.num_replicas // self.num_workers], axis=0)

    def _first(self, value: Any) -> tf.Tensor:
        return self.strategy.experimental_local_results(value)[0]


def create(addresses: list[str], index: int, threads: int, deterministic: bool = False) -> Gang:
    """Join the gang at `addresses` (host:port each) as worker `index`; blocks until all have joined.

    With a single address there is no TF_CONFIG and no port is opened. `deterministic` refuses operations whose
    result depends on timing.
    """
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(max(1, threads))
    gpu.require_usable()
    os.environ.pop("TF_CONFIG", None)
    if len(addresses) == 1:
        many = len(tf.config.list_physical_devices("GPU")) > 1
        strategy = tf.distribute.MirroredStrategy() if many else tf.distribute.get_strategy()
        return Gang(strategy, 0, 1)
    os.environ["TF_CONFIG"] = contract.tf_config(addresses, index)
    _configure_coordination(len(addresses))
    with peer_errors():
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return Gang(strategy, index, len(addresses))


def lanes_per_replica(global_batch_size: int, num_replicas: int) -> int:
    """Rows of each global batch that one replica computes."""
    if global_batch_size % num_replicas:
        raise BadConfiguration(
            "BatchNotDivisible",
            f"globalBatchSize {global_batch_size} cannot be shared by {num_replicas} devices",
            "a multiple of workers x devices per worker",
            f"set globalBatchSize to {-(-global_batch_size // num_replicas) * num_replicas}",
        )
    return global_batch_size // num_replicas


@contextmanager
def peer_errors() -> Iterator[None]:
    """Turn what a broken collective raises into TryAgain: a new generation heals it."""
    try:
        yield
    except PEER_ERRORS as error:
        if gpu_errors.is_out_of_memory(error):
            raise
        raise TryAgain("PeerLost", f"a peer left the gang ({type(error).__name__})") from error


def _configure_coordination(num_workers: int) -> None:
    """Fail after two minutes instead of an hour when a peer never joins.

    The setting is in a private module, so its absence must not stop training: TensorFlow's own defaults
    then hold (openxla coordination_service.h: register 1 h, heartbeat 10 s).
    """
    try:
        from tensorflow.core.protobuf import coordination_config_pb2
        from tensorflow.python.eager import context

        configure: Callable[..., None] = context.context().configure_coordination_service
        job = coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=num_workers)
        configure(
            "standalone",
            "/job:worker/replica:0/task:0",
            cluster_register_timeout_in_ms=REGISTER_TIMEOUT_MS,
            heartbeat_timeout_in_ms=HEARTBEAT_TIMEOUT_MS,
            coordinated_jobs=[job],
        )
    except (ImportError, AttributeError, TypeError):  # pragma: no cover - other TensorFlow versions
        return
