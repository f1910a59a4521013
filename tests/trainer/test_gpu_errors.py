"""Errors as TensorFlow has worded them on a GPU, and what the trainer makes of them."""

import pytest
import tensorflow as tf

from finetune_api.contract import ExitCode
from finetune_api.errors import TryAgain
from finetune_trainer import child, distribution

FULL = tf.errors.InternalError(None, None, "cudaSetDevice() on GPU:0 failed. Status: out of memory")
CUDNN = tf.errors.InternalError(None, None, "Could not create cudnn handle: CUDNN_STATUS_NOT_INITIALIZED")
AWAY = tf.errors.UnavailableError(None, None, "Connection refused")
SAID = (
    "A deterministic GPU implementation of fused batch-norm backprop, when training is disabled, "
    "is not currently available."
)
NONDETERMINISTIC = tf.errors.UnimplementedError(
    None,
    None,
    f"""Graph execution error:

Detected at node gradient_tape/while/FusedBatchNormGradV3 defined at (most recent call last):
  File "loop.py", line 144, in _step
2 root error(s) found.
  (0) UNIMPLEMENTED:  {SAID}
\t [[{{{{node gradient_tape/while/FusedBatchNormGradV3}}}}]]
\t [[while/body/_1/while/NoOp/_33]]
  (1) UNIMPLEMENTED:  the same
0 successful operations.""",
)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(
    "error", [FULL, tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"), MemoryError()]
)
def test_full_memory_is_named_whatever_the_error_is(error: Exception, alone: bool) -> None:
    found = child.describe(error, alone=alone)
    assert (found.code, found.reason) == (ExitCode.INTERNAL, "OutOfMemory")
    assert "Fix: lower globalBatchSize" in found.message


def test_a_gpu_is_named_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _: ["GPU:0"])
    assert child.describe(FULL).message.startswith("The GPU's memory is full.")


def test_alone_nobody_can_have_left() -> None:
    found = child.describe(CUDNN, alone=True)
    assert (found.code, found.reason) == (ExitCode.INTERNAL, "InternalError")
    assert "cudnn handle" in found.message
    assert child.describe(AWAY, alone=False).reason == "PeerLost"


def test_a_collective_that_breaks_means_a_lost_peer_only_among_several() -> None:
    gang = distribution.Gang(tf.distribute.get_strategy(), 0, 1)
    with pytest.raises(tf.errors.InternalError), gang.peer_errors():
        raise CUDNN
    gang.num_workers = 2
    with pytest.raises(TryAgain, match="a peer left"), gang.peer_errors():
        raise AWAY
    with pytest.raises(tf.errors.InternalError, match="out of memory"), gang.peer_errors():
        raise FULL


def test_what_cannot_be_deterministic_is_the_jobs_fault_and_is_said() -> None:
    found = child.describe(NONDETERMINISTIC)
    assert (found.code, found.reason) == (ExitCode.BAD_JOB, "NotDeterministic")
    assert SAID in found.message
    assert "leave deterministic out" in found.message


def test_an_error_of_a_graph_says_what_happened() -> None:
    text = "Graph execution error:\n\nDetected at node x\n  File y\nNo algorithm worked!\n\t [[{{node x}}]]"
    message = child.describe(tf.errors.NotFoundError(None, None, text)).message
    assert message == "NotFoundError: No algorithm worked!"
