"""The entry point of a forked child: its role, and what becomes of an error.

Imported by the zygote, so everything heavy is imported here, at module level, and paid for once.
"""

import sys
import traceback

from finetune_api.contract import ExitCode
from finetune_api.errors import FineTuneError
from finetune_api.events import ErrorEvent, ResultEvent, Role, TrainRequest
from finetune_trainer import distribution, gpu_errors, publication, train
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
        failure = describe(error, alone=len(request.addresses) == 1)
        channel.emit(failure)
        return failure.code
    if request.role is Role.TRAIN and request.index > 0:
        # The chief may still be fetching this worker's part of the last all-reduce.
        channel.wait_for_end()
    return ExitCode.OK


def describe(error: Exception, *, alone: bool = False) -> ErrorEvent:
    """The one place where an exception becomes an exit code and a message; `alone` where there are no peers."""
    try:
        gpu_errors.refuse_nondeterministic(error)
    except FineTuneError as refusal:
        error = refusal
    if isinstance(error, FineTuneError):
        return ErrorEvent(code=error.exit_code, reason=error.reason, message=str(error))
    full = gpu_errors.is_out_of_memory(error)
    telling = gpu_errors.telling_line(error)
    if isinstance(error, distribution.PEER_ERRORS) and not (alone or full):
        return ErrorEvent(code=ExitCode.TRY_AGAIN, reason="PeerLost", message=telling)
    traceback.print_exception(error, file=sys.stderr)
    if full:
        message = gpu_errors.memory_message(error)
        return ErrorEvent(code=ExitCode.INTERNAL, reason="OutOfMemory", message=message)
    return ErrorEvent(
        code=ExitCode.INTERNAL,
        reason="InternalError",
        message=f"{type(error).__name__}: {telling}",
    )
