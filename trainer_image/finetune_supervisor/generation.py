"""One worker's part in one generation: a training process, from the order to fork it to its outcome."""

import time
from collections.abc import Callable

from finetune_api.contract import ExitCode
from finetune_api.events import Command, Event, Role, TrainRequest
from finetune_supervisor import memory, outcome, watchdog
from finetune_supervisor.messages import Ending, Outcome, Pulse, Start
from finetune_supervisor.outcome import Exit, LastWords
from finetune_supervisor.training import TrainingProcess
from finetune_supervisor.watchdog import Watch
from finetune_supervisor.zygote_client import Zygote, ZygoteDiedError


class Generation:
    """Made when the order comes; `live` runs it; the other methods may be called at any time."""

    def __init__(self, order: Start) -> None:
        self.order = order
        self._words = LastWords()
        self._watch = Watch(heard=time.monotonic())
        self._process: TrainingProcess | None = None
        self._unwanted: Ending | None = None

    @property
    def pid(self) -> int | None:
        """Id of the training process; None while it is being forked."""
        return self._process.pid if self._process else None

    async def live(
        self, zygote: Zygote, request: TrainRequest, hear: Callable[[Event], None]
    ) -> tuple[Outcome, int]:
        """Forks the training process and passes on what it says; its outcome and peak memory in bytes."""
        kills_before = memory.out_of_memory_kills()
        try:
            process = await TrainingProcess.fork(zygote, request)
        except ZygoteDiedError as error:
            return _unforked(error.status), 0
        self._process = process
        if self._unwanted:
            process.kill(self._unwanted)
        async for event in process.events():
            self._words.hear(event)
            self._watch = watchdog.after(self._watch, event, time.monotonic())
            hear(event)
        reply = await process.exited()
        out_of_memory = memory.out_of_memory_kills() > kills_before
        end = Exit(reply.status, process.killed_as, out_of_memory, reply.maxrss_bytes)
        return outcome.of(end, self._words), reply.maxrss_bytes

    def pulse(self, deadline: float) -> Pulse:
        """How the training process does; `deadline` is the longest silence ever allowed, in seconds."""
        return watchdog.pulse(self._watch, deadline, time.monotonic())

    def leave(self) -> bool:
        """Asks the training process to save and stop, on all workers at the same step.

        False if there is nothing to save: no step has been done since the generation started.
        """
        if not (self._process and self._words.advanced and self.order.role is Role.TRAIN):
            return False
        self._process.command(Command(command="leave"))
        return True

    def kill(self, ending: Ending) -> None:
        """Kills the training process now, or as soon as it is forked."""
        self._unwanted = self._unwanted or ending
        if self._process:
            self._process.kill(ending)

    async def dump_and_kill(self, ending: Ending) -> None:
        """Has it print the stacks of its threads first."""
        if self._process:
            await self._process.dump_and_kill(ending)
        self.kill(ending)


def _unforked(status: int) -> Outcome:
    return Outcome(
        ending=Ending.FAILED,
        code=ExitCode.INTERNAL,
        reason="ZygoteDied",
        message=f"The process that forks training processes ended with status {status}.",
    )
