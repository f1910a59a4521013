"""Supervisors of fake pods: the real HTTP server and what it shows, fed with the events that a test makes up."""

import asyncio
import tempfile
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from api_client import Body
from finetune_api import http_pages
from finetune_api.contract import HTTP_PORT
from finetune_api.errors import FineTuneError
from finetune_api.events import (
    CheckpointEvent,
    ChunkEvent,
    EpochEvent,
    Event,
    Phase,
    PhaseEvent,
    PlanEvent,
    ResultEvent,
    Role,
    StageEvent,
)
from finetune_supervisor import supervisor
from finetune_supervisor.board import Board
from finetune_supervisor.messages import Ending, Outcome, Start, Verdict
from finetune_supervisor.report import ReportFile
from finetune_supervisor.settings import Address

STAGES, EPOCHS = ("head", "finetune"), (2, 3)
TRAINABLE, UNFROZEN_FROM = (1000, 2000), (None, "block_15_expand")
STEPS_PER_EPOCH = 10
_T = TypeVar("_T")


class FakeTrainer:
    """The supervisor of one pod. A stage is given by its number; epochs and steps count from 0 as in events."""

    def __init__(self, run: Callable[[Coroutine[Any, Any, Any]], Any], index: int, workers: int) -> None:
        self._run = run
        self._file = Path(tempfile.mkstemp(prefix="termination-")[1])
        self._board = Board(index, ReportFile(self._file))
        self._board.introduce(workers, list(zip(STAGES, EPOCHS, strict=True)))
        self._server: asyncio.Server | None = None

    @property
    def report(self) -> str:
        """The termination message as it stands; give it to the pod as exit_message."""
        return self._file.read_text()

    def start(self, generation: int = 1, workers_ready: int = 4, restarts: int = 0) -> None:
        """A generation of training starts; it tells its plan and takes its first breath."""
        order = Start(generation=generation, role=Role.TRAIN, restarts=restarts)
        self._do(lambda: self._board.started(order))
        self._do(lambda: self._board.workers_ready(workers_ready))
        self.hear(
            PlanEvent(
                stages=list(STAGES),
                epochs=list(EPOCHS),
                steps_per_epoch=STEPS_PER_EPOCH,
                global_batch_size=32,
                trainable_parameters=list(TRAINABLE),
                unfrozen_from=list(UNFROZEN_FROM),
            )
        )
        self.phase(Phase.BUILD)

    def lose(self) -> None:
        """The training process was killed."""
        killed = Outcome(ending=Ending.FAILED, code=137, reason="Killed", message="killed by SIGKILL")
        self._do(lambda: self._board.ended(killed, max_rss_bytes=1 << 30))

    def wait_for(self, problem: FineTuneError) -> None:
        """Nothing can start before this is repaired."""
        self._do(lambda: self._board.waits_for(problem))

    def phase(self, phase: Phase, stage: int = 0) -> None:
        self.hear(PhaseEvent(phase=phase, stage=stage, stage_name=STAGES[stage]))

    def step(self, stage: int, epoch: int, step: int) -> None:
        """`step` steps of this epoch are done."""
        self.hear(
            ChunkEvent(
                stage=stage,
                stage_name=STAGES[stage],
                epoch=epoch,
                step=step,
                steps=1,
                global_step=_steps_before(stage, epoch) + step,
                examples=32,
                loss=1.0,
                accuracy=0.5,
                learning_rate=0.001,
                seconds=0.1,
                data_wait=0.0,
            )
        )

    def epoch(self, stage: int, epoch: int, val_accuracy: float = 0.9, best: bool = True) -> None:
        """This epoch is done."""
        self.hear(
            EpochEvent(
                stage=stage,
                stage_name=STAGES[stage],
                epoch=epoch,
                global_step=_steps_before(stage, epoch + 1),
                loss=1.0,
                accuracy=0.8,
                val_loss=0.5,
                val_accuracy=val_accuracy,
                learning_rate=0.001,
                seconds=1.0,
                best=best,
            )
        )

    def end_stage(self, stage: int, reason: str = "Completed") -> None:
        self.hear(StageEvent(stage=stage, stage_name=STAGES[stage], reason=reason))

    def saved(self, checkpoint: str, global_step: int) -> None:
        self.hear(CheckpointEvent(id=checkpoint, global_step=global_step, bytes=1000, seconds=0.1))

    def publish(self, uri: str = "s3://bucket/models/1", version: int = 1) -> str:
        """The run succeeded; its termination message."""
        result = ResultEvent(
            result="Published",
            model_uri=uri,
            version=version,
            metrics={"val_accuracy": 0.9431},
            best_stage=STAGES[-1],
            best_epoch=EPOCHS[-1],
        )
        self.hear(result)
        return self.over(0, result=result)

    def over(self, code: int, reason: str = "", message: str = "", result: ResultEvent | None = None) -> str:
        """The supervisor is about to leave with this verdict; its termination message."""
        verdict = Verdict(code=code, reason=reason, message=message, result=result)
        self._do(lambda: self._board.over(verdict))
        return self.report

    def hear(self, *events: Event) -> None:
        """The training process says this."""
        for event in events:
            self._do(lambda: self._board.heard(event))  # noqa: B023  (called at once)

    def listen(self, host: str) -> None:
        """Answers there until `close`."""
        address = Address(host, HTTP_PORT)
        self._server = self._run(http_pages.serve(address.host, address.port, supervisor.pages(self._board)))

    def close(self) -> None:
        """Nobody answers there any more."""
        if self._server:
            self._run(_closed(self._server))
        self._server = None

    def remove(self) -> None:
        self.close()
        self._file.unlink(missing_ok=True)

    def _do(self, act: Callable[[], None]) -> None:
        """On the loop, where the server reads what the act changes."""

        async def call() -> None:
            act()

        self._run(call())


class FakeTrainers:
    """All supervisors of a test, on one event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._all: list[FakeTrainer] = []

    def __enter__(self) -> "FakeTrainers":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for trainer in self._all:
            trainer.remove()
        self._call(_drained())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def serve(self, pod: Body, workers: int = 4) -> FakeTrainer:
        """The supervisor of a running pod of an Indexed Job, listening at the pod's address."""
        index = int(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"])
        trainer = FakeTrainer(self._call, index, workers)
        self._all.append(trainer)
        trainer.listen(pod["status"]["podIP"])
        return trainer

    def _call(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=60)


def _steps_before(stage: int, epoch: int) -> int:
    return (sum(EPOCHS[:stage]) + epoch) * STEPS_PER_EPOCH


async def _closed(server: asyncio.Server) -> None:
    server.close()
    await server.wait_closed()


async def _drained() -> None:
    """Answers that are under way are given, and their connections closed."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=5)
    for _ in range(3):  # a closed connection is gone one turn of the loop later
        await asyncio.sleep(0)
