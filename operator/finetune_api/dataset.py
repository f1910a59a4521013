"""Which images are trained on and which judge: decided by name alone, the same on every machine."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """One image."""

    id: str
    """Path below the data's root, such as roses/2019/a.jpg: its name for everything random."""
    label: int
    """Index of its class in the sorted class names."""
    size: int
    """Encoded bytes."""
    etag: str | None = None
    """The store's word for its contents; None where there is none."""


def split(
    examples: Sequence[Example], num_classes: int, fraction: float, seed: int
) -> tuple[list[Example], list[Example]]:
    """Set aside `fraction` of each class to judge by.

    Within a class the order is that of sha256(seed, id), so an image added later moves few others. Of every
    class with two images or more, at least one is on each side; a lone image is trained on.

    Returns:
        (train, validation), each sorted by id.
    """
    train: list[Example] = []
    validation: list[Example] = []
    for label in range(num_classes):
        ranked = sorted((e for e in examples if e.label == label), key=lambda e: rank(seed, e.id))
        count = min(max(1, round(len(ranked) * fraction)), len(ranked) - 1) if ranked else 0
        validation += ranked[:count]
        train += ranked[count:]
    return _by_id(train), _by_id(validation)


def rank(seed: int, example_id: str) -> bytes:
    """A place for an example in a random order that depends on nothing but the seed and its id."""
    return hashlib.sha256(f"{seed}\0{example_id}".encode()).digest()


def digest(examples: Iterable[Example]) -> str:
    """SHA-256, as hex, of the data set: ids, labels, sizes and etags, whatever their order."""
    total = hashlib.sha256()
    for example in _by_id(examples):
        # Lengths first: no two different lists make the same bytes.
        for part in (example.id, str(example.label), str(example.size), example.etag or ""):
            encoded = part.encode()
            total.update(f"{len(encoded)}:".encode() + encoded)
    return total.hexdigest()


def _by_id(examples: Iterable[Example]) -> list[Example]:
    return sorted(examples, key=lambda example: example.id)
