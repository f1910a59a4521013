import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_api import dataset
from finetune_api.dataset import Example


def examples(counts: list[int]) -> list[Example]:
    return [
        Example(f"{label}/{n}.jpg", label, size=100 + n)
        for label, count in enumerate(counts)
        for n in range(count)
    ]


COUNTS = st.lists(st.integers(1, 30), min_size=1, max_size=5)
FRACTIONS = st.floats(0.01, 0.99)


@given(COUNTS, FRACTIONS, st.integers(0, 2**31 - 1))
def test_a_split_parts_each_class_and_loses_nothing(counts: list[int], fraction: float, seed: int) -> None:
    every = examples(counts)
    train, validation = dataset.split(every, len(counts), fraction, seed)
    assert sorted(train + validation, key=lambda e: e.id) == sorted(every, key=lambda e: e.id)
    kept, aside = Counter(e.label for e in train), Counter(e.label for e in validation)
    for label, count in enumerate(counts):
        assert kept[label] >= 1
        assert aside[label] >= (1 if count > 1 else 0)
        assert abs(aside[label] - fraction * count) <= 1


@given(COUNTS, st.randoms(use_true_random=False))
def test_the_order_of_listing_does_not_matter(counts: list[int], order: random.Random) -> None:
    every = examples(counts)
    shuffled = order.sample(every, len(every))
    assert dataset.split(shuffled, len(counts), 0.2, 7) == dataset.split(every, len(counts), 0.2, 7)
    assert dataset.digest(shuffled) == dataset.digest(every)


def test_another_seed_is_another_split() -> None:
    every = examples([50, 50])
    assert dataset.split(every, 2, 0.2, 1) != dataset.split(every, 2, 0.2, 2)


def test_the_split_is_what_it_always_was() -> None:
    _, validation = dataset.split(examples([10, 10]), 2, 0.2, 42)
    assert [e.id for e in validation] == ["0/5.jpg", "0/6.jpg", "1/4.jpg", "1/9.jpg"]


def test_a_new_image_moves_no_other_within_the_training_images() -> None:
    before, _ = dataset.split(examples([100]), 1, 0.1, 3)
    after, _ = dataset.split([*examples([100]), Example("0/new.jpg", 0, 1)], 1, 0.1, 3)
    assert len({e.id for e in before} - {e.id for e in after}) <= 1


@pytest.mark.parametrize(
    "changed",
    [
        Example("a/2.jpg", 0, 5, "x"),
        Example("a/1.jpg", 1, 5, "x"),
        Example("a/1.jpg", 0, 6, "x"),
        Example("a/1.jpg", 0, 5, "y"),
        Example("a/1.jpg", 0, 5),
    ],
)
def test_the_digest_sees_every_change(changed: Example) -> None:
    assert dataset.digest([changed]) != dataset.digest([Example("a/1.jpg", 0, 5, "x")])


def test_parts_of_the_digest_do_not_run_together() -> None:
    one = [Example("a", 1, 23)]
    other = [Example("a1", 2, 3)]
    assert dataset.digest(one) != dataset.digest(other)
