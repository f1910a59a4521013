"""The images of a run: listed and looked at once, by the chief, and the same for every worker and generation."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from finetune_api import dataset
from finetune_api.dataset import Example
from finetune_api.events import WarningEvent
from finetune_api.plan import ResolvedJob
from finetune_store import inventory as inventories
from finetune_store.inventory import Inventory
from finetune_store.storage import Store
from finetune_trainer.run_context import RunContext

READERS = 16
"""Files looked at side by side."""
TRAIN, VALIDATION = "dataset.json.gz", "validation.json.gz"


@dataclass(frozen=True)
class Corpus:
    """Training and validation examples, each sorted by id; a place in the list is the example's index."""

    classes: list[str]
    train: list[Example]
    validation: list[Example]
    train_store: Store
    validation_store: Store

    @cached_property
    def digest(self) -> str:
        """Changes when any image of the run does."""
        apart = [replace(example, id=f"validation/{example.id}") for example in self.validation]
        return dataset.digest([*self.train, *apart])

    @property
    def class_counts(self) -> list[int]:
        """Training images of each class."""
        return [int(count) for count in np.bincount(labels(self.train), minlength=len(self.classes))]

    @property
    def bytes(self) -> int:
        """Of all encoded images."""
        return sum(example.size for example in [*self.train, *self.validation])


def labels(examples: list[Example]) -> NDArray[np.int64]:
    """Labels [n] of examples."""
    return np.array([example.label for example in examples], np.int64)


def open_corpus(context: RunContext) -> Corpus:
    """The run's images: the chief takes the inventory and checks it, the others read what it found.

    Raises BadData (empty, one class, too many bad files, fewer images than a batch) before anything is trained.
    """
    job = context.job
    store = context.open_store(job.train_uri)
    found = _adopt(context, TRAIN, store, None)
    if job.validation_uri is not None:
        other_store = context.open_store(job.validation_uri)
        other = _adopt(context, VALIDATION, other_store, list(found.classes))
        return _checked(
            Corpus(list(found.classes), list(found.examples), list(other.examples), store, other_store), job
        )
    if job.validation_split is None:
        return _checked(Corpus(list(found.classes), list(found.examples), [], store, store), job)
    train, validation = dataset.split(found.examples, len(found.classes), job.validation_split, job.seed)
    return _checked(Corpus(list(found.classes), train, validation, store, store), job)


def _checked(corpus: Corpus, job: ResolvedJob) -> Corpus:
    inventories.check_count(len(corpus.train), job)
    return corpus


def _adopt(context: RunContext, name: str, store: Store, classes: list[str] | None) -> Inventory:
    if not context.is_chief:
        return Inventory.parse(context.await_chief(name))

    def take() -> bytes:
        job = context.job
        found = inventories.inventory(store, READERS, job.max_pixels, classes, context.channel.tick)
        if classes is None:
            inventories.check(found, job)
        else:
            inventories.check_usable(found, job)
        return found.dump()

    inventory = Inventory.parse(context.run.adopt(name, take))
    _warn(context, inventory)
    return inventory


def _warn(context: RunContext, inventory: Inventory) -> None:
    for bad in inventory.bad:
        context.channel.emit(WarningEvent(reason="FileIgnored", message=f"{bad.key}: {bad.why}"))
    if inventory.rotated:
        message = f"{inventory.rotated} images carry an EXIF rotation, which is not applied"
        context.channel.emit(WarningEvent(reason="RotationIgnored", message=message))
