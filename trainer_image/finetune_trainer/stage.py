"""One stage: weights in, weights out. The story of training is `train`, read it first."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_api.errors import GaveUp
from finetune_api.events import ChunkEvent, EpochEvent, FirstStepEvent, Phase, WarningEvent
from finetune_api.plan import Plan, ResolvedStage
from finetune_trainer import (
    batches,
    evaluate,
    heads,
    keeper,
    loop,
    losses,
    metrics,
    optimizers,
    stage_model,
    stopping,
)
from finetune_trainer.channel import Channel
from finetune_trainer.distribution import Gang
from finetune_trainer.state import Arrays, Best, RunState

SECONDS_PER_CHUNK = 2.0
BYTES_PER_CHUNK = 256 << 20
NON_FINITE_TRIES = 2


@dataclass(frozen=True)
class StageData:
    """What a stage reads: features at its cut, for training and validation."""

    rows: Callable[[int, NDArray[np.int64]], list[NDArray[Any]]]
    """(view, examples) -> features of this worker's examples."""
    order: Callable[[int], batches.EpochOrder]
    """epoch -> the order of that epoch for the whole gang."""
    owned: slice
    """This worker's lanes."""
    validation: evaluate.Split | None
    validation_labels: NDArray[np.int64]
    steps_per_epoch: int


@dataclass
class StageRun:
    """One stage of one generation."""

    plan: Plan
    stage: ResolvedStage
    cut_at: int
    gang: Gang
    channel: Channel
    keeper: keeper.Keeper
    data: StageData
    generation: int
    initial: Callable[[list[str]], Arrays]
    """Paths -> the weights that training starts from; asked only for what no checkpoint has."""
    first_step_done: bool = False

    def __post_init__(self) -> None:
        self._length = _ChunkLength()

    def train(self, state: RunState) -> str:
        """Bring `state` from where it is to the end of the stage; returns why it ended."""
        self.channel.phase(Phase.BUILD, self.stage.index, self.stage.name)
        model = self._model(state)
        # Out of its scope the GPUs of a worker would share one momentum, and each of them move it.
        with self.gang.strategy.scope():
            optimizer = optimizers.create(self.stage, model.trainable)
        optimizers.restore(optimizer, state.optimizer)
        loss, clip_norm = losses.of_stage(self.plan, self.stage), self.stage.clip_norm
        steps = loop.Steps(self.gang, model, optimizer, loss, clip_norm, self.plan.resolved.seed)

        def capture() -> RunState:
            model.average_moving_statistics(self.gang)
            state.weights = state.weights | model.arrays()
            state.optimizer = optimizers.slots(optimizer)
            return state

        undo = _Undo(capture())
        while state.epoch < self.stage.epochs:
            began = time.monotonic()
            if not self._train_epoch(steps, state, capture):
                undo.restore(state, model, optimizer)
                self.channel.emit(_rolled_back(self.stage.name, state.rate_scale))
                continue
            self._end_epoch(capture(), lambda: self._validate(steps), time.monotonic() - began)
            reason = stopping.after_epoch(self.stage, state)
            if reason:
                return reason
            undo = _Undo(state)
        return "Completed"

    def _model(self, state: RunState) -> stage_model.StageModel:
        model = stage_model.build(self.plan, self.stage, self.cut_at, self.gang)
        missing = [name for name in model.names if name not in state.weights]
        width = int(model.head.input_shape[-1])
        job = self.plan.resolved
        head = heads.initial(width, job.hidden, len(self.plan.classes), job.seed)
        tail = self.initial(missing) if any(name not in head for name in missing) else {}
        model.assign(head | tail | state.weights)
        return model

    def _train_epoch(self, steps: loop.Steps, state: RunState, capture: Callable[[], RunState]) -> bool:
        """The rest of the epoch, chunk by chunk; False when something was not finite."""
        if self.first_step_done:
            self.channel.phase(Phase.STEP, self.stage.index, self.stage.name)
        order = self.data.order(state.epoch)
        view = state.epoch % self.plan.views
        feed = batches.Batches(
            lambda examples: self.data.rows(view, examples), order, self.data.owned, state.step
        )
        try:
            while state.step < self.data.steps_per_epoch:
                count = self._length.next(self.data.steps_per_epoch - state.step, feed.bytes_per_step)
                result = self._chunk(steps, feed, state, count)
                if not result.finite:
                    return False
                self.keeper.after_chunk(result.control, capture)
                self.channel.phase(Phase.STEP, self.stage.index, self.stage.name)
        finally:
            feed.close()
        return True

    def _chunk(
        self, steps: loop.Steps, feed: batches.Batches, state: RunState, count: int
    ) -> loop.ChunkResult:
        began = time.monotonic()
        taken = feed.take(count)
        rates = self._rates(state, state.step, count)
        chunk = loop.Chunk(
            features=taken.features,
            labels=taken.labels,
            weights=taken.weights,
            batch_weights=taken.batch_weights,
            rates=rates,
            first_step=state.global_step,
        )
        result = steps.run(chunk, self.keeper.control(self._length.seconds_per_step))
        seconds = time.monotonic() - began
        self._length.learn(seconds / count, result.control[keeper.SECONDS] / self.gang.num_workers)
        if not result.finite:
            return result
        state.step += count
        state.global_step += count
        state.sums = [
            a + b for a, b in zip(state.sums, (result.loss_sum, result.correct, result.weight), strict=True)
        ]
        self._report(state, result, chunk, seconds, taken.waited)
        return result

    def _rates(self, state: RunState, step: int, count: int) -> NDArray[np.float32]:
        """Learning rates of steps of this epoch."""
        per_epoch = self.data.steps_per_epoch
        rates = optimizers.learning_rates(self.stage, per_epoch, state.epoch * per_epoch + step, count)
        return rates * np.float32(state.rate_scale * optimizers.plateau_factor(self.stage, state.history))

    def _report(
        self, state: RunState, result: loop.ChunkResult, chunk: loop.Chunk, seconds: float, waited: float
    ) -> None:
        if not self.first_step_done:
            self.first_step_done = True
            self.channel.emit(FirstStepEvent(seconds=time.monotonic() - self.channel.started))
        self.channel.emit(
            ChunkEvent(
                stage=self.stage.index,
                stage_name=self.stage.name,
                epoch=state.epoch,
                step=state.step,
                steps=len(chunk.rates),
                global_step=state.global_step,
                examples=int(result.weight),
                loss=result.loss_sum / result.weight,
                accuracy=result.correct / result.weight,
                learning_rate=float(chunk.rates[-1]),
                seconds=seconds,
                data_wait=waited,
            )
        )

    def _validate(self, steps: loop.Steps) -> NDArray[np.float32] | None:
        if self.data.validation is None:
            return None
        self.channel.phase(Phase.EVALUATE, self.stage.index, self.stage.name)
        return evaluate.probabilities(self.gang, steps.predict, self.data.validation, len(self.plan.classes))

    def _end_epoch(
        self, state: RunState, validate: Callable[[], NDArray[np.float32] | None], seconds: float
    ) -> None:
        loss_sum, correct, weight = state.sums
        (rate,) = self._rates(state, self.data.steps_per_epoch - 1, 1)
        finish_epoch(
            self,
            state,
            validate(),
            {"loss": loss_sum / weight, "accuracy": correct / weight},
            float(rate),
            seconds,
        )
        state.step = 0
        state.sums = [0.0, 0.0, 0.0]


def finish_epoch(
    run: StageRun,
    state: RunState,
    predictions: NDArray[np.float32] | None,
    training: dict[str, float],
    rate: float,
    seconds: float,
) -> None:
    """Judge an epoch, remember it if it is the best, write its row; `state.epoch` then names the next one."""
    figures = dict(training)
    if predictions is not None:
        judged = run.data.validation_labels >= 0
        state.predictions["judged"] = judged
        figures |= metrics.evaluation(predictions[judged], run.data.validation_labels[judged])
        state.predictions["last"] = predictions
    best = stopping.is_better(figures, state.best)
    if best:
        state.best = Best(run.stage.index, run.stage.name, state.epoch, figures)
        state.best_weights = dict(state.weights)
        if predictions is not None:
            state.predictions["best"] = predictions
    row = EpochEvent(
        stage=run.stage.index,
        stage_name=run.stage.name,
        epoch=state.epoch,
        global_step=state.global_step,
        learning_rate=rate,
        seconds=seconds,
        generation=run.generation,
        best=best,
        **figures,
    )
    state.record(row)
    run.channel.emit(row)
    state.epoch += 1


class _ChunkLength:
    """Steps of the next chunk: about two seconds of work, by a step time that is equal on every worker."""

    def __init__(self) -> None:
        self.seconds_per_step = 0.0
        self._agreed = 0.0
        self._traced = False

    def next(self, left: int, bytes_per_step: int) -> int:
        if not self._agreed:
            return 1
        by_time = int(SECONDS_PER_CHUNK / self._agreed)
        by_bytes = BYTES_PER_CHUNK // max(1, bytes_per_step)
        return max(1, min(left, by_time, by_bytes))

    def learn(self, own: float, agreed: float) -> None:
        """`own` was measured here and is agreed upon with the next chunk; the first chunk's is tracing, not work."""
        if self._traced:
            self.seconds_per_step = own
        self._traced = True
        self._agreed = agreed


class _Undo:
    """The state at the start of an epoch, for a rollback when something is not finite."""

    def __init__(self, state: RunState) -> None:
        self._weights, self._optimizer = dict(state.weights), dict(state.optimizer)
        self._position = (state.step, state.global_step, list(state.sums))

    def restore(self, state: RunState, model: stage_model.StageModel, optimizer: Any) -> None:
        """Back to that state at a tenth of the learning rate; gives up after two tries."""
        if state.rate_scale < 0.1**NON_FINITE_TRIES * 1.5:
            raise GaveUp(
                "NonFiniteLoss",
                f"the loss was not finite {NON_FINITE_TRIES + 1} times in stage {state.stage}, "
                f"the last time at {state.rate_scale:g} times the learning rate",
                "a finite loss",
                "lower learningRate, set optimizer.clipNorm, or check the images of the stage",
            )
        state.rate_scale *= 0.1
        state.step, state.global_step, sums = self._position
        state.sums = list(sums)
        state.weights, state.optimizer = dict(self._weights), dict(self._optimizer)
        model.assign(state.weights)
        optimizers.restore(optimizer, state.optimizer)


def _rolled_back(stage: str, scale: float) -> WarningEvent:
    message = (
        f"the loss was not finite in stage {stage}: its epoch again at {scale:g} times the learning rate"
    )
    return WarningEvent(reason="NonFiniteLoss", message=message)
