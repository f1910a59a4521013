"""The metrics, as Prometheus reads them."""

from prometheus_client.parser import text_string_to_metric_families

from finetune_api.events import (
    CacheEvent,
    CheckpointEvent,
    ChunkEvent,
    EpochEvent,
    FirstStepEvent,
    Phase,
    PhaseEvent,
    PlanEvent,
    WarningEvent,
)
from finetune_supervisor.messages import Ending, Outcome
from finetune_supervisor.metrics import Metrics

END = 1020.0


def samples(metrics: Metrics) -> dict[str, float]:
    """Value by name and labels, such as `finetune_train_loss{train}`."""
    families = text_string_to_metric_families(metrics.text(END).decode())
    return {
        f"{sample.name}{{{','.join(sorted(sample.labels.values()))}}}": sample.value
        for family in families
        for sample in family.samples
    }


def chunk(global_step: int, steps: int = 5) -> ChunkEvent:
    place = {"stage": 0, "stage_name": "head", "epoch": 0, "step": 5, "steps": steps}
    figures = {"examples": 40, "loss": 0.5, "accuracy": 0.75, "learning_rate": 0.1, "data_wait": 0.25}
    return ChunkEvent.model_validate({**place, **figures, "global_step": global_step, "seconds": 1.0})


def told(*, chief: bool = True) -> Metrics:
    metrics = Metrics(chief=chief, now=990.0)
    metrics.process_started(generation=2)
    plan = PlanEvent(
        stages=["head"],
        epochs=[2],
        steps_per_epoch=5,
        global_batch_size=8,
        trainable_parameters=[1300],
        unfrozen_from=[None],
    )
    epoch = EpochEvent(
        stage=0,
        stage_name="head",
        epoch=0,
        global_step=5,
        loss=0.5,
        accuracy=0.75,
        val_loss=0.6,
        val_accuracy=0.7,
        learning_rate=0.1,
        seconds=1.0,
    )
    saved = CheckpointEvent(id="a", global_step=5, bytes=1000, seconds=0.2)
    said = (
        plan,
        PhaseEvent(phase=Phase.STEP),
        FirstStepEvent(seconds=1.25),
        chunk(5),
        epoch,
        saved,
        CacheEvent(hit=False, bytes=99, seconds=1),
    )
    for event in said:
        metrics.observe(event, highest_step=0, now=1000.0)
    return metrics


def test_a_chief_tells_of_training() -> None:
    seen = samples(told())
    expected = {
        "finetune_train_step_duration_seconds_count{head}": 5,
        "finetune_train_step_duration_seconds_sum{head}": 1.0,
        "finetune_train_data_wait_seconds_total{head}": 0.25,
        "finetune_train_examples_total{head}": 40,
        "finetune_train_steps_total{head}": 5,
        "finetune_train_loss{train}": 0.5,
        "finetune_train_loss{validation}": 0.6,
        "finetune_train_metric{accuracy,train}": 0.75,
        "finetune_train_metric{accuracy,validation}": 0.7,
        "finetune_train_learning_rate{}": 0.1,
        "finetune_train_trainable_parameters{head}": 1300,
        "finetune_train_feature_cache_bytes{}": 99,
        "finetune_checkpoint_save_duration_seconds_count{}": 1,
        "finetune_checkpoint_bytes{}": 1000,
        "finetune_checkpoint_last_timestamp_seconds{}": 1000.0,
        "finetune_train_last_event_timestamp_seconds{}": 1000.0,
        "finetune_train_generation{}": 2,
        "finetune_train_first_step_seconds{}": 1.25,
        "finetune_train_last_first_step_timestamp_seconds{}": 1000.0,
    }
    assert {name: seen.get(name) for name in expected} == expected


def test_only_the_chief_tells_what_is_equal_everywhere() -> None:
    seen = samples(told(chief=False))
    assert "finetune_train_loss{train}" not in seen
    assert "finetune_train_metric{accuracy,train}" not in seen
    assert seen["finetune_train_steps_total{head}"] == 5


def test_steps_done_again_are_counted_apart() -> None:
    metrics = told()
    metrics.observe(chunk(7), highest_step=5, now=1000.0)
    seen = samples(metrics)
    assert seen["finetune_train_steps_total{head}"] == 10
    assert seen["finetune_train_repeated_steps_total{head}"] == 3


def test_an_end_is_counted_by_reason_and_time() -> None:
    metrics = told()
    killed = Outcome(ending=Ending.FAILED, code=137, reason="Killed")
    metrics.process_ended(killed, max_rss_bytes=1 << 20, now=1010.0)
    metrics.process_ended(Outcome(ending=Ending.TRAINED), max_rss_bytes=0, now=1020.0)
    seen = samples(metrics)
    assert seen["finetune_train_generations_ended_total{Killed}"] == 1
    assert seen["finetune_train_generations_ended_total{Trained}"] == 1
    assert seen["finetune_train_last_end_timestamp_seconds{}"] == 1020.0
    assert seen["finetune_train_device_memory_peak_bytes{host}"] == 1 << 20


def test_time_is_counted_while_it_passes_and_without_a_process_as_waiting() -> None:
    metrics = told()  # up from 990 on, a process from 1000 on
    assert samples(metrics)["finetune_train_phase_seconds_total{Step}"] == END - 1000.0
    metrics.process_ended(Outcome(ending=Ending.LEFT), max_rss_bytes=0, now=END)
    metrics.observe(PhaseEvent(phase=Phase.START), highest_step=5, now=END + 5)
    seen = samples(metrics)
    assert seen["finetune_train_phase_seconds_total{Wait}"] == 10.0 + 5.0
    assert seen["finetune_train_phase_seconds_total{Step}"] == END - 1000.0


def test_warnings_are_counted_by_reason_from_0_on() -> None:
    metrics = told()
    assert samples(metrics)["finetune_train_warnings_total{NonFiniteLoss}"] == 0
    for reason in ("NonFiniteLoss", "FileIgnored"):
        metrics.observe(WarningEvent(reason=reason, message="so it is"), highest_step=5, now=1000.0)
    seen = samples(metrics)
    assert seen["finetune_train_warnings_total{NonFiniteLoss}"] == 1
    assert seen["finetune_train_warnings_total{FileIgnored}"] == 1
