"""Encoded images in, pixels out: read ahead, decoded in parallel, augmented; what is damaged is named.

A damaged image gives a black picture and an entry in `Images.corrupt`, never an exception: whether there are
too many is decided once all are known. A file that cannot be read at all is the storage's error.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from finetune_trainer import augment, decode

VALIDATION = -1
"""The view of a validation image: as it is."""
READERS = 16
"""Reads in flight; object storage answers one in 10 to 100 ms."""

Indices = NDArray[np.int64]
Pixels = NDArray[np.uint8]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ImageFiles:
    """Where the encoded images of one data set are; an example's index is its place in `ids`."""

    ids: Sequence[str]
    read: Callable[[str], bytes]
    """Id -> the file's bytes; `Store.get`."""


@dataclass(frozen=True)
class ImageOptions:
    """How images become pixels."""

    size: int
    max_pixels: int
    transforms: augment.Amounts
    """How training images are changed; nothing in it: not at all."""
    seed: int
    threads: int = 0
    """Images decoded at a time; 0 leaves the choice to TensorFlow."""


@dataclass(frozen=True, order=True)
class CorruptImage:
    """A file that does not decode."""

    validation: bool
    example: int
    id: str
    why: str


@dataclass(frozen=True)
class Loaded:
    """Decoded images of some examples of one view."""

    view: int
    examples: Indices
    pixels: Pixels
    """[n, size, size, 3]"""
    corrupt: Indices
    """Rows of `pixels` that did not decode."""


class Images:
    """The training and validation images of a job."""

    def __init__(self, train: ImageFiles, validation: ImageFiles, options: ImageOptions) -> None:
        self.train = train
        self.validation = validation
        self.options = options
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="read")
        self._decode = _decoder(options)
        self._augment = _augmenter(options)
        self._lock = threading.Lock()
        self._corrupt: dict[tuple[bool, int], CorruptImage] = {}

    @property
    def corrupt(self) -> list[CorruptImage]:
        """Every image so far that did not decode, in order."""
        with self._lock:
            return sorted(self._corrupt.values())

    def load(self, view: int, examples: Indices) -> Loaded:
        """Read and decode, not augmented yet; validation images when `view` is VALIDATION."""
        files = self.validation if view == VALIDATION else self.train
        contents = list(self._readers.map(files.read, (files.ids[i] for i in examples)))
        pixels, broken = self._decode_all(contents)
        for row, why in broken.items():
            example = int(examples[row])
            found = CorruptImage(view == VALIDATION, example, files.ids[example], why)
            with self._lock:
                self._corrupt[found.validation, example] = found
        return Loaded(view, examples, pixels, np.array(sorted(broken), np.int64))

    def augmented(self, loaded: Loaded, view: int) -> Loaded:
        """The same images as `view` shows them."""
        pixels = loaded.pixels
        if view != VALIDATION and self.options.transforms:
            seeds = augment.seeds_for(self.options.seed, view, loaded.examples)
            pixels = self._augment(tf.constant(pixels), tf.constant(seeds)).numpy()
        return Loaded(view, loaded.examples, pixels, loaded.corrupt)

    def _decode_all(self, contents: list[bytes]) -> tuple[Pixels, dict[int, str]]:
        try:
            return self._decode(tf.constant(contents, tf.string)).numpy(), {}
        except tf.errors.InvalidArgumentError:
            return self._decode_each(contents)

    def _decode_each(self, contents: list[bytes]) -> tuple[Pixels, dict[int, str]]:
        """One by one, to learn which are damaged: slower, and rare."""
        pixels = np.zeros((len(contents), self.options.size, self.options.size, 3), np.uint8)
        broken = {}
        for row, content in enumerate(contents):
            try:
                pixels[row] = self._decode(tf.constant([content])).numpy()[0]
            except tf.errors.InvalidArgumentError as error:
                broken[row] = _reason(error)
        return pixels, broken


def ahead(
    work: Callable[[Item], Result], items: Iterable[Item], pool: Executor, depth: int = 2
) -> Iterator[Result]:
    """Results in the order of `items`, with at most `depth` of them computed before they are asked for."""
    pending: deque[Any] = deque()
    for item in items:
        pending.append(pool.submit(work, item))
        if len(pending) > depth:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _decoder(options: ImageOptions) -> Any:
    """Strings [n] -> uint8 [n, size, size, 3]; one damaged image fails the call."""

    def one(contents: tf.Tensor) -> tf.Tensor:
        return decode.image(contents, options.size, options.max_pixels)

    return _mapped(one, options, (tf.TensorSpec([None], tf.string),))


def _augmenter(options: ImageOptions) -> Any:
    """uint8 [n, size, size, 3], seeds int64 [n, 2] -> uint8 [n, size, size, 3]."""

    def one(image_and_seed: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        return augment.transformed(*image_and_seed, options.transforms)

    shape = [None, options.size, options.size, 3]
    return _mapped(one, options, (tf.TensorSpec(shape, tf.uint8), tf.TensorSpec([None, 2], tf.int64)))


def _mapped(one: Callable[[Any], tf.Tensor], options: ImageOptions, signature: tuple[Any, ...]) -> Any:
    def every(*rows: tf.Tensor) -> tf.Tensor:
        with tf.device("CPU"):
            return tf.map_fn(
                one,
                rows if len(rows) > 1 else rows[0],
                fn_output_signature=tf.TensorSpec([options.size, options.size, 3], tf.uint8),
                parallel_iterations=options.threads or 8,
            )

    return tf.function(every, input_signature=signature, autograph=False)


_BRACKETS = str.maketrans("", "", "[]")


def _reason(error: tf.errors.OpError) -> str:
    """What TensorFlow says, without where it says it."""
    lines = [line.strip() for line in str(error.message).splitlines()]
    # The sentence stands above the name of the operation.
    place = next((i for i, line in enumerate(lines) if line.startswith("[[{{node")), 0)
    said = lines[place - 1].removeprefix("assertion failed: ").translate(_BRACKETS)
    return "".join(c for c in said if c.isprintable())[:200]
