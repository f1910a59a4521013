"""A supervisor as a member of its gang: worker 0 leads, the others follow."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from finetune_api.contract import ExitCode
from finetune_api.errors import FineTuneError, TryAgain
from finetune_supervisor import credentials, job, processes
from finetune_supervisor.board import Board
from finetune_supervisor.chief import Chief
from finetune_supervisor.messages import Finish, Hello, Order, Verdict
from finetune_supervisor.rendezvous import Admission, Rendezvous
from finetune_supervisor.run_state import SUPERSEDED, RunState
from finetune_supervisor.settings import Settings, places
from finetune_supervisor.tasks import Tasks
from finetune_supervisor.uplink import Uplink
from finetune_supervisor.worker import Setup, Worker

SECONDS_BETWEEN_ROUNDS = 1.0
SECONDS_FOR_FAREWELL = 3.0
SECONDS_BETWEEN_LOOKS = 3.0

Heed = Callable[[Callable[[], None]], None]


async def serve(settings: Settings, zygote: Sequence[str], board: Board, heed: Heed) -> Verdict:
    """Takes part in the gang until there is a verdict. `heed(act)` has `act` called when told to stop.

    Raises the errors of `finetune_supervisor.job` and `finetune_supervisor.settings`.
    """
    described = await asyncio.to_thread(job.read, settings.job)
    resolved = described.resolved
    board.introduce(resolved.workers, [(stage.name, stage.epochs) for stage in resolved.stages])
    where = places(settings, described.file.name, resolved.workers)
    setup = Setup(settings, where, described, zygote)
    stopped = asyncio.Event()
    heed(stopped.set)
    await credentials.arrive(settings, described, stopped, board.waits_for)
    return await (_lead if settings.index == 0 else _follow)(setup, board, heed)


async def _lead(setup: Setup, board: Board, heed: Heed) -> Verdict:
    resolved, settings = setup.job.resolved, setup.settings

    def send(number: int, order: Order) -> None:
        worker.obey(order) if number == 0 else rendezvous.send(number, order)

    worker = Worker(setup, board, lambda report: chief.reported(0, report))
    state = RunState.open(setup.job, settings.credentials, settings.scratch)
    chief = Chief(state, board, resolved.start_deadline_seconds, send, worker.leave_with)
    rendezvous = Rendezvous(Admission(settings.token, setup.job.digest, resolved.workers), chief)

    def look() -> None:
        chief.reported(0, worker.pulse())
        chief.check()

    async with _running(worker, heed, look):
        if resolved.workers > 1:
            await _open(rendezvous, setup)
        chief.joined(0)
        chief.start()
        verdict = await worker.verdict
        worker.stop_training()
        # A leader that only has to go, has failed itself or was replaced: the others look for the next.
        ends_run = verdict.code not in (ExitCode.STOPPED, ExitCode.INTERNAL) and verdict.reason != SUPERSEDED
        await rendezvous.close(Finish(verdict=verdict) if ends_run else None, SECONDS_FOR_FAREWELL)
    return verdict


async def _follow(setup: Setup, board: Board, heed: Heed) -> Verdict:
    hello = Hello(token=setup.settings.token, index=setup.settings.index, job_digest=setup.job.digest)
    uplink = Uplink(setup.places.rendezvous, hello, lambda beat: board.workers_ready(beat.workers_ready))
    worker = Worker(setup, board, uplink.tell)
    async with _running(worker, heed, lambda: None) as tasks:
        tasks.start(uplink.run(worker, setup.job.resolved.start_deadline_seconds))
        tasks.start(_look_for_the_end(uplink, worker, setup))
        verdict = await worker.verdict
        await uplink.close()
    return verdict


async def _look_for_the_end(uplink: Uplink, worker: Worker, setup: Setup) -> None:
    """Without a session: supervisor 0 may have left with the run published before this worker could join."""
    state = RunState.open(setup.job, setup.settings.credentials, setup.settings.scratch)
    while True:
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
        if not uplink.is_up:
            with contextlib.suppress(FineTuneError):
                if published := (await asyncio.to_thread(state.survey)).published:
                    worker.leave_with(Verdict(code=ExitCode.OK, result=published))


@contextlib.asynccontextmanager
async def _running(worker: Worker, heed: Heed, look: Callable[[], None]) -> AsyncIterator[Tasks]:
    """The worker at work, with `look` called each second; nothing of it is left after the block."""
    tasks = Tasks(worker.failed)

    async def rounds() -> None:
        while True:
            processes.reap_orphans(worker.own_processes)
            look()
            await asyncio.sleep(SECONDS_BETWEEN_ROUNDS)

    tasks.start(worker.keep_zygote())
    tasks.start(rounds())
    heed(worker.leave)
    try:
        yield tasks
    finally:
        tasks.cancel()
        await worker.close()


async def _open(rendezvous: Rendezvous, setup: Setup) -> None:
    address = setup.places.rendezvous
    try:
        await rendezvous.listen(address)
    except OSError as error:
        raise TryAgain("PortTaken", f"cannot listen on {address}: {error}", "a free port") from error
