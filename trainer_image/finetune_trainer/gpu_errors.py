"""What TensorFlow's errors mean where a GPU is involved; their classes say little, so their words are read."""

from collections.abc import Iterable

import tensorflow as tf

from finetune_api.errors import BadJob

_OUT_OF_MEMORY = ("out of memory", "out_of_memory", "oom when allocating", "failed to allocate memory")
"""TensorFlow's allocator, CUDA and its libraries say it so, in errors of several classes."""
_NOT_DETERMINISTIC = ("deterministic gpu implementation", "determinism is not yet supported")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that a device's memory, or the process's, is full."""
    if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
        return True
    return isinstance(error, tf.errors.OpError) and _says(error, _OUT_OF_MEMORY)


def memory_message(error: BaseException) -> str:
    """What to do about it."""
    if isinstance(error, tf.errors.OpError) and tf.config.list_physical_devices("GPU"):
        return (
            "The GPU's memory is full. Fix: lower globalBatchSize or imageSize, unfreeze fewer blocks, add workers, "
            "or take a GPU with more memory; nothing else may run on it."
        )
    return "Out of memory. Fix: lower globalBatchSize or imageSize, add workers, or raise the memory limit."


def refuse_nondeterministic(error: BaseException) -> None:
    """Raise BadJob if `error` is that an operation has no deterministic kernel for GPUs."""
    if isinstance(error, tf.errors.UnimplementedError) and _says(error, _NOT_DETERMINISTIC):
        raise BadJob(
            "NotDeterministic",
            f"deterministic is true, but TensorFlow says: {telling_line(error)}",
            "operations that have a deterministic kernel for GPUs",
            "leave deterministic out, train the head alone, or train on CPUs",
        ) from error


def telling_line(error: BaseException) -> str:
    """The one line of an error that says what happened; in an error of a graph it stands above the node's name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    above = next((i - 1 for i, line in enumerate(lines) if line.startswith("[[{{node")), 0)
    return lines[max(0, above)].removeprefix("(0) ")[:500] if lines else type(error).__name__


def _says(error: BaseException, parts: Iterable[str]) -> bool:
    text = str(error).lower()
    return any(part in text for part in parts)
