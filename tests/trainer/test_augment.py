"""Augmentation: the same for the same (seed, view, example), different otherwise, and no further than asked."""

import numpy as np
import pytest
import tensorflow as tf

import odd_images
from finetune_api import presets
from finetune_api.v1alpha1 import Augmentation
from finetune_trainer import augment

SIZE = 40
IMAGE = tf.constant(np.asarray(odd_images.picture(3, SIZE, SIZE)))


PRESETS = {name: presets.transforms(Augmentation(preset=name)) for name in ("Light", "Strong")}


def shower(amounts):
    """(image, seed, view, example) -> what training sees."""
    signature = [tf.TensorSpec([SIZE, SIZE, 3], tf.uint8), tf.TensorSpec([2], tf.int64)]
    traced = tf.function(
        lambda image, seed: augment.transformed(image, seed, amounts), signature, autograph=False
    )
    return lambda image, seed, view, example: traced(
        image, augment.seeds_for(seed, view, np.array([example]))[0]
    ).numpy()


@pytest.fixture(scope="module")
def light():
    return shower(PRESETS["Light"])


@pytest.fixture(scope="module", params=PRESETS)
def preset(request):
    return PRESETS[request.param]


@pytest.fixture(scope="module")
def show(preset):
    return shower(preset)


def test_the_same_view_is_the_same_picture(show):
    np.testing.assert_array_equal(show(IMAGE, 1, 2, 3), show(IMAGE, 1, 2, 3))


@pytest.mark.parametrize("other", [(9, 2, 3), (1, 9, 3), (1, 2, 9)], ids=["seed", "view", "example"])
def test_another_seed_view_or_example_is_another_picture(show, other):
    assert (show(IMAGE, 1, 2, 3) != show(IMAGE, *other)).any()


def test_eager_and_traced_agree(show, preset):
    seed = augment.seeds_for(1, 2, np.array([3]))[0]
    eager = augment.transformed(IMAGE, tf.constant(seed), preset).numpy()
    # A sum taken in another order may round the other way.
    assert np.abs(eager.astype(int) - show(IMAGE, 1, 2, 3)).max() <= 1


def test_a_list_replaces_the_preset():
    listed = Augmentation.model_validate(
        {"transforms": [{"name": "Rotate", "amount": 0.5}, {"name": "Flip"}]}
    )
    assert presets.transforms(listed) == {"Rotate": 0.5, "Flip": 0.1}


@pytest.mark.parametrize(
    "name", ["Flip", "Shift", "Zoom", "Rotate", "Brightness", "Contrast", "Saturation", "Erase"]
)
def test_each_transform_alone_changes_something_and_nothing_by_an_amount_of_nothing(name):
    changed = [(shower({name: 0.3})(IMAGE, 0, view, 0) != IMAGE.numpy()).any() for view in range(8)]
    assert any(changed)
    if name != "Flip":
        np.testing.assert_array_equal(shower({name: 0.0})(IMAGE, 0, 0, 0), IMAGE)


def test_both_ways_of_moving_agree():
    zoom, shift = tf.constant(1.07), tf.constant([0.05, -0.03])
    near = augment._resampled(IMAGE, zoom, shift).numpy()
    far = augment._projected(IMAGE, zoom, shift, tf.constant(0.0)).numpy()
    inner = slice(4, -4)
    assert np.abs(near - far)[inner, inner].max() < 2


def test_a_dot_is_turned_about_the_middle():
    dot = np.zeros((SIZE, SIZE, 3), np.float32)
    dot[SIZE // 2 - 1 : SIZE // 2 + 1, -7:-5] = 200
    turned = augment._projected(
        tf.constant(dot), tf.constant(1.0), tf.zeros(2), tf.constant(np.pi / 2)
    ).numpy()
    # Against the clock: what was on the right is above.
    assert turned[5:7, SIZE // 2 - 1 : SIZE // 2 + 1].min() > 190
    assert turned.sum() == pytest.approx(dot.sum(), rel=1e-3)


def test_a_square_of_the_mean_colour_covers_no_more_than_asked():
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[::2] = 200
    show = shower({"Erase": 0.4})
    sides = []
    for view in range(40):
        covered = (show(tf.constant(image), 0, view, 0) == 100).all(axis=2)
        rows, columns = covered.any(axis=1).sum(), covered.any(axis=0).sum()
        assert rows == columns
        assert covered.sum() == rows * columns
        sides.append(rows)
    assert 0.3 * SIZE < max(sides) <= 0.4 * SIZE


def test_saturation_leaves_grey_grey():
    show = shower({"Saturation": 0.5})
    grey = tf.constant(np.broadcast_to(np.arange(SIZE, dtype=np.uint8)[:, None, None] * 6, (SIZE, SIZE, 3)))
    assert all((show(grey, 0, view, 0) == grey.numpy()).all() for view in range(5))
    red = tf.constant(np.full((SIZE, SIZE, 3), (200, 100, 100), np.uint8))
    spans = [int(np.ptp(show(red, 0, view, 0)[0, 0])) for view in range(40)]
    assert 50 <= min(spans) < 70
    assert 130 < max(spans) <= 150


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
