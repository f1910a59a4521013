"""The half of a supervisor that runs on worker 0 only: it drives the gang through its generations."""

import asyncio
import logging
import time
from collections.abc import Callable

from finetune_api.contract import ExitCode
from finetune_api.errors import FineTuneError, TryAgain
from finetune_supervisor import gang, watchdog
from finetune_supervisor.board import Board
from finetune_supervisor.budget import Trouble
from finetune_supervisor.gang import Doing, Gang
from finetune_supervisor.happenings import (
    Action,
    BecameReady,
    Claim,
    Conclude,
    Condemned,
    Gone,
    Happening,
    Hung,
    Joined,
    ProcessEnded,
    Send,
    Settle,
    Settled,
    Survey,
)
from finetune_supervisor.messages import (
    Beat,
    Ended,
    Order,
    Outcome,
    Pulse,
    Ready,
    Report,
    Verdict,
    internal_error,
    verdict_of,
)
from finetune_supervisor.run_state import RunState
from finetune_supervisor.tasks import Tasks

SHORTEST_STORAGE_PAUSE = 1.0
LONGEST_STORAGE_PAUSE = 30.0
log = logging.getLogger(__name__)


class Chief:
    """Feeds the gang's state machine and carries out what it decides.

    `send(worker, order)` reaches a worker, 0 included; `leave_with` ends this supervisor, and with a verdict
    that is the run's also all others.
    """

    def __init__(
        self,
        state: RunState,
        board: Board,
        patience: float,
        send: Callable[[int, Order], None],
        leave_with: Callable[[Verdict], None],
    ) -> None:
        self._state = state
        self._board = board
        self._patience = patience
        self._send = send
        self._leave_with = leave_with
        self._gang = Gang(state.workers)
        self._pulses: dict[int, Pulse] = {}
        self._since = time.monotonic()
        self._trouble = Trouble()
        self._tasks = Tasks(lambda error: leave_with(internal_error(error)))

    def start(self) -> None:
        """Takes the run over and finds out how far it is."""
        self._tasks.start(self._answer(self._state.take_over))

    def joined(self, worker: int) -> None:
        """A session with `worker` began."""
        self._pulses.pop(worker, None)
        self._happen(Joined(worker))

    def gone(self, worker: int) -> None:
        """The session with `worker` ended."""
        log.info("worker %d is gone", worker)
        self._happen(Gone(worker))

    def reported(self, worker: int, report: Report) -> None:
        """`worker` said something."""
        match report:
            case Ready():
                self._happen(BecameReady(worker))
            case Ended():
                self._pulses.pop(worker, None)
                self._happen(ProcessEnded(worker, report))
            case Pulse():
                self._pulses[worker] = report

    def beat(self) -> Beat:
        """What each worker is told every second."""
        return Beat(workers_ready=len(self._gang.ready | self._gang.running))

    def check(self) -> None:
        """To be called each second: looks for hangs, and for patience that has ended."""
        pulses = {worker: self._pulses.get(worker, Pulse()) for worker in self._gang.running}
        if self._gang.doing is Doing.RUNNING and (workers := watchdog.hung(pulses)):
            self._happen(Hung(workers, watchdog.describe(pulses, workers)))
        waiting = self._gang.doing in (Doing.GATHERING, Doing.ENDING)
        if waiting and time.monotonic() - self._since > self._patience:
            self._happen(Condemned(self._incomplete()))

    def _happen(self, happening: Happening) -> None:
        before = self._gang
        self._gang, actions = gang.step(before, happening)
        if self._gang.doing is not before.doing:
            self._since = time.monotonic()
        self._board.workers_ready(self.beat().workers_ready)
        for action in actions:
            self._carry_out(action)

    def _carry_out(self, action: Action) -> None:
        match action:
            case Survey():
                self._tasks.start(self._answer(self._state.survey))
            case Claim():
                self._tasks.start(self._answer(lambda: self._state.claim(action.role)))
            case Send():
                for worker in sorted(action.workers):
                    self._send(worker, action.order)
            case Settle():
                self._tasks.start(self._settle(action))
            case Conclude():
                self._leave_with(action.verdict)

    async def _answer(self, work: Callable[[], Happening]) -> None:
        self._happen(await self._with_storage(work))

    async def _settle(self, action: Settle) -> None:
        failure, now = action.failure, time.monotonic()
        self._trouble = self._trouble.after(advanced=action.advanced, now=now)
        if failure.code == ExitCode.TRY_AGAIN and self._trouble.lasts(now) > self._patience:
            verdict = Verdict(code=failure.code, reason=failure.reason, message=failure.message)
            return self._happen(Condemned(verdict))
        if failure.code != ExitCode.TRY_AGAIN:
            self._board.lost(failure)
        happening = await self._with_storage(lambda: self._counted(failure))
        if isinstance(happening, Settled) and (pause := self._trouble.pause()):
            log.info("pausing %.0f s after %d fruitless generations", pause, self._trouble.fruitless)
            await asyncio.sleep(pause)
        return self._happen(happening)

    async def _with_storage(self, work: Callable[[], Happening]) -> Happening:
        """What blocking `work` returns, done in a thread, again and again while the storage is away."""
        began, pause = time.monotonic(), SHORTEST_STORAGE_PAUSE
        while True:
            try:
                return await asyncio.to_thread(work)
            except FineTuneError as error:
                if not isinstance(error, TryAgain) or time.monotonic() - began > self._patience:
                    return Condemned(verdict_of(error))
                log.warning("will try again: %s", error)
            await asyncio.sleep(pause)
            pause = min(LONGEST_STORAGE_PAUSE, 2 * pause)

    def _counted(self, failure: Outcome) -> Happening:
        verdict = self._state.settle(failure)
        return Condemned(verdict) if verdict else Settled()

    def _incomplete(self) -> Verdict:
        workers = self._gang.running if self._gang.doing is Doing.ENDING else self._gang.missing
        names = ", ".join(str(worker) for worker in sorted(workers))
        message = f"Not ready after {self._patience:.0f} seconds: worker {names} of {self._gang.workers}."
        return Verdict(code=ExitCode.TRY_AGAIN, reason="PeersMissing", message=message)
