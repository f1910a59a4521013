"""The graph of a backbone: where it can be cut, and the two halves of it.

A *cut* is a place in the graph that so few tensors cross (one; NASNet two) that they can be stored: what lies
below is the *trunk*, what lies above the *tail*. A backbone is always frozen from the input up to a layer,
given as `first_trainable`, an index into `model.layers`.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import keras
from keras.src.backend.common import global_state

from finetune_trainer.architectures import ARCHITECTURES, Family

_NAME_COUNTERS = "object_name_uids"
_UNINITIALIZED = "uninitialized_variables"


@contextmanager
def fresh_names() -> Iterator[None]:
    """Let automatic layer names start at zero, so that each build of a backbone has the same names."""
    before = global_state.get_global_attribute(_NAME_COUNTERS)
    keras.src.utils.naming.reset_uids()
    try:
        yield
    finally:
        global_state.set_global_attribute(_NAME_COUNTERS, before)


@contextmanager
def without_values() -> Iterator[None]:
    """Variables that are made here have shapes and never get values.

    Keras remembers them and gives them values when it next leaves a stateless scope, which every functional model
    does: below a strategy that is a broadcast for each, on those workers alone that have built no other model before.
    """
    before = list(global_state.get_global_attribute(_UNINITIALIZED) or [])
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        global_state.set_global_attribute(_UNINITIALIZED, before)


@lru_cache(maxsize=8)
def skeleton(name: str, image_size: int, alpha: float = 1.0) -> Any:
    """Build the graph of a backbone; its variables have shapes but no values, so it costs next to nothing."""
    with fresh_names(), without_values():
        return ARCHITECTURES[name].construct(image_size, alpha)


@dataclass(frozen=True)
class Cut:
    """A place to cut a backbone; good for every build of the same backbone, whatever its variables hold."""

    positions: tuple[int, ...]
    """Operations whose outputs cross the cut, as indices into `model.operations`; empty at the pixels."""
    names: tuple[str, ...]
    """Names of those operations, in the same order."""
    shapes: tuple[tuple[int, ...], ...]
    """Shapes of their outputs without the batch dimension."""
    layers_below: int
    """`model.layers[:layers_below]` lie below the cut."""

    @property
    def at_pixels(self) -> bool:
        """Nothing that learns lies below: what would be stored are the images themselves."""
        return not self.positions


@dataclass(frozen=True)
class _Place:
    """The graph after one of its operations has run: what must be kept to run the rest."""

    position: int
    live: tuple[int, ...]
    layers_below: int


def find_cut(model: Any, first_trainable: int) -> Cut:
    """Find the highest cut that has only layers of `model.layers[:first_trainable]` below it.

    `first_trainable == len(model.layers)` gives the model's own output; with nothing that can learn below
    it, the cut is at the pixels.
    """
    places = _places(model)
    if first_trainable >= len(model.layers):
        return _cut(model, places[-1])
    below = [place for place in _narrow(places) if place.layers_below <= first_trainable]
    layers_below = below[-1].layers_below if below else 0
    if not any(layer.trainable_variables for layer in model.layers[:layers_below]):
        return Cut((), (), (), 0)
    return _cut(model, below[-1])


def boundaries(model: Any, family: Family) -> list[Cut]:
    """List the cuts below each block, from the input up; the first has only the stem below it.

    There are as many as blocks: training the top n blocks means cutting at `boundaries[-n]`.
    """
    places = _places(model)
    found = []
    seen: set[str] = set()
    for position, operation in enumerate(model.operations):
        match = family.unit.match(operation.name)
        if match and match[1] not in seen:
            seen.add(match[1])
            found.append(position)
    if family.ends_only:
        return [_cut(model, places[position]) for position in found[:-1]]
    cuts = _narrow(places)
    return [_cut(model, [p for p in cuts if p.position < position][-1]) for position in found]


def frozen_in_tail(model: Any, cut: Cut, first_trainable: int) -> set[str]:
    """Names of the layers above the cut that stay frozen because they lie below `first_trainable`."""
    return {layer.name for layer in model.layers[cut.layers_below : first_trainable]}


def split(model: Any, cut: Cut) -> tuple[Any | None, Any | None]:
    """Split a backbone into trunk and tail, which share its variables.

    The trunk maps pixels to the cut's tensor (a list when several), the tail maps that to the features. No
    trunk at the pixels, no tail at the output.
    """
    if cut.at_pixels:
        return None, model
    tensors = [model.operations[position].output for position in cut.positions]
    crossing = tensors if len(tensors) > 1 else tensors[0]
    with fresh_names():
        trunk = keras.Model(model.input, crossing, name=f"{model.name}_trunk")
        if cut.layers_below == len(model.layers):
            return trunk, None
        return trunk, keras.Model(crossing, model.output, name=f"{model.name}_tail")


def _cut(model: Any, place: _Place) -> Cut:
    operations = [model.operations[position] for position in place.live]
    return Cut(
        place.live,
        tuple(operation.name for operation in operations),
        tuple(tuple(operation.output.shape[1:]) for operation in operations),
        place.layers_below,
    )


def _places(model: Any) -> list[_Place]:
    """One place per operation, in the order of `model.operations`, which runs from the input up."""
    operations = list(model.operations)
    sources = _sources(operations)
    last_use = {source: user for user, inputs in enumerate(sources) for source in inputs}
    places = []
    live: set[int] = set()
    layers_below = 0
    for position, operation in enumerate(operations):
        live = {p for p in live | {position} if last_use.get(p, math.inf) > position}
        layers_below += isinstance(operation, keras.layers.Layer)
        places.append(
            _Place(position, tuple(sorted(_without_derived(live, operations, sources))), layers_below)
        )
    return places


def _narrow(places: list[_Place]) -> list[_Place]:
    """The places crossed by as few tensors as is possible inside the network: one, or two in NASNet."""
    quarter = len(places) // 4
    width = min(len(place.live) for place in places[quarter:-quarter])
    return [place for place in places if len(place.live) <= width]


def _sources(operations: list[Any]) -> list[tuple[int, ...]]:
    """For each operation, the positions of those whose outputs it reads."""
    position = {id(operation): i for i, operation in enumerate(operations)}
    found = []
    for operation in operations:
        node = operation._inbound_nodes[0]
        tensors = node.arguments.keras_tensors
        found.append(tuple(position[id(tensor._keras_history.operation)] for tensor in tensors))
    return found


def _without_derived(live: set[int], operations: list[Any], sources: list[tuple[int, ...]]) -> set[int]:
    """Drop tensors that are easily computed again from another live one: pooled, padded, activated."""

    def derived(position: int) -> bool:
        while len(sources[position]) == 1 and _is_plain(operations[position]):
            position = sources[position][0]
            if position in live:
                return True
        return False

    return {position for position in live if not derived(position)}


def _is_plain(operation: Any) -> bool:
    """Without weights and without randomness, so that computing it twice gives the same."""
    return not getattr(operation, "variables", None)
