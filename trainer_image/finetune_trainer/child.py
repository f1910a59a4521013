"""The entry point of a forked child: its role, and what becomes of an error.

Imported by the zygote, so everything heavy is imported here, at module level, and paid for once.
"""

import sys
import traceback

import tensorflow as tf

from finetune_api.contract import ExitCode
from finetune_api.errors import FineTuneError
from finetune_api.events import ErrorEvent, ResultEvent, Role, TrainRequest
from finetune_trainer import distribution, publication, train
from finetune_trainer.channel import Channel
from finetune_trainer.keeper import LeaveError
from finetune_trainer.run_context import open_run

ROLES = {
    Role.TRAIN: train.train,
    Role.EXPORT: publication.export_model,
    Role.PUBLISH: publication.publish_model,
}


def main(request: TrainRequest, events_fd: int, commands_fd: int) -> int:
    """Do what `request` says; returns the exit status. The last event is a result or an error."""
    channel = Channel(events_fd, commands_fd)
    try:
        context = open_run(request, channel)
        channel.emit(ROLES[request.role](context))
    except LeaveError:
        channel.emit(ResultEvent(result="Left"))
    except Exception as error:
        failure = describe(error)
        channel.emit(failure)
        return failure.code
    if request.role is Role.TRAIN and request.index > 0:
        # The chief may still be fetching this worker's part of the last all-reduce.
        channel.wait_for_end()
    return ExitCode.OK


def describe(error: Exception) -> ErrorEvent:
    """The one place where an exception becomes an exit code and a message."""
    if isinstance(error, FineTuneError):
        return ErrorEvent(code=error.exit_code, reason=error.reason, message=str(error))
    if isinstance(error, distribution.PEER_ERRORS):
        return ErrorEvent(code=ExitCode.TRY_AGAIN, reason="PeerLost", message=_first_line(error))
    traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
        message = (
            "Out of memory. Fix: lower globalBatchSize or imageSize, add workers, or raise the memory limit."
        )
        return ErrorEvent(code=ExitCode.INTERNAL, reason="OutOfMemory", message=message)
    return ErrorEvent(
        code=ExitCode.INTERNAL,
        reason="InternalError",
        message=f"{type(error).__name__}: {_first_line(error)}",
    )


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:500] if text else type(error).__name__
