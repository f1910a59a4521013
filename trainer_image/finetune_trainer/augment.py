"""Light augmentation, as a function of (seed, view, example) and nothing else.

So a view that was cached, one computed again after a restart, and another worker's are the same.
"""

import hashlib

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

MARGIN = (
    0.16  # what zooming out by ZOOM and moving by SHIFT can reach beyond the edge, as a share of the side
)
SHIFT = 0.1
ZOOM = 0.1
BRIGHTNESS = 0.1
CONTRAST = 0.1


def seeds_for(seed: int, view: int, examples: NDArray[np.int64]) -> NDArray[np.int64]:
    """The seeds of `view` of each example, [n] -> [n, 2]."""
    digest = hashlib.sha256(f"augment/{seed}/{view}".encode()).digest()
    start = int.from_bytes(digest[:8], "big") >> 1
    return np.stack([np.full_like(examples, start), examples], axis=1)


def light(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Flip, move and zoom by up to a tenth, change brightness and contrast by up to a tenth.

    `image` uint8 [S, S, 3], S known; `seed` int64 [2]; returns uint8 [S, S, 3]. What comes in from beyond the
    edge is the image's own reflection.
    """
    draw = tf.random.stateless_uniform([6], seed)
    moved = _move(image, flip=draw[0] < 0.5, zoom=_spread(draw[1], ZOOM), shift=(draw[2:4] * 2 - 1) * SHIFT)
    mean = tf.reduce_mean(moved)
    contrasted = (moved - mean) * (1.0 + _spread(draw[4], CONTRAST)) + mean
    return to_uint8(contrasted + 255.0 * _spread(draw[5], BRIGHTNESS))


def to_uint8(values: tf.Tensor) -> tf.Tensor:
    """Round to the nearest of 0..255."""
    return tf.cast(tf.clip_by_value(tf.round(values), 0.0, 255.0), tf.uint8)


def _spread(draw: tf.Tensor, reach: float) -> tf.Tensor:
    """0..1 -> -reach..reach."""
    return (draw * 2.0 - 1.0) * reach


def _move(image: tf.Tensor, flip: tf.Tensor, zoom: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """One resampling for all three: uint8 [S, S, 3] -> float32 [S, S, 3]."""
    side = int(image.shape[0])
    margin = min(side - 1, int(np.ceil(side * MARGIN)))
    image = tf.cond(flip, lambda: tf.reverse(image, [1]), lambda: image)
    padded = tf.pad(image, [[margin, margin], [margin, margin], [0, 0]], mode="REFLECT")
    scale = 1.0 + zoom
    # The middle of the padded image lands in the middle of the result, moved by `shift`.
    translation = side / 2 - (side / 2 + margin) * scale + shift * side
    moved = tf.raw_ops.ScaleAndTranslate(
        images=padded[tf.newaxis],
        size=[side, side],
        scale=tf.stack([scale, scale]),
        translation=translation,
        kernel_type="triangle",
        antialias=False,
    )
    return tf.reshape(moved, [side, side, 3])
