"""What a folder of images says about a job, found by listing it and reading the heads of the files."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod

from finetune_api import backbones, dataset
from finetune_api.dataset import Example
from finetune_api.plan import Facts, ResolvedJob
from finetune_cli import devices, private_network, stores
from finetune_store import inventory
from finetune_store.inventory import Inventory
from finetune_store.storage import Store

_READERS = 16
_QUICK = 5000
"""Local files whose heads are read in about a second."""


@dataclass(frozen=True)
class Images:
    """The images of a job, dealt to training and validation as the trainer does."""

    train: Sequence[Example]
    validation: Sequence[Example]
    listed: Inventory


def examine(resolved: ResolvedJob) -> Images:
    """List all images of a job and look at each.

    Raises:
        BadData: they cannot be trained on; files are named.
        MissingInput, Denied: they cannot be listed.
    """
    listed = inventory.inventory(_store(resolved, resolved.train_uri), _READERS, resolved.max_pixels)
    inventory.check(listed, resolved)
    train, validation = _dealt(resolved, listed)
    inventory.check_count(len(train), resolved)
    return Images(train, validation, listed)


def is_quick(resolved: ResolvedJob) -> bool:
    """Whether looking at all images takes no time worth mentioning: few of them, on this machine."""
    uris = [uri for uri in (resolved.train_uri, resolved.validation_uri) if uri is not None]
    return all(private_network.is_local(uri) and _is_small(_store(resolved, uri)) for uri in uris)


def gather(resolved: ResolvedJob, images: Images) -> Facts:
    """The facts for `schedule.plan`. Bytes at the cuts are estimates away from the default image size."""
    counts = Counter(example.label for example in images.train)
    return Facts(
        num_train=len(images.train),
        num_validation=len(images.validation),
        classes=list(images.listed.classes),
        class_counts=[counts[label] for label, _ in enumerate(images.listed.classes)],
        dataset_digest=dataset.digest([*images.train, *images.validation]),
        input_bytes=sum(example.size for example in (*images.train, *images.validation)),
        cut_bytes=[cut_bytes(resolved, stage.first_trainable) for stage in resolved.stages],
        device="GPU" if devices.gpus() else "CPU",
        threads=devices.threads_per_worker(devices.cores(), resolved.workers),
    )


def cut_bytes(resolved: ResolvedJob, first_trainable: int) -> int:
    """Bytes of one image and view at a stage's cut: bytes for pixels, 32-bit floats for features."""
    backbone = backbones.get(resolved.backbone)
    shapes = backbone.cut_shape(first_trainable, resolved.image_size)
    is_pixels = shapes == ((resolved.image_size, resolved.image_size, 3),)
    return sum(map(prod, shapes)) * (1 if is_pixels else 4)


def _dealt(resolved: ResolvedJob, listed: Inventory) -> tuple[Sequence[Example], Sequence[Example]]:
    if resolved.validation_uri is not None:
        store = _store(resolved, resolved.validation_uri)
        judged = inventory.inventory(store, _READERS, resolved.max_pixels, listed.classes)
        inventory.check_usable(judged, resolved)
        return listed.examples, judged.examples
    if resolved.validation_split is None:
        return listed.examples, []
    return dataset.split(listed.examples, len(listed.classes), resolved.validation_split, resolved.seed)


def _store(resolved: ResolvedJob, uri: str) -> Store:
    return stores.opened(resolved, uri)


def _is_small(store: Store) -> bool:
    store.require_root()
    return sum(1 for _ in _some(store)) <= _QUICK


def _some(store: Store) -> Iterator[object]:
    return islice(store.list(), _QUICK + 1)
