"""The real zygote and the real channel, with small programs as training processes."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import best_of
from finetune_api.events import Command, Event, PhaseEvent, ResultEvent, Role, TickEvent, TrainRequest
from finetune_supervisor import outcome, processes
from finetune_supervisor.generation import Generation
from finetune_supervisor.messages import Ending, Outcome, Start
from finetune_supervisor.outcome import Exit, LastWords
from finetune_supervisor.training import TrainingProcess
from finetune_supervisor.zygote_client import Zygote, ZygoteDiedError
from gangs import ROOT, children

ENTRY = ("--entry", "forked:main")
COLD = (sys.executable, "-m", "finetune_trainer.zygote", *ENTRY, "--cold")
WARM = (sys.executable, "-m", "finetune_trainer.zygote", *ENTRY)


def environment() -> dict[str, str]:
    paths = os.pathsep.join(str(ROOT / part) for part in ("operator", "trainer_image", "tests/support"))
    return {**os.environ, "PYTHONPATH": paths}


def request(does: str, generation: int = 1) -> TrainRequest:
    return TrainRequest(
        role=Role.TRAIN, generation=generation, job_path="", index=0, addresses=["127.0.0.1:1"], scratch=does
    )


@asynccontextmanager
async def zygote(command: tuple[str, ...] = COLD) -> AsyncIterator[Zygote]:
    running = Zygote(environment(), command)
    try:
        await asyncio.wait_for(running.ready(), 120)
        yield running
    finally:
        await asyncio.wait_for(running.close(), 30)


def story(told: Callable[[Zygote], Awaitable[None]], command: tuple[str, ...] = COLD) -> None:
    async def tell() -> None:
        async with zygote(command) as running, asyncio.timeout(60):
            await told(running)

    asyncio.run(tell())


async def lived(process: TrainingProcess, *, until: int = 0) -> tuple[list[Event], Outcome]:
    """All that a process says, and its outcome; with `until` it is killed after so many events."""
    words, said = LastWords(), []
    async for event in process.events():
        words.hear(event)
        said.append(event)
        if until and len(said) == until:
            process.kill(Ending.STOPPED)
    reply = await process.exited()
    return said, outcome.of(Exit(reply.status, process.killed_as, False, reply.maxrss_bytes), words)


def test_a_process_says_what_it_does_and_how_it_ended() -> None:
    async def told(running: Zygote) -> None:
        for generation in (1, 2, 3):
            said, end = await lived(await TrainingProcess.fork(running, request("succeed", generation)))
            assert [type(event) for event in said] == [PhaseEvent, ResultEvent]
            assert end.ending is Ending.TRAINED
            assert end.result is not None
            assert end.result.metrics == {"generation": generation}

    story(told)


@pytest.mark.parametrize(
    ("does", "code", "reason"),
    [
        pytest.param("crash", 70, "Crashed", id="an exception"),
        pytest.param("quit", 7, "Crashed", id="sys.exit"),
        pytest.param("nothing_of_that_name", 70, "Crashed", id="an unknown program"),
    ],
)
def test_a_crash_has_its_status(does: str, code: int, reason: str) -> None:
    async def told(running: Zygote) -> None:
        _, end = await lived(await TrainingProcess.fork(running, request(does)))
        assert (end.ending, end.code, end.reason) == (Ending.FAILED, code, reason)
        _, after = await lived(await TrainingProcess.fork(running, request("succeed")))
        assert after.ending is Ending.TRAINED, "the zygote is none the worse for it"

    story(told)


def test_linear_algebra_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)

    async def told(running: Zygote) -> None:
        _, end = await lived(await TrainingProcess.fork(running, request("count_blas_threads")))
        assert end.code == 1

    story(told)


async def seconds_until_noticed(running: Zygote) -> float:
    """From the kill of a training process by somebody else until its outcome is known."""
    process = await TrainingProcess.fork(running, request("hang"))
    living = asyncio.create_task(lived(process))
    os.kill(process.pid, signal.SIGKILL)
    began = time.monotonic()
    _, end = await living
    seconds = time.monotonic() - began
    message = "The training process was killed by SIGKILL."
    assert (end.ending, end.code, end.message) == (Ending.FAILED, 137, message)
    return seconds


def test_a_process_killed_by_somebody_else_is_noticed_within_a_second() -> None:
    async def told(running: Zygote) -> None:
        for times in best_of.some(10, under=1.0):
            times.append(await seconds_until_noticed(running))

    story(told)


def test_a_killed_process_is_reaped() -> None:
    async def told(running: Zygote) -> None:
        process = await TrainingProcess.fork(running, request("hang"))
        assert children(running.pid) == [process.pid]
        _, end = await lived(process, until=1)
        assert end.ending is Ending.STOPPED
        assert children(running.pid) == []

    story(told)


def test_an_order_to_kill_may_come_before_the_fork() -> None:
    async def told(running: Zygote) -> None:
        generation = Generation(Start(generation=1, role=Role.TRAIN))
        generation.kill(Ending.ABANDONED)
        end, peak = await generation.live(running, request("hang"), lambda _: None)
        assert end.ending is Ending.ABANDONED
        assert peak > 0

    story(told)


def test_commands_reach_the_process() -> None:
    async def told(running: Zygote) -> None:
        process = await TrainingProcess.fork(running, request("leave"))
        process.command(Command(command="leave"))
        said, end = await lived(process)
        assert end.ending is Ending.LEFT
        ticks = [event for event in said if isinstance(event, TickEvent)]
        assert len(ticks) < 50, "ticks are thinned out"

    story(told)


def test_a_save_is_asked_for_once_each_time() -> None:
    async def told(running: Zygote) -> None:
        process = await TrainingProcess.fork(running, request("save"))
        saved = 0
        async for event in process.events():
            if isinstance(event, TickEvent):
                saved = event.done
            if saved < 3:
                process.command(Command(command="save"))
            else:
                process.command(Command(command="stop"))
        assert (await process.exited()).status == 3

    story(told)


def test_lines_of_many_threads_are_not_torn() -> None:
    async def told(running: Zygote) -> None:
        said, _ = await lived(await TrainingProcess.fork(running, request("flood")))
        names = [event.stage_name for event in said if isinstance(event, PhaseEvent) and event.stage_name]
        assert len(names) == 200
        assert {(name[0] * 5_000 == name) for name in names} == {True}

    story(told)


def test_a_hung_process_prints_its_stacks(capfd: pytest.CaptureFixture[str]) -> None:
    async def told(running: Zygote) -> None:
        process = await TrainingProcess.fork(running, request("hang"))
        async for event in process.events():
            if isinstance(event, TickEvent):
                await process.dump_and_kill(Ending.STOPPED)
        assert (await process.exited()).status == -signal.SIGKILL

    story(told)
    printed = capfd.readouterr().err
    assert "in hang" in printed
    assert "in _listen" in printed, "of all threads"


def test_a_stopped_process_dies_when_killed() -> None:
    async def told(running: Zygote) -> None:
        process = await TrainingProcess.fork(running, request("hang"))
        os.kill(process.pid, signal.SIGSTOP)
        process.kill(Ending.STOPPED)
        _, end = await lived(process)
        assert end.ending is Ending.STOPPED

    story(told)


def test_when_the_zygote_dies_so_does_its_child() -> None:
    async def told() -> None:
        processes.inherit_orphans()
        running = Zygote(environment(), COLD)
        await running.ready()
        process = await TrainingProcess.fork(running, request("hang"))
        living = asyncio.create_task(lived(process))
        os.kill(running.pid, signal.SIGKILL)
        _, end = await asyncio.wait_for(living, 30)
        assert (end.ending, end.code) == (Ending.FAILED, 137)
        assert await running.ended() == -signal.SIGKILL
        assert not Path(f"/proc/{process.pid}").exists(), "reaped as well"
        with pytest.raises(ZygoteDiedError):
            await TrainingProcess.fork(running, request("hang"))

    asyncio.run(told())


def test_a_zygote_that_cannot_import_says_so() -> None:
    async def told() -> None:
        command = (sys.executable, "-c", "import sys; sys.exit(3)")
        running = Zygote(environment(), command)
        with pytest.raises(ZygoteDiedError) as died:
            await asyncio.wait_for(running.ready(), 30)
        assert died.value.status == 3

    asyncio.run(told())


@pytest.mark.slow
def test_the_real_thing_forks_processes_that_compute(tmp_path: Path) -> None:
    """TensorFlow and Keras are imported once, run in every fork, and never in the zygote."""

    async def told(running: Zygote) -> None:
        assert "tensorflow" in Path(f"/proc/{running.pid}/maps").read_text()
        times = []
        for generation in (1, 2):
            began = time.monotonic()
            _, end = await lived(await TrainingProcess.fork(running, request("compute", generation)))
            assert end.ending is Ending.TRAINED
            assert end.result is not None
            assert end.result.metrics == {"answer": 3.0, "parent": running.pid, "started": True}
            times.append(time.monotonic() - began)
        assert min(times) < 10, "far less than the imports take"
        process = await TrainingProcess.fork(running, request("hang"))
        began = time.monotonic()
        _, end = await lived(process, until=1)
        assert end.ending is Ending.STOPPED
        assert time.monotonic() - began < 5

    story(told, WARM)
