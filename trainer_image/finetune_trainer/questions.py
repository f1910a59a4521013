"""Images by which an exported model is judged, and what the trained one says of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from finetune_api.dataset import Example
from finetune_api.plan import Plan
from finetune_store.storage import Store
from finetune_trainer import decode, export
from finetune_trainer.corpus import Corpus
from finetune_trainer.state import RunState

Pixels = NDArray[np.uint8]
"""[S, S, 3]"""
MOST = 256
"""Images asked about before a model is published."""
_FILE = "questions.npz"


@dataclass(frozen=True)
class Questions:
    """Images, and what the trained model says of them."""

    validation: bool
    """Whether they are of the validation split, else of the training images."""
    examples: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        plan: Plan,
        state: RunState,
        images: Corpus,
        classifier: export.Classifier,
        tick: Callable[[], None],
    ) -> "Questions":
        """The evaluation's own answers; without a validation split, the model's before it was exported."""
        if images.validation:
            answers = state.predictions["best" if plan.resolved.select == "Best" else "last"]
            judged = np.flatnonzero(state.predictions["judged"])
            chosen = judged[spread(len(judged), MOST)]
            return cls(True, chosen, answers[chosen])
        chosen = spread(len(images.train), MOST)
        kept, said = [], []
        for place, pixels in decoded([images.train[i] for i in chosen], images.train_store, classifier, tick):
            kept.append(place)
            said.append(classifier.probabilities(classifier.features(pixels[np.newaxis])).numpy()[0])
        return cls(False, chosen[kept], np.array(said, np.float32))

    def asked(self, images: Corpus) -> tuple[list[Example], Store]:
        """The images, and where their files are."""
        source, store = (
            (images.validation, images.validation_store)
            if self.validation
            else (images.train, images.train_store)
        )
        return [source[i] for i in self.examples], store

    def save(self, folder: Path) -> None:
        """For `load`, in another process."""
        np.savez(
            folder / _FILE,
            validation=self.validation,
            examples=self.examples,
            probabilities=self.probabilities,
        )

    @classmethod
    def load(cls, folder: Path) -> "Questions":
        """What `save` wrote."""
        with np.load(folder / _FILE) as kept:
            return cls(bool(kept["validation"]), kept["examples"], kept["probabilities"])


def spread(count: int, most: int) -> NDArray[np.int64]:
    """Up to `most` of `count` places, evenly from first to last."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def decoded(
    examples: Sequence[Example], store: Store, classifier: export.Classifier, tick: Callable[[], None]
) -> Iterator[tuple[int, Pixels]]:
    """Place in `examples` and pixels of those images that can be decoded."""
    for place, example in enumerate(examples):
        contents = tf.constant(store.get(example.id))
        try:
            pixels = decode.image(contents, classifier.image_size, classifier.max_pixels)
        except tf.errors.InvalidArgumentError:
            continue
        tick()
        yield place, pixels.numpy()
