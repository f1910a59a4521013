"""FineTuneJobs with something odd in them, made from the CRD's own schema: the same thousand for the same seed."""

import random
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import mutant_bases
import mutant_values
from finetune_api import crd

Json = dict[str, Any]
Path = tuple[str | int, ...]
_MISSING = object()
_FINE_SHARE = 0.6
"""Of the mutants, about so many are changed to something that the field allows."""
_PAIR_SHARE = 0.1
"""About so many are changed in two places at once."""


@dataclass(frozen=True)
class Mutant:
    """One job, and what was done to a good one."""

    number: int
    base: str
    changes: tuple[str, ...]
    """Such as "spec.workers = 0"."""
    document: Json

    def __str__(self) -> str:
        return f"mutant {self.number} ({self.base}): {', '.join(self.changes)}"


@dataclass(frozen=True)
class _Change:
    path: Path
    value: Any

    def __str__(self) -> str:
        where = ".".join(map(str, self.path))
        if self.value is _MISSING:
            return f"{where} removed"
        shown = repr(self.value)
        return f"{where} = {shown if len(shown) <= 60 else shown[:57] + '...'}"

    def applied(self, document: Json) -> Json:
        """The job with this change; as it was where an earlier change left no such place."""
        result = deepcopy(document)
        *parents, last = self.path
        place: Any = result
        try:
            for parent in parents:
                place = place[parent]
            self._put(place, last)
        except (KeyError, IndexError, TypeError):
            return document
        return result

    def _put(self, place: Any, last: str | int) -> None:
        if self.value is _MISSING:
            del place[last]
        else:
            place[last] = deepcopy(self.value)


def make(count: int, seed: int) -> list[Mutant]:
    """`count` jobs with another spec or metadata, always the same for one seed; every field has its turn."""
    schema = _schema()
    del schema["properties"]["status"]
    schema["properties"]["metadata"] = mutant_values.METADATA
    return _mutants(count, random.Random(seed), schema, mutant_bases.jobs())


def with_odd_status(count: int, seed: int) -> list[Mutant]:
    """The same for the status of one job."""
    schema = {"properties": {"status": _schema()["properties"]["status"]}}
    return _mutants(count, random.Random(seed), schema, {"status": (mutant_bases.with_status(), 1)})


def _mutants(
    count: int, chance: random.Random, schema: Json, bases: dict[str, tuple[Json, int]]
) -> list[Mutant]:
    weights = [weight for _, weight in bases.values()]
    changes = {name: _by_kind(schema, document, chance) for name, (document, _) in bases.items()}
    mutants = []
    for number in range(count):
        base = chance.choices(list(bases), weights)[0]
        chosen = [_next(changes[base], chance)]
        if chance.random() < _PAIR_SHARE:
            chosen.append(_next(changes[base], chance))
        document = bases[base][0]
        for change in chosen:
            document = change.applied(document)
        mutants.append(Mutant(number, base, tuple(map(str, chosen)), _as_kubectl_sends(document)))
    return mutants


def _as_kubectl_sends(value: Any) -> Any:
    """5.0 as 5. (From a client that sends 5.0 the API server takes it for an integer, but CEL does not.)"""
    if isinstance(value, dict):
        return {key: _as_kubectl_sends(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_kubectl_sends(item) for item in value]
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e21
    return int(value) if is_whole else value


def _schema() -> Json:
    schema: Json = crd.crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def _by_kind(schema: Json, document: Json, chance: random.Random) -> tuple[list[_Change], list[_Change]]:
    """Changes to something allowed, and to something odd, each in an order that visits all fields early."""
    fine, odd = [], []
    for path, node in _places(schema, document, ()):
        fine.append([_Change(path, value) for value in mutant_values.fine(node, chance)])
        odd.append([_Change(path, value) for value in mutant_values.odd(node)])
        odd[-1].append(_Change(path, _MISSING))
    return _dealt(fine, chance), _dealt(odd, chance)


def _places(node: Json, value: Any, path: Path) -> Iterator[tuple[Path, Json]]:
    """Every place of a document that the schema knows, those included where an optional field could be."""
    if path:
        yield path, node
    if isinstance(value, dict):
        for name, inner in node.get("properties", {}).items():
            yield from _places(inner, value.get(name), (*path, name))
        for name in value if "additionalProperties" in node else ():
            yield from _places(node["additionalProperties"], value[name], (*path, name))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _places(node["items"], item, (*path, index))


def _dealt(piles: list[list[_Change]], chance: random.Random) -> list[_Change]:
    """One of each pile, then another of each, until all are gone."""
    for pile in piles:
        chance.shuffle(pile)
    longest = max(map(len, piles))
    rounds = ([pile[turn] for pile in piles if turn < len(pile)] for turn in range(longest))
    return [change for one in rounds for change in chance.sample(one, len(one))]


def _next(changes: tuple[list[_Change], list[_Change]], chance: random.Random) -> _Change:
    fine, odd = changes
    pile = fine if chance.random() < _FINE_SHARE else odd
    change = pile.pop(0)
    pile.append(change)
    return change
