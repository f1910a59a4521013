"""The half of a supervisor that every worker has: a zygote, at most one training process, orders obeyed."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from finetune_api.contract import Env, ExitCode
from finetune_api.events import Role, TrainRequest
from finetune_supervisor.board import Board
from finetune_supervisor.generation import Generation
from finetune_supervisor.job import Job
from finetune_supervisor.messages import (
    End,
    Ended,
    Ending,
    Finish,
    Order,
    Outcome,
    Pulse,
    Ready,
    Report,
    Start,
    Verdict,
    internal_error,
)
from finetune_supervisor.settings import Places, Settings
from finetune_supervisor.tasks import Tasks
from finetune_supervisor.zygote_client import Zygote, ZygoteDiedError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setup:
    """What this worker is and runs; never changes."""

    settings: Settings
    places: Places
    job: Job
    zygote: Sequence[str]
    """Command that starts the zygote."""


class Worker:
    """Obeys orders and reports through `tell`. `verdict` is set when this supervisor has to leave."""

    def __init__(self, setup: Setup, board: Board, tell: Callable[[Report], None]) -> None:
        self.verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._setup = setup
        self._board = board
        self._tell = tell
        self._zygote: Zygote | None = None
        self._generation: Generation | None = None
        self._leaving = False
        self._tasks = Tasks(self.failed)

    async def keep_zygote(self) -> None:
        """Keeps a zygote alive until cancelled."""
        try:
            while True:
                environment = zygote_environment(os.environ, self._setup.settings.threads)
                self._zygote = Zygote(environment, self._setup.zygote)
                await self._zygote.ready()
                self.announce()
                status = await self._zygote.ended()
                log.warning("the zygote ended with status %d; starting another", status)
        except ZygoteDiedError as error:
            self.leave_with(_broken(error.status))

    async def close(self) -> None:
        """Kills what runs."""
        if self._zygote:
            await self._zygote.close()

    @property
    def own_processes(self) -> frozenset[int]:
        """Ids of the processes that somebody here waits for."""
        pids = (self._zygote and self._zygote.pid, self._generation and self._generation.pid)
        return frozenset(pid for pid in pids if pid)

    def obey(self, order: Order) -> None:
        """Carries out an order of supervisor 0."""
        match order:
            case Start():
                self._generation = Generation(order)
                self._tasks.start(self._live(self._generation))
            case End() if self._generation and self._generation.order.generation == order.generation:
                self._end(self._generation, dump=order.dump)
            case Finish():
                self.leave_with(order.verdict)

    def announce(self) -> None:
        """Reports ready, if it is so."""
        if self._zygote and self._zygote.is_ready and not self._generation and not self._leaving:
            self._tell(Ready())

    def stop_training(self) -> None:
        """The generation is over: supervisor 0 is gone, or the run has its verdict."""
        if self._generation:
            self._generation.kill(Ending.STOPPED)

    def pulse(self) -> Pulse:
        """How the training process does."""
        deadline = self._setup.job.resolved.progress_deadline_seconds
        return self._generation.pulse(deadline) if self._generation else Pulse()

    def leave(self) -> None:
        """SIGTERM: save what there is to save, then leave. The second time: do not wait for that."""
        again, self._leaving = self._leaving, True
        log.info("told to stop")
        if self._generation is None:
            self.leave_with(_told_to_stop(None))
        elif again or not (self._generation.leave() or self._generation.order.role is Role.PUBLISH):
            # Nothing has been done that a new start would have to do again. A commit is waited for.
            self._generation.kill(Ending.ABANDONED)

    def leave_with(self, verdict: Verdict) -> None:
        """The first verdict counts."""
        if not self.verdict.done():
            self.verdict.set_result(verdict)

    def failed(self, error: BaseException) -> None:
        """A mistake in this supervisor; another one may do better."""
        self.leave_with(internal_error(error))

    async def _live(self, generation: Generation) -> None:
        zygote = self._zygote
        assert zygote, "orders come only after this worker reported ready"
        self._board.started(generation.order)
        outcome, peak = await generation.live(zygote, self._request(generation.order), self._board.heard)
        self._generation = None
        self._board.ended(outcome, peak)
        self._tell(Ended(generation=generation.order.generation, outcome=outcome))
        if self._leaving and outcome.ending is not Ending.PUBLISHED:
            self.leave_with(_told_to_stop(outcome))
        self.announce()

    def _end(self, generation: Generation, *, dump: bool) -> None:
        if dump:
            self._tasks.start(generation.dump_and_kill(Ending.STOPPED))
        else:
            generation.kill(Ending.STOPPED)

    def _request(self, order: Start) -> TrainRequest:
        settings = self._setup.settings
        return TrainRequest(
            role=order.role,
            generation=order.generation,
            job_path=str(settings.job),
            index=settings.index,
            addresses=[str(address) for address in self._setup.places.tensorflow],
            checkpoint=order.checkpoint,
            scratch=str(settings.scratch),
            credentials=str(settings.credentials) if settings.credentials else None,
            threads=settings.threads,
        )


def zygote_environment(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """What the zygote, and all it forks, inherit."""
    # Whoever gets into a training process through TensorFlow's port shall not find the gang's token there.
    inherited = {name: value for name, value in environment.items() if name != Env.TOKEN}
    pools = {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)} if threads else {}
    return {**pools, **inherited}


def _told_to_stop(outcome: Outcome | None) -> Verdict:
    saved = outcome is not None and outcome.ending is Ending.LEFT
    message = "Told to stop; everything is saved." if saved else "Told to stop; the last checkpoint is whole."
    return Verdict(code=ExitCode.STOPPED, reason="Stopped", message=message)


def _broken(status: int) -> Verdict:
    message = f"The process that imports TensorFlow ended with status {status} before it was ready."
    if status == -signal.SIGKILL:
        return Verdict(code=ExitCode.INTERNAL, reason="ZygoteKilled", message=message)
    hint = " Its last output says more. Fix: check the image, or the environment TensorFlow is installed in."
    return Verdict(code=ExitCode.BAD_CONFIGURATION, reason="TensorFlowBroken", message=message + hint)
