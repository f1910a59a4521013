"""What is in a folder of images, `<class>/**/<image>`: classes, images to use, and files that cannot be used.

Reads a few bytes of each file, decodes nothing.
"""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from finetune_api.dataset import Example
from finetune_api.errors import BadData, MissingInput
from finetune_store.headers import ImageHeader, read_header
from finetune_store.storage import Entry, Store

FIRST_BYTES = 16 * 2**10
_NAMED = 10
_SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".gif", ".bmp", ".webp", ".tif", ".tiff")
_LITTER = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN"})
_BLOCK = 4096
_BATCH = 2000


@dataclass(frozen=True, slots=True)
class BadFile:
    """A file that cannot be trained on."""

    key: str
    """Path below the data's root."""
    why: str


@dataclass(frozen=True)
class Inventory:
    """The images in a folder."""

    uri: str
    examples: Sequence[Example]
    """To be used, sorted by id; labels index `classes`."""
    classes: Sequence[str]
    """Sorted names of the class folders."""
    bad: Sequence[BadFile] = field(default=())
    rotated: int = 0
    """Images with an EXIF rotation, which is not applied."""

    def dump(self) -> bytes:
        """All of it as bytes: one worker takes the inventory, the others read it."""
        return gzip.compress(
            json.dumps(
                {
                    "uri": self.uri,
                    "classes": list(self.classes),
                    "examples": [(e.id, e.label, e.size, e.etag) for e in self.examples],
                    "bad": [(b.key, b.why) for b in self.bad],
                    "rotated": self.rotated,
                }
            ).encode(),
            mtime=0,
        )

    @classmethod
    def parse(cls, data: bytes) -> "Inventory":
        """What `dump` wrote."""
        document = json.loads(gzip.decompress(data))
        return cls(
            document["uri"],
            [Example(*example) for example in document["examples"]],
            document["classes"],
            [BadFile(*bad) for bad in document["bad"]],
            document["rotated"],
        )


class Limits(Protocol):
    """What `check` needs of a resolved job."""

    @property
    def max_corrupt_fraction(self) -> float:
        """Largest share of files that may be bad."""

    @property
    def validation_split(self) -> float | None:
        """Share set aside to judge by, or None."""

    @property
    def global_batch_size(self) -> int:
        """Images in a step."""


def inventory(
    store: Store,
    workers: int,
    max_pixels: int,
    classes: Sequence[str] | None = None,
    tick: Callable[[int, int], None] = lambda _done, _total: None,
) -> Inventory:
    """List the folder `store` stands for and look at the head of every file, `workers` at a time.

    `classes` fixes the classes (those of the training images, for a separate validation folder); a file of
    another class is bad then. Names that begin with a dot, and what operating systems leave lying around, are
    passed over. `tick(done, total)` is called as files are looked at. Raises MissingInput and Denied.
    """
    store.require_root()
    entries = sorted((e for e in store.list() if not _is_side_file(e.key)), key=lambda entry: entry.key)
    folders = {entry.key.split("/")[0] for entry in entries if "/" in entry.key}
    names = sorted(folders) if classes is None else list(classes)
    labels = {name: label for label, name in enumerate(names)}
    examples: list[Example] = []
    bad: list[BadFile] = []
    rotated = 0
    for done, (entry, header, why) in enumerate(_inspect(store, entries, workers, max_pixels), start=1):
        label = labels.get(entry.key.split("/")[0]) if "/" in entry.key else None
        why = why or _why_no_class(entry.key, label)
        if why or label is None:
            bad.append(BadFile(entry.key, why))
        else:
            examples.append(Example(entry.key, label, entry.size, entry.etag))
            rotated += header is not None and header.exif_rotated
        tick(done, len(entries))
    return Inventory(store.uri(), examples, names, bad, rotated)


def check(found: Inventory, limits: Limits) -> None:
    """Raise BadData when no model can be trained on these images: none, one class, or too many bad files."""
    check_usable(found, limits)
    counts = Counter(example.label for example in found.examples)
    classes = [(name, counts[label]) for label, name in enumerate(found.classes)]
    present = [name for name, count in classes if count]
    if len(present) < 2:
        what = f"{found.uri} has images of {len(present)} class: {_listed(present)}"
        raise BadData("OneClass", what, *_LAYOUT)
    if empty := [name for name, count in classes if not count]:
        what = f"no image of {_listed(empty)} in {found.uri} can be used"
        raise BadData("EmptyClass", what, "", "add images or remove the folder")
    lonely = [name for name, count in classes if count == 1]
    if lonely and limits.validation_split is not None:
        raise BadData(
            "ClassTooSmall",
            f"{found.uri} has a single image of {_listed(lonely)}",
            "two or more of each class: one to train on, one to judge by",
            "add images, remove the class, or set data.validation",
        )


def check_usable(found: Inventory, limits: Limits) -> None:
    """Raise BadData when there are no images or too many bad files; enough for validation."""
    if not found.examples and not found.bad:
        raise BadData("EmptyFolder", f"{found.uri} has no images", *_LAYOUT)
    _check_bad(found, limits.max_corrupt_fraction)


def check_count(num_train: int, limits: Limits) -> None:
    """Raise BadData when the training images do not fill one batch."""
    if num_train < limits.global_batch_size:
        raise BadData(
            "TooFewImages",
            f"there are {num_train} training images, but globalBatchSize is {limits.global_batch_size}",
            "at least one full batch",
            f"set globalBatchSize to {num_train} or less, or add images",
        )


_LAYOUT = (
    "one folder per class with images in it: roses/1.jpg, tulips/1.jpg",
    "correct data.train, or sort the images into folders named after their classes",
)


def _check_bad(found: Inventory, max_corrupt_fraction: float) -> None:
    total = len(found.examples) + len(found.bad)
    if len(found.bad) <= max_corrupt_fraction * total:
        return
    names = "".join(f"\n  {bad.key}: {bad.why}" for bad in islice(found.bad, _NAMED))
    more = f"\n  and {len(found.bad) - _NAMED} more" if len(found.bad) > _NAMED else ""
    raise BadData(
        "TooManyBadFiles",
        f"{len(found.bad)} of {total} files in {found.uri} cannot be used:{names}{more}\n",
        f"at most {max_corrupt_fraction:.1%} (data.maxCorruptFraction)",
        "remove or repair them, or raise data.maxCorruptFraction",
    )


def _inspect(
    store: Store, entries: Sequence[Entry], workers: int, max_pixels: int
) -> Iterable[tuple[Entry, ImageHeader | None, str]]:
    def look(entry: Entry) -> tuple[Entry, ImageHeader | None, str]:
        try:
            header = read_header(_reader(store, entry)) if entry.size else None
        except MissingInput:
            return entry, None, "it disappeared while it was looked at"
        return entry, header, _why_bad(entry, header, max_pixels)

    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="inventory") as pool:
        # In batches: a pool keeps an object for everything it is given, and there may be millions.
        for begin in range(0, len(entries), _BATCH):
            yield from pool.map(look, entries[begin : begin + _BATCH])


def _reader(store: Store, entry: Entry) -> Callable[[int, int], bytes]:
    """Reads through one first block, which holds the whole header of most files."""
    first = store.get_range(entry.key, 0, min(FIRST_BYTES, entry.size))
    window = (0, first)

    def read(start: int, length: int) -> bytes:
        nonlocal window
        if start >= entry.size:
            return b""
        offset, data = window
        if not (offset <= start and start + length <= offset + len(data)) and offset + len(data) < entry.size:
            window = offset, data = start, store.get_range(entry.key, start, max(length, _BLOCK))
        return data[start - offset : start - offset + length]

    return read


def _why_bad(entry: Entry, header: ImageHeader | None, max_pixels: int) -> str:
    if not entry.size:
        return "it is empty"
    if header is None:
        return "it is not a PNG, JPEG, GIF, BMP or WebP image"
    if header.unsupported:
        return header.unsupported
    if header.width * header.height > max_pixels:
        megapixels = header.width * header.height / 1e6
        return (
            f"{header.width} x {header.height} = {megapixels:.0f} megapixels, "
            f"above data.maxPixels = {max_pixels / 1e6:g} million"
        )
    return ""


def _why_no_class(key: str, label: int | None) -> str:
    if label is not None:
        return ""
    return "its class is not among the training images" if "/" in key else "it is not in a class folder"


def _is_side_file(key: str) -> bool:
    """Not meant as an image: hidden, an operating system's own, or a text beside the class folders."""
    parts = key.split("/")
    if any(part.startswith(".") or part in _LITTER for part in parts):
        return True
    return len(parts) == 1 and not key.lower().endswith(_SUFFIXES)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return f"{shown} and {len(names) - _NAMED} more" if len(names) > _NAMED else shown or "none"
