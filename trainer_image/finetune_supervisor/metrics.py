"""Prometheus metrics of one worker.

Loss, metrics and learning rate are the chief's alone: they are equal everywhere, and N copies help nobody.
"""

import functools
from collections.abc import Callable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from finetune_api.events import (
    CacheEvent,
    CheckpointEvent,
    ChunkEvent,
    EpochEvent,
    Event,
    FirstStepEvent,
    PhaseEvent,
    PlanEvent,
    WarningEvent,
)
from finetune_supervisor.messages import Outcome

STEP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SAVE_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
NON_FINITE = "NonFiniteLoss"
NO_PROCESS = "Wait"
"""Phase of a supervisor without a training process: its peers are missing."""


class Metrics:
    """What this supervisor saw, over all generations. Times of day are Unix seconds."""

    def __init__(self, *, chief: bool, now: float) -> None:
        # A second series for each counter, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._chief = chief
        self._phase = NO_PROCESS
        self._counted_until = now
        self._registry = CollectorRegistry()
        self._training()
        self._gang()

    def _training(self) -> None:
        counter, gauge, histogram = self._kinds()
        self._step_seconds = histogram(
            "train_step_duration_seconds", "One training step.", ["stage"], buckets=STEP_BUCKETS
        )
        self._data_wait = counter("train_data_wait_seconds", "This worker's wait for its data.", ["stage"])
        self._examples = counter("train_examples", "Examples trained on, over all workers.", ["stage"])
        self._steps = counter("train_steps", "Training steps done, repeated ones included.", ["stage"])
        self._repeated = counter("train_repeated_steps", "Steps done again after a restart.", ["stage"])
        self._phase_seconds = counter("train_phase_seconds", "Time spent in each phase.", ["phase"])
        self._loss = gauge("train_loss", "Latest loss.", ["split"])
        self._metric = gauge("train_metric", "Latest value of a metric.", ["split", "name"])
        self._rate = gauge("train_learning_rate", "Latest learning rate.")
        self._parameters = gauge("train_trainable_parameters", "Parameters that a stage trains.", ["stage"])
        self._peak = gauge("train_device_memory_peak_bytes", "Peak of the last process to end.", ["device"])
        self._cache = gauge("train_feature_cache_bytes", "This worker's feature cache.")
        self._save = histogram("checkpoint_save_duration_seconds", "One checkpoint.", buckets=SAVE_BUCKETS)
        self._saved = gauge("checkpoint_bytes", "Size of the newest checkpoint.")
        self._saved_at = gauge("checkpoint_last_timestamp_seconds", "When the newest checkpoint was whole.")
        self._heard_at = gauge(
            "train_last_event_timestamp_seconds", "When training last gave a sign of life."
        )
        self._warnings = counter("train_warnings", "Warnings of the training process.", ["reason"])
        self._warnings.labels(NON_FINITE)  # 0 until it happens, not absent: an alert can see the first one

    def _gang(self) -> None:
        counter, gauge, _ = self._kinds()
        self._generation = gauge("train_generation", "The newest generation.")
        self._ended = counter("train_generations_ended", "Training processes that ended.", ["reason"])
        self._ended_at = gauge("train_last_end_timestamp_seconds", "When one was last found ended.")
        self._first_step_at = gauge("train_last_first_step_timestamp_seconds", "When one last did step one.")
        self._first_step = gauge("train_first_step_seconds", "From fork to first step, newest generation.")

    def _kinds(self) -> tuple[Callable[..., Counter], Callable[..., Gauge], Callable[..., Histogram]]:
        kinds = (functools.partial(kind, registry=self._registry) for kind in (Counter, Gauge, Histogram))
        counter, gauge, histogram = (functools.partial(_prefixed, kind) for kind in kinds)
        return counter, gauge, histogram

    def text(self, now: float) -> bytes:
        """The exposition of `GET /metrics`."""
        self._count_time(now)
        return generate_latest(self._registry)

    def process_started(self, generation: int) -> None:
        """A training process was forked."""
        self._generation.set(generation)

    def process_ended(self, outcome: Outcome, max_rss_bytes: int, now: float) -> None:
        """A training process was reaped at `now`."""
        self._enter(NO_PROCESS, now)
        self._ended.labels(outcome.reason or outcome.ending).inc()
        self._ended_at.set(now)
        if max_rss_bytes:
            self._peak.labels("host").set(max_rss_bytes)

    def observe(self, event: Event, highest_step: int, now: float) -> None:
        """Takes in an event; `highest_step` is the highest global step of any generation before it."""
        self._heard_at.set(now)
        match event:
            case PhaseEvent():
                self._enter(event.phase, now)
            case PlanEvent():
                for stage, parameters in zip(event.stages, event.trainable_parameters, strict=True):
                    self._parameters.labels(stage).set(parameters)
            case ChunkEvent():
                self._chunk(event, highest_step)
            case EpochEvent() if self._chief:
                self._epoch(event)
            case _:
                self._milestone(event, now)

    def _milestone(self, event: Event, now: float) -> None:
        match event:
            case CheckpointEvent():
                self._save.observe(event.seconds)
                self._saved.set(event.bytes)
                self._saved_at.set(now)
            case WarningEvent():
                self._warnings.labels(event.reason).inc()
            case CacheEvent():
                self._cache.set(event.bytes)
            case FirstStepEvent():
                self._first_step.set(event.seconds)
                self._first_step_at.set(now)

    def _chunk(self, event: ChunkEvent, highest_step: int) -> None:
        stage = event.stage_name
        steps = max(1, event.steps)
        # The client library has no weighted observation; a chunk has few steps unless they are very short.
        for _ in range(steps):
            self._step_seconds.labels(stage).observe(event.seconds / steps)
        self._data_wait.labels(stage).inc(event.data_wait)
        self._examples.labels(stage).inc(event.examples)
        self._steps.labels(stage).inc(event.steps)
        again = min(event.steps, max(0, highest_step - (event.global_step - event.steps)))
        self._repeated.labels(stage).inc(again)
        if self._chief:
            self._loss.labels("train").set(event.loss)
            self._metric.labels("train", "accuracy").set(event.accuracy)
            self._rate.set(event.learning_rate)

    def _epoch(self, event: EpochEvent) -> None:
        if event.val_loss is not None:
            self._loss.labels("validation").set(event.val_loss)
        if event.val_accuracy is not None:
            self._metric.labels("validation", "accuracy").set(event.val_accuracy)

    def _enter(self, phase: str, now: float) -> None:
        self._count_time(now)
        self._phase = phase

    def _count_time(self, now: float) -> None:
        self._phase_seconds.labels(self._phase).inc(max(0.0, now - self._counted_until))
        self._counted_until = now


def _prefixed(kind: Callable[..., Any], name: str, *rest: Any, **options: Any) -> Any:
    return kind(f"finetune_{name}", *rest, **options)
