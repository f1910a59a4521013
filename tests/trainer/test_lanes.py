"""Who sees which example when: exactly the same for any number of workers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_trainer.lanes import Lanes

jobs = st.tuples(st.sampled_from([1, 2, 6, 12, 48]), st.integers(0, 100), st.integers(0, 2**31)).map(
    lambda job: (job[0], job[0] + job[1], job[2])
)


def ids(count: int) -> list[str]:
    return [f"class{i % 3}/{i}.jpg" for i in range(count)]


@settings(max_examples=50, deadline=None)
@given(job=jobs, epoch=st.integers(0, 5))
def test_every_example_counts_once_an_epoch(job, epoch):
    batch, count, seed = job
    index, weight = Lanes(ids(count), batch, seed).epoch(epoch)
    assert index.shape == weight.shape == (-(-count // batch), batch)
    assert sorted(index[weight == 1]) == list(range(count))
    assert set(np.unique(weight)) <= {0.0, 1.0}


@settings(max_examples=50, deadline=None)
@given(job=jobs, epochs=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_an_example_never_leaves_its_lane(job, epochs):
    batch, count, seed = job
    lanes = Lanes(ids(count), batch, seed)
    one, other = (lanes.epoch(epoch)[0] for epoch in epochs)
    for lane in range(batch):
        assert set(one[:, lane]) == set(other[:, lane]) == set(lanes.table[:, lane]) - {-1}


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 6, 12])
def test_any_number_of_workers_sees_the_same_batches(workers):
    lanes = Lanes(ids(100), 12, seed=7)
    parts = [lanes.epoch(3)[0][:, lanes.owned(worker, workers)] for worker in range(workers)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), lanes.epoch(3)[0])


@pytest.mark.parametrize("workers", [1, 2, 3, 6])
def test_a_worker_needs_its_own_examples_only(workers):
    lanes = Lanes(ids(100), 12, seed=7)
    owned = [lanes.examples(worker, workers) for worker in range(workers)]
    assert sorted(np.concatenate(owned)) == list(range(100))
    for worker, own in enumerate(owned):
        assert list(own) == sorted(own)
        used = {
            int(i) for epoch in range(4) for i in lanes.epoch(epoch)[0][:, lanes.owned(worker, workers)].flat
        }
        assert used == set(own.tolist())


def test_an_empty_place_holds_an_example_of_its_lane():
    lanes = Lanes(ids(50), 48, seed=1)
    index, weight = lanes.epoch(0)
    assert int((weight == 0).sum()) == 46
    for step, lane in np.argwhere(weight == 0):
        assert index[step, lane] in lanes.table[:, lane]


def test_epochs_and_seeds_give_other_orders():
    lanes = Lanes(ids(480), 48, seed=1)
    assert (lanes.epoch(0)[0] != lanes.epoch(1)[0]).any()
    assert (lanes.epoch(0)[0] == lanes.epoch(0)[0]).all()
    assert (lanes.table != Lanes(ids(480), 48, seed=2).table).any()


def test_an_example_comes_early_as_often_as_late():
    lanes = Lanes(ids(40), 4, seed=3)
    early = np.zeros(40)
    for epoch in range(400):
        early[lanes.epoch(epoch)[0][:5].ravel()] += 1
    # Half of the ten steps: mean 200, standard deviation 10.
    assert early.min() > 150
    assert early.max() < 250


def test_classes_are_spread_over_the_lanes():
    names = [f"{'cats' if i < 240 else 'dogs'}/{i}.jpg" for i in range(480)]
    cats = (Lanes(names, 48, seed=1).table < 240).sum(axis=0)
    assert cats.min() >= 1
    assert cats.max() <= 9


def test_the_order_is_pinned():
    """A resumed run of another version must see the same batches: changing this is changing every run."""
    index, weight = Lanes(ids(7), 3, seed=42).epoch(1)
    assert index.tolist() == [[0, 4, 1], [6, 4, 2], [5, 3, 1]]
    assert weight.sum() == 7


def test_fewer_examples_than_lanes_are_refused():
    with pytest.raises(ValueError, match="2 examples cannot fill 3 lanes"):
        Lanes(ids(2), 3, seed=0)


def test_workers_must_divide_the_lanes():
    with pytest.raises(ValueError, match="5 workers do not divide 12 lanes"):
        Lanes(ids(20), 12, seed=0).owned(0, 5)
