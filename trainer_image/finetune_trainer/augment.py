"""Augmentation, as a function of (seed, view, example) and nothing else.

So a view that was cached, one computed again after a restart, and another worker's are the same.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from finetune_api.plan import TransformName

Amounts = Mapping[TransformName, float]
"""The changes that are made and how far each goes at most; their order means nothing."""

NEAR: Amounts = {"Zoom": 0.1, "Shift": 0.1}
"""As far as resampling along both sides goes, the quicker way; MARGIN belongs to it."""
MARGIN = 0.16
"""What zooming out and moving by NEAR can reach beyond the edge, as a share of the side."""
SMALLEST_ZOOM = 0.1
LUMINANCE = (0.299, 0.587, 0.114)
"""Of red, green and blue (ITU-R BT.601)."""
_DRAWS = 12


def seeds_for(seed: int, view: int, examples: NDArray[np.int64]) -> NDArray[np.int64]:
    """The seeds of `view` of each example, [n] -> [n, 2]."""
    digest = hashlib.sha256(f"augment/{seed}/{view}".encode()).digest()
    start = int.from_bytes(digest[:8], "big") >> 1
    return np.stack([np.full_like(examples, start), examples], axis=1)


def transformed(image: tf.Tensor, seed: tf.Tensor, amounts: Amounts) -> tf.Tensor:
    """Turned, moved and recoloured by random amounts up to those given, then partly covered.

    `image` uint8 [S, S, 3], S known; `seed` int64 [2]; returns uint8 [S, S, 3]. What comes in from beyond the
    edge is the image's own reflection; what covers it has its mean colour.
    """
    draw = tf.random.stateless_uniform([_DRAWS], seed)
    values = _moved(image, draw, amounts)
    if "Contrast" in amounts:
        mean = tf.reduce_mean(values)
        values = (values - mean) * (1.0 + _spread(draw[4], amounts["Contrast"])) + mean
    if "Brightness" in amounts:
        values = values + 255.0 * _spread(draw[5], amounts["Brightness"])
    if "Saturation" in amounts:
        grey = tf.tensordot(values, tf.constant(LUMINANCE), 1)[..., tf.newaxis]
        values = grey + (values - grey) * (1.0 + _spread(draw[7], amounts["Saturation"]))
    if "Erase" in amounts:
        values = _erased(values, draw[8:11], amounts["Erase"])
    return to_uint8(values)


def to_uint8(values: tf.Tensor) -> tf.Tensor:
    """Round to the nearest of 0..255."""
    return tf.cast(tf.clip_by_value(tf.round(values), 0.0, 255.0), tf.uint8)


def _spread(draw: tf.Tensor, reach: float) -> tf.Tensor:
    """0..1 -> -reach..reach."""
    return (draw * 2.0 - 1.0) * reach


def _moved(image: tf.Tensor, draw: tf.Tensor, amounts: Amounts) -> tf.Tensor:
    """One resampling for flip, zoom, shift and rotation: uint8 [S, S, 3] -> float32 [S, S, 3]."""
    if "Flip" in amounts:
        image = tf.cond(draw[0] < 0.5, lambda: tf.reverse(image, [1]), lambda: image)
    zoom = 1.0 + _spread(draw[1], amounts.get("Zoom", 0.0))
    shift = _spread(draw[2:4], amounts.get("Shift", 0.0))
    if "Rotate" in amounts or any(amounts.get(name, 0.0) > near for name, near in NEAR.items()):
        return _projected(image, zoom, shift, 2.0 * np.pi * _spread(draw[6], amounts.get("Rotate", 0.0)))
    if "Zoom" in amounts or "Shift" in amounts:
        return _resampled(image, zoom, shift)
    return tf.cast(image, tf.float32)


def _resampled(image: tf.Tensor, zoom: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Zoomed and moved (down, right), by no more than NEAR."""
    side = int(image.shape[0])
    margin = min(side - 1, int(np.ceil(side * MARGIN)))
    padded = tf.pad(image, [[margin, margin], [margin, margin], [0, 0]], mode="REFLECT")
    # The middle of the padded image lands in the middle of the result, moved by `shift`.
    translation = side / 2 - (side / 2 + margin) * zoom + shift * side
    moved = tf.raw_ops.ScaleAndTranslate(
        images=padded[tf.newaxis],
        size=[side, side],
        scale=tf.stack([zoom, zoom]),
        translation=translation,
        kernel_type="triangle",
        antialias=False,
    )
    return tf.reshape(moved, [side, side, 3])


def _projected(image: tf.Tensor, zoom: tf.Tensor, shift: tf.Tensor, angle: tf.Tensor) -> tf.Tensor:
    """Zoomed, moved (down, right) and turned about its middle, as far as one likes; `angle` in radians, against
    the clock."""
    side = int(image.shape[0])
    zoom = tf.maximum(zoom, SMALLEST_ZOOM)
    cosine, sine = tf.cos(angle) / zoom, tf.sin(angle) / zoom
    middle = (side - 1) / 2
    # Where in the image the result's pixel (x, y) comes from: the changes undone, last first.
    x, y = middle + shift[1] * side, middle + shift[0] * side
    rows = [cosine, -sine, middle - cosine * x + sine * y, sine, cosine, middle - sine * x - cosine * y]
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(image, tf.float32)[tf.newaxis],
        transforms=tf.stack([*rows, tf.zeros_like(zoom), tf.zeros_like(zoom)])[tf.newaxis],
        output_shape=[side, side],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )
    return tf.reshape(moved, [side, side, 3])


def _erased(values: tf.Tensor, draw: tf.Tensor, reach: float) -> tf.Tensor:
    """A square of up to `reach` of the side in the image's mean colour (Zhong et al. 2017, arXiv 1708.04896)."""
    side = int(values.shape[0])
    size = tf.round(draw[0] * reach * side)
    first = tf.floor(draw[1:3] * (side - size + 1.0))
    place = tf.range(side, dtype=tf.float32)
    rows, columns = ((place >= start) & (place < start + size) for start in (first[0], first[1]))
    covered = (rows[:, tf.newaxis] & columns[tf.newaxis, :])[..., tf.newaxis]
    return tf.where(covered, tf.reduce_mean(values, [0, 1]), values)
