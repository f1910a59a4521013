"""Facts about the backbones, known without TensorFlow: sizes, layers, where each can be cut into blocks.

They are in two files beside this one, which `python -m finetune_trainer.generate_backbones` writes.
"""

import difflib
import gzip
import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from finetune_api.errors import BadJob

_FOLDER = Path(__file__).parent
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Boundary:
    """A place between two blocks."""

    index: int
    """Of the last layer below it; `index + 1` is the first one above."""
    layers: tuple[str, ...]
    """Those whose outputs cross the boundary: one, NASNet two; in ConvNeXt additions, no layers to Keras."""
    shapes: tuple[Shape, ...]
    """Of those outputs at the default image size, without the batch dimension: height, width, channels."""
    params_below: int
    bn_below: int
    """BatchNormalization layers below."""
    macs_below: int
    """Multiplications per image below, at the default image size."""


@dataclass(frozen=True)
class Backbone:
    """A network without its classifier; figures are for alpha 1 and the default image size."""

    name: str
    default_size: int
    """Side of the square image its published weights were trained on, in pixels."""
    min_size: int
    preprocessing: str
    """`caffe` (BGR, minus mean), `tf` (-1 to 1), `torch` (mean, deviation), `builtin` (in the network)."""
    params: int
    num_layers: int
    feature_width: int
    """Channels of its output, which is what a head sees after pooling."""
    feature_shape: Shape
    batch_norms: int
    macs: int
    """Multiplications per image."""
    top1: float | None
    """Published ImageNet accuracy in percent; None where none is known for these very weights."""
    top5: float | None
    license: str | None
    """Of the ImageNet weights (SPDX); None where Keras' documentation names none: ask their publisher."""
    imagenet: bool
    """Whether ImageNet weights can be had."""
    alphas: tuple[float, ...]
    """Width multipliers with ImageNet weights; empty where the backbone has no such knob."""
    boundaries: tuple[Boundary, ...]
    """One below each block, from the input up."""

    @property
    def num_blocks(self) -> int:
        """How many blocks `unfreeze: {blocks: n}` can reach; below the last of them is the stem."""
        return len(self.boundaries)

    def first_trainable_for_blocks(self, blocks: int) -> int:
        """Index of the first layer trained when the top `blocks` blocks are; 0 blocks: the number of layers.

        Raises BadJob (reason TooManyBlocks) when the backbone has fewer.
        """
        if blocks > self.num_blocks:
            raise BadJob(
                "TooManyBlocks",
                f"unfreeze.blocks is {blocks}, but {self.name} has {self.num_blocks} blocks",
                f"0 to {self.num_blocks}",
                "lower it, or write `unfreeze: {all: true}` to train everything",
            )
        return self.boundaries[-blocks].index + 1 if blocks else self.num_layers

    def index_of_layer(self, layer: str) -> int:
        """Index of the layer with this name; BadJob (reason UnknownLayer) when there is none."""
        names = _layers(self.name)["names"]
        if layer in names:
            return int(names.index(layer))
        near = _nearest(layer, names)
        raise BadJob(
            "UnknownLayer",
            f"{self.name} has no layer called {layer!r}",
            "the name of one of its layers" + (f", such as {near}" if near else ""),
            f"`finetune backbones {self.name}` lists the layers at its block boundaries",
        )

    def trainable_parameters(self, first_trainable: int, *, batch_norm: bool = False) -> int:
        """Parameters trained when layers from `first_trainable` on are.

        BatchNormalization stays frozen and does not count, but with `batch_norm`.
        """
        listing = _layers(self.name)
        frozen = set() if batch_norm else set(listing["batch_norms"])
        return sum(n for i, n in enumerate(listing["trainable"]) if i >= first_trainable and i not in frozen)

    def boundary_below(self, first_trainable: int) -> Boundary | None:
        """The highest block boundary with nothing trained below it; None: training reaches into the stem."""
        below = [b for b in self.boundaries if b.index < first_trainable and b.params_below]
        return below[-1] if below else None

    def cut_shape(self, first_trainable: int, image_size: int) -> tuple[Shape, ...]:
        """Shapes of what a feature cache stores per image: the tensors at the cut, one vector in a head
        stage, or the image itself. An estimate away from the default image size, and between block
        boundaries."""
        if first_trainable >= self.num_layers:
            return ((self.feature_width,),)
        boundary = self.boundary_below(first_trainable)
        if boundary is None:
            return ((image_size, image_size, 3),)
        scale = image_size / self.default_size
        return tuple(
            (*(math.ceil(side * scale) for side in shape[:-1]), shape[-1]) for shape in boundary.shapes
        )

    def compute_below(self, first_trainable: int) -> float:
        """Share (0 to 1) of a forward pass's multiplications that lies below the cut."""
        if first_trainable >= self.num_layers:
            return 1.0
        boundary = self.boundary_below(first_trainable)
        return boundary.macs_below / self.macs if boundary else 0.0


@lru_cache(maxsize=64)
def get(name: str) -> Backbone:
    """Look a backbone up; BadJob (reason UnknownBackbone) with the nearest names when there is none."""
    row = _rows().get(name)
    if row is None:
        near = _nearest(name, NAMES)
        raise BadJob(
            "UnknownBackbone",
            f"there is no backbone called {name!r}",
            "a model of keras.applications, or EfficientNetLite0 to 4",
            (f"did you mean {near}? " if near else "") + "`finetune backbones` lists all",
        )
    lists = {
        "alphas": tuple(row["alphas"]),
        "feature_shape": tuple(row["feature_shape"]),
        "boundaries": tuple(_boundary(boundary) for boundary in row["boundaries"]),
    }
    return Backbone(**{**row, **lists}, name=name)


def _boundary(row: list[Any]) -> Boundary:
    index, layers, shapes, *counts = row
    return Boundary(index, tuple(layers), tuple(tuple(shape) for shape in shapes), *counts)


def _nearest(name: str, names: Any) -> str:
    """The closest names in one phrase, upper and lower case alike; empty when none is close."""
    by_lower = {candidate.lower(): candidate for candidate in names}
    found = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    return " or ".join(by_lower[match] for match in found)


@lru_cache(maxsize=1)
def _rows() -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = json.loads((_FOLDER / "backbones.json").read_text())
    return rows


@lru_cache(maxsize=1)
def _all_layers() -> dict[str, dict[str, Any]]:
    listings: dict[str, dict[str, Any]] = json.loads(
        gzip.decompress((_FOLDER / "backbone_layers.json.gz").read_bytes())
    )
    return listings


def _layers(name: str) -> dict[str, Any]:
    return _all_layers()[name]


NAMES: tuple[str, ...] = tuple(_rows())
"""Every backbone, family by family."""
