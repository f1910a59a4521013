"""EfficientNet-Lite in Keras: EfficientNet for edge devices, with ReLU6 for swish and no squeeze-and-excite.

Layer names follow Keras' EfficientNet (`stem_conv`, `block2a_expand_conv`, `top_activation`), so that blocks
are found by the same rule. Pixels 0..255 go in; scaling is part of the graph.
"""

import math
import string
from dataclasses import dataclass
from typing import Any

from keras import Input, Model, layers


@dataclass(frozen=True)
class Variant:
    """How one member of the family is scaled: multipliers, and dropout before its ImageNet classifier."""

    width: float
    depth: float
    dropout: float


VARIANTS = {
    "EfficientNetLite0": Variant(1.0, 1.0, 0.2),
    "EfficientNetLite1": Variant(1.0, 1.1, 0.2),
    "EfficientNetLite2": Variant(1.1, 1.2, 0.3),
    "EfficientNetLite3": Variant(1.2, 1.4, 0.3),
    "EfficientNetLite4": Variant(1.4, 1.8, 0.3),
}


@dataclass(frozen=True)
class _Group:
    """A run of blocks of one width, as published for the smallest variant."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    filters: int


_GROUPS = (
    _Group(1, 3, 1, 1, 16),
    _Group(2, 3, 2, 6, 24),
    _Group(2, 5, 2, 6, 40),
    _Group(3, 3, 2, 6, 80),
    _Group(3, 5, 1, 6, 112),
    _Group(4, 5, 2, 6, 192),
    _Group(1, 3, 1, 6, 320),
)
_STEM_FILTERS = 32
_TOP_FILTERS = 1280


@dataclass(frozen=True)
class Block:
    """One inverted residual block: `name` is its layers' prefix, channel counts are scaled already."""

    name: str
    filters_in: int
    filters_out: int
    kernel: int
    stride: int
    expand: int


def blocks(variant: Variant) -> list[Block]:
    """All blocks of a variant, from the input up."""
    result = []
    filters_in = _STEM_FILTERS
    for number, group in enumerate(_GROUPS, start=1):
        # Stem, top, first and last group are the same in all variants; only their widths in between scale.
        outermost = number in (1, len(_GROUPS))
        repeats = group.repeats if outermost else math.ceil(group.repeats * variant.depth)
        filters = _scaled(group.filters, variant.width)
        for letter, i in zip(string.ascii_lowercase, range(repeats), strict=False):
            stride = group.stride if i == 0 else 1
            result.append(
                Block(f"block{number}{letter}_", filters_in, filters, group.kernel, stride, group.expand)
            )
            filters_in = filters
    return result


def build(name: str, image_size: int | None = None, *, classes: int = 0) -> Any:
    """Build the variant `name` with random weights: images [N,S,S,3] of 0..255 to features [N,s,s,1280].

    With `classes`, the published top follows: pooled, dropped out, softmax probabilities [N,classes].
    """
    variant = VARIANTS[name]
    inputs = Input((image_size, image_size, 3))
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling")(inputs)
    x = layers.Conv2D(_STEM_FILTERS, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(x)
    x = _normalized(x, "stem_")
    for block in blocks(variant):
        x = _block(x, block)
    x = layers.Conv2D(_TOP_FILTERS, 1, padding="same", use_bias=False, name="top_conv")(x)
    x = _normalized(x, "top_")
    if classes:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dropout(variant.dropout, name="top_dropout")(x)
        x = layers.Dense(classes, activation="softmax", name="predictions")(x)
    return Model(inputs, x, name=name.lower())


def _block(inputs: Any, block: Block) -> Any:
    x = inputs
    if block.expand != 1:
        expanded = block.filters_in * block.expand
        x = layers.Conv2D(expanded, 1, padding="same", use_bias=False, name=f"{block.name}expand_conv")(x)
        x = _normalized(x, f"{block.name}expand_")
    x = layers.DepthwiseConv2D(
        block.kernel, strides=block.stride, padding="same", use_bias=False, name=f"{block.name}dwconv"
    )(x)
    x = _normalized(x, block.name)
    x = layers.Conv2D(block.filters_out, 1, padding="same", use_bias=False, name=f"{block.name}project_conv")(
        x
    )
    x = _normalized(x, f"{block.name}project_", activation=False)
    if block.stride == 1 and block.filters_in == block.filters_out:
        x = layers.Add(name=f"{block.name}add")([x, inputs])
    return x


def _normalized(x: Any, prefix: str, *, activation: bool = True) -> Any:
    x = layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=f"{prefix}bn")(x)
    return layers.ReLU(6.0, name=f"{prefix}activation")(x) if activation else x


def _scaled(filters: int, width: float) -> int:
    """Scale a channel count to the nearest multiple of 8, but never down by more than a tenth."""
    scaled = filters * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * scaled else rounded + 8
