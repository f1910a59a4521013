"""Light augmentation: the same for the same (seed, view, example), different otherwise, and light."""

import numpy as np
import pytest
import tensorflow as tf

import odd_images
from finetune_trainer import augment

SIZE = 40
IMAGE = tf.constant(np.asarray(odd_images.picture(3, SIZE, SIZE)))


@pytest.fixture(scope="module")
def light():
    signature = [tf.TensorSpec([SIZE, SIZE, 3], tf.uint8), tf.TensorSpec([2], tf.int64)]
    traced = tf.function(augment.light, signature, autograph=False)
    return lambda image, seed, view, example: traced(
        image, augment.seeds_for(seed, view, np.array([example]))[0]
    ).numpy()


def test_the_same_view_is_the_same_picture(light):
    np.testing.assert_array_equal(light(IMAGE, 1, 2, 3), light(IMAGE, 1, 2, 3))


@pytest.mark.parametrize("other", [(9, 2, 3), (1, 9, 3), (1, 2, 9)], ids=["seed", "view", "example"])
def test_another_seed_view_or_example_is_another_picture(light, other):
    assert (light(IMAGE, 1, 2, 3) != light(IMAGE, *other)).any()


def test_eager_and_traced_agree(light):
    seed = augment.seeds_for(1, 2, np.array([3]))[0]
    np.testing.assert_array_equal(augment.light(IMAGE, tf.constant(seed)).numpy(), light(IMAGE, 1, 2, 3))


def test_about_half_of_the_views_are_mirrored(light):
    dark_left = np.full((SIZE, SIZE, 3), 80, np.uint8)
    dark_left[:, SIZE // 2 :] = 170
    mirrored = 0
    for view in range(100):
        shown = light(tf.constant(dark_left), 0, view, 0).astype(float)
        mirrored += shown[:, :10].mean() > shown[:, -10:].mean()
    assert 30 <= mirrored <= 70


def test_a_dot_moves_by_a_tenth_at_most(light):
    dot = np.zeros((SIZE, SIZE, 3), np.uint8)
    middle = slice(SIZE // 2 - 2, SIZE // 2 + 2)
    dot[middle, middle] = 200
    places = []
    for view in range(60):
        shown = light(tf.constant(dot), 0, view, 0).astype(float).mean(axis=2)
        shown -= np.median(shown)
        rows, columns = np.indices(shown.shape)
        places.append([(shown * rows).sum() / shown.sum(), (shown * columns).sum() / shown.sum()])
    moved = np.array(places) - (SIZE - 1) / 2
    assert np.abs(moved).max() <= 0.1 * SIZE + 0.6
    assert np.abs(moved).max() > 0.05 * SIZE
    assert np.abs(moved.mean(axis=0)).max() < 0.03 * SIZE


def test_brightness_changes_by_a_tenth_at_most(light):
    grey = tf.constant(np.full((SIZE, SIZE, 3), 128, np.uint8))
    means = [light(grey, 0, view, 0).mean() for view in range(60)]
    assert max(means) - 128 <= 26
    assert 128 - min(means) <= 26
    assert max(means) - min(means) > 20


def test_nothing_black_comes_in_from_the_edge(light):
    white = tf.constant(np.full((SIZE, SIZE, 3), 255, np.uint8))
    assert min(light(white, 0, view, 0).min() for view in range(30)) >= 255 - 26
