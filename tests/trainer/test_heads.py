"""Heads with and without hidden layers: what their weights are called, and what they start from."""

import keras
import numpy as np
import pytest

import jobs
from finetune_api import schedule_view
from finetune_trainer import heads

WIDTH, CLASSES = 6, 3


@pytest.mark.parametrize("hidden", [[], [8], [8, 5]])
def test_names_and_first_values_are_those_of_the_layers(hidden: list[int]) -> None:
    model = heads.build(WIDTH, hidden, CLASSES, dropout=0.5)
    first = heads.initial(WIDTH, hidden, CLASSES, seed=1)
    assert list(first) == heads.names(hidden)
    assert [array.shape for array in first.values()] == [tuple(weight.shape) for weight in model.weights]
    assert sum(array.size for array in first.values()) == model.count_params()
    assert schedule_view.head_parameters(WIDTH, hidden, CLASSES) == model.count_params()


def test_it_is_what_a_reader_of_the_job_expects() -> None:
    ours = heads.build(WIDTH, [8], CLASSES, dropout=0.0)
    theirs = keras.Sequential(
        [keras.Input((WIDTH,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(CLASSES)]
    )
    values = list(heads.initial(WIDTH, [8], CLASSES, seed=2).values())
    ours.set_weights(values)
    theirs.set_weights(values)
    rows = np.random.default_rng(0).normal(size=(4, WIDTH)).astype(np.float32)
    np.testing.assert_allclose(ours(rows), theirs(rows), atol=1e-6)


def test_the_first_values_are_spread_as_glorot_spreads_them() -> None:
    kernel = heads.initial(200, [], 40, seed=3)["head/kernel"]
    limit = np.sqrt(6 / 240)
    assert np.abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)


def test_a_head_with_hidden_layers_is_trained_unless_it_says_otherwise() -> None:
    job = jobs.resolved({"model.head": {"hidden": [256], "dropout": 0.5}, "stages": [jobs.HEAD]})
    assert (job.hidden, job.dropout, job.stages[0].optimizer) == ([256], 0.5, "Adam")
