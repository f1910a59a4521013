"""Pure rules of training: stopping, learning rates, metrics, the state of a run."""

from typing import Any

import numpy as np
import pytest

import jobs
from finetune_api.events import EpochEvent
from finetune_api.plan import EarlyStopping, RateDrop, ResolvedStage, StopWhen
from finetune_trainer import evaluate, graph, metrics, optimizers, plan_of, stopping
from finetune_trainer.state import Best, RunState


def stage(**changes: Any) -> ResolvedStage:
    values = {
        "name": "finetune",
        "index": 1,
        "epochs": 10,
        "first_trainable": 100,
        "optimizer": "SGD",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "clip_norm": None,
        "lr_schedule": "Cosine",
        "warmup_epochs": 2,
        "label_smoothing": 0.0,
        "batch_norm": "Frozen",
        "early_stopping": None,
        "stop_when": None,
    }
    return ResolvedStage(**{**values, **changes})


def row(epoch: int, val_accuracy: float, val_loss: float = 1.0) -> EpochEvent:
    return EpochEvent(
        stage=1,
        stage_name="finetune",
        epoch=epoch,
        global_step=epoch,
        loss=1.0,
        accuracy=0.5,
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        learning_rate=0.1,
        seconds=1.0,
    )


def ends(rules: ResolvedStage, accuracies: list[float]) -> list[str | None]:
    state = RunState()
    reasons = []
    for epoch, accuracy in enumerate(accuracies):
        state.record(row(epoch, accuracy))
        reasons.append(stopping.after_epoch(rules, state))
    return reasons


@pytest.mark.parametrize(
    ("accuracies", "patience", "min_delta", "expected"),
    [
        pytest.param([0.5, 0.6, 0.7], 1, 0.0, [None] * 3, id="goes on while it gets better"),
        pytest.param([0.5, 0.5, 0.5], 2, 0.0, [None, None, "EarlyStopped"], id="stops after its patience"),
        pytest.param([0.5, 0.4, 0.6, 0.5], 2, 0.0, [None] * 4, id="an improvement starts the count again"),
        pytest.param([0.50, 0.505], 1, 0.01, [None, "EarlyStopped"], id="a gain within minDelta is none"),
    ],
)
def test_early_stopping(
    accuracies: list[float], patience: int, min_delta: float, expected: list[str | None]
) -> None:
    rule = EarlyStopping(metric="val_accuracy", patience=patience, min_delta=min_delta)
    assert ends(stage(early_stopping=rule), accuracies) == expected


def test_stop_when_a_bound_is_passed() -> None:
    rules = stage(stop_when=StopWhen(metric="val_accuracy", above=0.9))
    assert ends(rules, [0.8, 0.9, 0.91]) == [None, None, "StopWhen"]


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        pytest.param({"val_accuracy": 0.9, "val_loss": 9.0}, True, id="accuracy goes first"),
        pytest.param({"val_accuracy": 0.8, "val_loss": 0.4}, True, id="then the lower loss"),
        pytest.param({"val_accuracy": 0.8, "val_loss": 0.5}, False, id="equal is not better"),
        pytest.param(
            {"val_accuracy": 0.7, "val_loss": 0.1}, False, id="a lower loss does not make up for accuracy"
        ),
    ],
)
def test_the_best_epoch(figures: dict[str, float], expected: bool) -> None:
    assert stopping.is_better(figures, Best(0, "head", 0, {"val_accuracy": 0.8, "val_loss": 0.5})) is expected


def test_warm_up_then_cosine_to_nearly_nothing() -> None:
    rates = optimizers.learning_rates(stage(), steps_per_epoch=5, first_step=0, steps=50)
    assert rates[0] == pytest.approx(0.01)
    assert rates[9] == rates.max() == pytest.approx(0.1)
    assert (np.diff(rates[10:]) < 0).all()
    assert 0 < rates[-1] < 0.001


def test_a_rate_depends_on_nothing_but_its_step() -> None:
    whole = optimizers.learning_rates(stage(), 5, 0, 50)
    parts = [optimizers.learning_rates(stage(), 5, first, 7)[:7] for first in range(0, 43, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole[:49])


def test_constant_rate_without_warm_up() -> None:
    assert set(optimizers.learning_rates(stage(lr_schedule="Constant", warmup_epochs=0), 5, 0, 50)) == {
        np.float32(0.1)
    }


def test_a_step_schedule_falls_every_so_many_epochs() -> None:
    drop = RateDrop(factor=0.5, epochs=4, metric=None)
    rules = stage(lr_schedule="Step", rate_drop=drop, warmup_epochs=1)
    rates = optimizers.learning_rates(rules, 2, 0, 20)
    np.testing.assert_allclose(rates, [0.05, 0.1] + [0.1] * 6 + [0.05] * 8 + [0.025] * 4)


@pytest.mark.parametrize(
    ("losses", "patience", "expected"),
    [
        pytest.param([3, 2, 1], 1, [0, 0, 0], id="no fall while it gets better"),
        pytest.param([1, 1, 1, 1], 2, [0, 0, 1, 1], id="a fall after its patience, which then begins again"),
        pytest.param([1, 2, 0.5, 2, 2, 2], 2, [0, 0, 0, 0, 1, 1], id="an improvement starts the count again"),
        pytest.param([1, 2, 2], 1, [0, 1, 2], id="one fall after the other"),
    ],
)
def test_a_plateau_lowers_the_rate(losses: list[float], patience: int, expected: list[int]) -> None:
    rules = stage(lr_schedule="Plateau", rate_drop=RateDrop(factor=0.1, epochs=patience, metric="val_loss"))
    state, factors = RunState(), []
    for epoch, loss in enumerate(losses):
        state.record(row(epoch, 0.5, loss))
        factors.append(optimizers.plateau_factor(rules, state.history))
    assert factors == pytest.approx([0.1**falls for falls in expected])
    assert optimizers.plateau_factor(rules.model_copy(update={"index": 2}), state.history) == 1.0


def test_a_plateau_of_accuracy_is_one_that_does_not_rise() -> None:
    drop = RateDrop(factor=0.1, epochs=1, metric="val_accuracy")
    state = RunState()
    for epoch, accuracy in enumerate([0.5, 0.6, 0.6]):
        state.record(row(epoch, accuracy))
    rules = stage(lr_schedule="Plateau", rate_drop=drop)
    assert optimizers.plateau_factor(rules, state.history) == pytest.approx(0.1)


def test_metrics_of_known_predictions() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)
    figures = metrics.evaluation(probabilities, np.array([0, 1, 1]))
    assert figures["val_accuracy"] == pytest.approx(2 / 3)
    assert figures["val_loss"] == pytest.approx(-np.log([0.9, 0.8, 0.4]).mean(), abs=1e-6)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 5, 12, 13])
def test_each_validation_image_is_predicted_by_exactly_one_worker(workers: int, count: int) -> None:
    lanes = 12 // workers
    shares = [evaluate.own_positions(count, slice(w * lanes, (w + 1) * lanes), 12) for w in range(workers)]
    assert sorted(np.concatenate(shares)) == list(range(count))
    assert max(map(len, shares)) <= -(-count // 12) * lanes


def test_a_state_survives_its_checkpoint() -> None:
    state = RunState(stage=1, epoch=2, step=3, global_step=40, waited=1, stage_best=0.5)
    state.best = Best(0, "head", 1, {"val_accuracy": 0.5})
    state.record(row(0, 0.5))
    state.weights = {"head/kernel": np.ones((2, 3), np.float32)}
    state.predictions = {"judged": np.array([True, False])}
    again = RunState.from_checkpoint(*state.to_checkpoint())
    assert again.to_checkpoint()[1] == state.to_checkpoint()[1]
    np.testing.assert_array_equal(again.weights["head/kernel"], state.weights["head/kernel"])
    np.testing.assert_array_equal(again.predictions["judged"], state.predictions["judged"])


@pytest.mark.parametrize(
    ("unfrozen", "lowest"),
    [
        pytest.param({"blocks": 0}, None, id="a head alone"),
        pytest.param({"blocks": 2}, "block_15_expand", id="two blocks"),
        pytest.param(
            {"fromLayer": "block_16_expand_BN"}, "block_16_depthwise", id="frozen BatchNormalization"
        ),
        pytest.param({"all": True}, "Conv1", id="everything but the input, which has no weights"),
    ],
)
def test_the_lowest_layer_that_a_stage_trains(unfrozen: dict[str, Any], lowest: str | None) -> None:
    resolved = jobs.resolved({"stages": [{"name": "a", "unfreeze": unfrozen}]})
    skeleton = graph.skeleton("MobileNetV2", 32)
    layers = plan_of.trained_layers(skeleton, resolved.stages[0])
    assert (layers[0].name if layers else None) == lowest
