"""From the end of a training process, as the kernel and its last words tell it, to an `Outcome`: pure."""

import signal
from dataclasses import dataclass

from finetune_api.contract import ExitCode
from finetune_api.events import ChunkEvent, EpochEvent, ErrorEvent, Event, FirstStepEvent, ResultEvent
from finetune_supervisor.budget import OUT_OF_MEMORY
from finetune_supervisor.messages import Ending, Outcome

_GIB = 1 << 30


@dataclass
class LastWords:
    """What a training process has said that matters for its end."""

    step: int = 0
    advanced: bool = False
    result: ResultEvent | None = None
    error: ErrorEvent | None = None

    def hear(self, event: Event) -> None:
        """Remembers what matters of `event`."""
        match event:
            case ChunkEvent() | EpochEvent():
                self.step = max(self.step, event.global_step)
                self.advanced = True
            case FirstStepEvent():
                self.advanced = True
            case ResultEvent():
                self.result = event
            case ErrorEvent():
                self.error = event


@dataclass(frozen=True)
class Exit:
    """How the kernel saw it end."""

    status: int
    """Exit code, or minus the signal."""
    killed_as: Ending | None = None
    """STOPPED or ABANDONED if this supervisor killed it, else None."""
    out_of_memory: bool = False
    """Whether the kernel killed a process of this container for memory while it ran."""
    max_rss_bytes: int = 0


def of(end: Exit, words: LastWords) -> Outcome:
    """The outcome: what the process said comes before why it was killed, and that before the signal."""
    ending, code, reason, message = _explain(end, words)
    result = words.result if ending.value == (words.result and words.result.result) else None
    return Outcome(
        ending=ending,
        code=code,
        reason=reason,
        message=message,
        step=words.step,
        advanced=words.advanced,
        result=result,
    )


def _explain(end: Exit, words: LastWords) -> tuple[Ending, int, str, str]:
    if words.error:
        return Ending.FAILED, words.error.code or ExitCode.INTERNAL, words.error.reason, words.error.message
    if words.result and (end.status == 0 or end.killed_as):
        return Ending(words.result.result), 0, "", ""
    if end.killed_as:
        return end.killed_as, 0, "", ""
    if end.status == -signal.SIGKILL and end.out_of_memory:
        return Ending.FAILED, ExitCode.KILLED, OUT_OF_MEMORY, _memory_message(end)
    if end.status < 0:
        name = signal.Signals(-end.status).name
        return Ending.FAILED, 128 - end.status, "Killed", f"The training process was killed by {name}."
    message = f"The training process ended with status {end.status} and no result. Its last output says more."
    return Ending.FAILED, end.status or ExitCode.INTERNAL, "Crashed", message


def _memory_message(end: Exit) -> str:
    peak = f" at {end.max_rss_bytes / _GIB:.1f} GiB" if end.max_rss_bytes else ""
    return (
        f"The training process was killed for lack of memory{peak}. "
        "Fix: lower globalBatchSize or imageSize, raise the memory limit, or use more workers."
    )
