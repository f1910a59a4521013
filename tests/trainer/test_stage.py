"""One stage in one process: what may change does, what is frozen does not, and a bad rate is survived."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune_api.errors import GaveUp
from finetune_api.events import EVENT, EpochEvent, WarningEvent
from finetune_api.plan import Plan, ResolvedJob, ResolvedStage
from finetune_trainer import backbone, batches, distribution, evaluate, graph, stage_model, trunk, weights
from finetune_trainer.channel import Channel
from finetune_trainer.keeper import Keeper
from finetune_trainer.stage import StageData, StageRun
from finetune_trainer.state import RunState

NAME, SIZE, ALPHA, COUNT, CLASSES, BATCH = "MobileNetV2", 32, 0.35, 40, 4, 8


class Setting:
    """A small backbone, its features at a layer, and what is needed to train above it."""

    def __init__(
        self, first_trainable: int, folder: Path, hidden: Sequence[int] = (), **changes: Any
    ) -> None:
        self.hidden = list(hidden)
        self.skeleton = graph.skeleton(NAME, SIZE, ALPHA)
        values = {
            "name": "finetune",
            "index": 0,
            "epochs": 2,
            "first_trainable": first_trainable,
            "optimizer": "SGD",
            "learning_rate": 0.01,
            "momentum": 0.9,
            "weight_decay": 0.0,
            "clip_norm": None,
            "lr_schedule": "Constant",
            "warmup_epochs": 0,
            "label_smoothing": 0.0,
            "batch_norm": "Frozen",
            "early_stopping": None,
            "stop_when": None,
        }
        self.stage = ResolvedStage(**{**values, **changes})
        self.base = backbone.build(NAME, SIZE, ALPHA, seed=3)
        self.initial = weights.to_arrays(self.base)
        folder.mkdir(exist_ok=True)
        self.events = folder / "events.jsonl"
        self.run = self._run(_channel(self.events))

    def epochs(self) -> list[EpochEvent]:
        lines = self.events.read_text().splitlines()
        return [event for line in lines if isinstance(event := EVENT.validate_json(line), EpochEvent)]

    def _run(self, channel: Channel) -> StageRun:
        gang = distribution.create(["here:1"], 0, 0)
        job = ResolvedJob.model_construct(
            backbone=NAME,
            image_size=SIZE,
            alpha=ALPHA,
            dropout=0.0,
            pooling="Average",
            hidden=self.hidden,
            seed=1,
            stages=[self.stage],
        )
        plan = Plan.model_construct(resolved=job, classes=list("abcd"), views=1)
        return StageRun(
            plan=plan,
            stage=self.stage,
            cut_at=self.stage.first_trainable,
            gang=gang,
            channel=channel,
            keeper=Keeper(channel, None, 1e9, 1),
            data=self._data(),
            generation=1,
            initial=lambda names: {name: self.initial[name] for name in names if name in self.initial},
        )

    def _data(self) -> StageData:
        draw = np.random.default_rng(0)
        labels = np.arange(COUNT) % CLASSES
        pixels = draw.integers(0, 255, (COUNT, SIZE, SIZE, 3)).astype(np.uint8)
        for label in range(CLASSES):
            pixels[labels == label, :, :, label % 3] //= label + 2
        cut = trunk.FeatureCut(graph.find_cut(self.skeleton, self.stage.first_trainable))
        frozen = trunk.FrozenBackbone(lambda: self.base, backbone.preprocess(NAME))
        (features,) = trunk.Trunk(frozen, [cut], SIZE)(pixels)

        def rows(_view: int, examples: Any) -> list[Any]:
            return [part[examples] for part in features]

        def order(epoch: int) -> batches.EpochOrder:
            examples = np.random.default_rng(epoch).permutation(COUNT).reshape(-1, BATCH)
            return batches.EpochOrder(
                examples, np.ones_like(examples, np.float32), labels[examples].astype(np.int32)
            )

        split = evaluate.Split(COUNT, np.arange(COUNT), COUNT, lambda examples: rows(0, examples))
        return StageData(rows, order, slice(0, BATCH), split, labels.astype(np.int64), COUNT // BATCH)


def _channel(events: Path) -> Channel:
    # The other end of the commands stays open: its closing would say that the supervisor is gone.
    commands, _ = os.pipe()
    return Channel(os.open(events, os.O_WRONLY | os.O_CREAT), commands)


def layer_index(name: str) -> int:
    names = [layer.name for layer in graph.skeleton(NAME, SIZE, ALPHA).layers]
    return names.index(name)


def test_frozen_layers_and_statistics_are_bit_identical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the middle of a block, so that some layers of the tail stay frozen beside others that learn.
    setting = Setting(layer_index("block_15_depthwise"), tmp_path, batch_norm="Sync")
    built: list[stage_model.StageModel] = []
    build = stage_model.build
    monkeypatch.setattr(stage_model, "build", lambda *given: built.append(build(*given)) or built[-1])
    state = RunState()
    setting.run.train(state)
    (model,) = built
    after = {name: weight.value.numpy() for name, weight in zip(model.names, model.weights, strict=True)}
    frozen = [name for name in after if name in setting.initial and name not in state.weights]
    assert any("block_15_expand" in name for name in frozen)
    for name in frozen:
        np.testing.assert_array_equal(after[name], setting.initial[name])
    assert any("moving_mean" in name for name in state.weights)
    assert not any("block_14" in name or "block_15_expand" in name for name in state.weights)


@pytest.mark.parametrize(
    ("batch_norm", "learns_statistics"),
    [("Frozen", False), ("Sync", True), ("Local", True)],
)
def test_statistics_move_only_where_batch_normalisation_learns(
    tmp_path: Path, batch_norm: str, learns_statistics: bool
) -> None:
    setting = Setting(layer_index("block_16_expand"), tmp_path, batch_norm=batch_norm)
    state = RunState()
    setting.run.train(state)
    name = "block_16_project_BN/moving_mean"
    moved = name in state.weights and (state.weights[name] != setting.initial[name]).any()
    assert bool(moved) is learns_statistics
    gamma = "block_16_project_BN/gamma"
    assert (gamma in state.weights) is learns_statistics


@pytest.mark.parametrize(
    ("layer", "changes"),
    [
        pytest.param("block_16_expand", {"optimizer": "SGD", "learning_rate": 0.01}, id="SGD above a block"),
        pytest.param(
            "block_16_expand", {"optimizer": "AdamW", "weight_decay": 0.01}, id="AdamW above a block"
        ),
        pytest.param(None, {"optimizer": "Adam", "batch_norm": "Sync"}, id="Adam from the pixels up"),
        pytest.param(
            "block_16_expand", {"optimizer": "RMSprop", "momentum": 0.9}, id="RMSprop with momentum"
        ),
        pytest.param(
            "block_16_expand", {"optimizer": "Lion", "learning_rate": 0.0003}, id="Lion above a block"
        ),
        pytest.param("block_16_expand", {"hidden": [32, 16]}, id="a head with hidden layers"),
    ],
)
def test_every_optimizer_learns(tmp_path: Path, layer: str | None, changes: dict[str, Any]) -> None:
    first = layer_index(layer) if layer else 0
    setting = Setting(first, tmp_path, **{"learning_rate": 0.001, "epochs": 4, **changes})
    setting.run.train(RunState())
    losses = [epoch.loss for epoch in setting.epochs()]
    assert losses[-1] < losses[0]


def test_a_plateau_lowers_the_rate_and_a_resumed_stage_goes_on_with_it(tmp_path: Path) -> None:
    # Nothing gets better at a rate of nothing.
    drop = {"factor": 0.5, "epochs": 1, "metric": "val_loss"}
    changes = {"learning_rate": 1e-12, "lr_schedule": "Plateau", "rate_drop": drop}
    whole, first, rest = (
        Setting(layer_index("block_16_expand"), tmp_path / name, **changes, epochs=epochs)
        for name, epochs in (("whole", 5), ("first", 2), ("rest", 5))
    )
    whole.run.train(RunState())
    state = RunState()
    first.run.train(state)
    rest.run.train(RunState.from_checkpoint(*state.to_checkpoint()))
    rates = [epoch.learning_rate for epoch in whole.epochs()]
    assert rates[0] == pytest.approx(1e-12)
    assert min(rates) < max(rates)
    assert [epoch.learning_rate for epoch in [*first.epochs(), *rest.epochs()]] == rates


def test_an_endless_rate_gives_up_with_its_reason(tmp_path: Path) -> None:
    setting = Setting(layer_index("block_16_expand"), tmp_path, learning_rate=1e38, batch_norm="Sync")
    with pytest.raises(GaveUp, match="not finite") as raised:
        setting.run.train(RunState())
    assert raised.value.reason == "NonFiniteLoss"


def test_a_rate_that_is_too_high_is_lowered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(layer_index("block_16_expand"), tmp_path, batch_norm="Sync")
    chunk = StageRun._chunk
    broken: list[int] = []

    def once(self: StageRun, *given: Any) -> Any:
        result = chunk(self, *given)
        if not broken:
            broken.append(1)
            return type(result)(**{**result.__dict__, "finite": False})
        return result

    monkeypatch.setattr(StageRun, "_chunk", once)
    state = RunState()
    assert setting.run.train(state) == "Completed"
    assert state.rate_scale == pytest.approx(0.1)
    said = map(EVENT.validate_json, setting.events.read_text().splitlines())
    assert [one.reason for one in said if isinstance(one, WarningEvent)] == ["NonFiniteLoss"]
    assert state.global_step == 2 * COUNT // BATCH
    assert setting.epochs()[0].learning_rate == pytest.approx(0.001)
