"""Other forms of the model than the SavedModel: written beside it, and left out when they answer worse."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_api.events import WarningEvent
from finetune_api.plan import Plan, Quantization
from finetune_trainer import corpus, export, tflite
from finetune_trainer.channel import Channel
from finetune_trainer.corpus import Corpus
from finetune_trainer.questions import Pixels, Questions, decoded, spread

FOLDER = "tflite"
"""Of a version: files for LiteRT, which model servers pass over."""
LABELS = "labels.txt"
CALIBRATION_IMAGES = 100
"""Training images that show the converter what activations to expect."""


@dataclass(frozen=True)
class _Asked:
    """Decoded images by which a form is judged, and those it is calibrated with."""

    pixels: list[Pixels]
    labels: NDArray[np.int64]
    accuracy: float
    """Of the trained model on them."""
    samples: list[Pixels]


def write(
    classifier: export.Classifier,
    plan: Plan,
    images: Corpus,
    questions: Questions,
    folder: Path,
    channel: Channel,
) -> list[dict[str, Any]]:
    """Write what the plan asks for into `folder`/tflite; for the manifest, what became of each.

    One that cannot be made, or whose accuracy on the `questions` is lower than the trained model's by more than
    output.maxAccuracyDrop, is not written: the others are published all the same, and a warning says so.
    """
    if not plan.resolved.tflite:
        return []
    asked, store = questions.asked(images)
    labels = corpus.labels(asked)
    right = float((questions.probabilities.argmax(axis=1) == labels).mean())
    pixels = [image for _, image in decoded(asked, store, classifier, channel.tick)]
    chosen = [images.train[i] for i in spread(len(images.train), CALIBRATION_IMAGES)]
    samples = [image for _, image in decoded(chosen, images.train_store, classifier, channel.tick)]
    asked_about = _Asked(pixels, labels, right, samples)
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    (folder / FOLDER / LABELS).write_text("".join(f"{name}\n" for name in plan.classes))
    return [_write(classifier, kind, plan, asked_about, folder, channel) for kind in plan.resolved.tflite]


def _write(
    classifier: export.Classifier,
    quantization: Quantization,
    plan: Plan,
    asked_about: _Asked,
    folder: Path,
    channel: Channel,
) -> dict[str, Any]:
    file = f"{FOLDER}/{quantization.lower()}.tflite"
    facts: dict[str, Any] = {"kind": "TFLite", "quantization": quantization}
    try:
        content = tflite.convert(classifier, quantization, asked_about.samples, folder.parent, channel.tick)
        answers = tflite.answers(content, asked_about.pixels, channel.tick)
    except Exception as error:  # whatever the converter cannot do must not cost the trained model
        return _refused(
            facts,
            f"cannot be made: {_first_line(error)}",
            "choose another quantization in output.formats",
            channel,
        )
    accuracy = float((answers.argmax(axis=1) == asked_about.labels).mean())
    facts |= {"accuracy": accuracy, "accuracyDrop": asked_about.accuracy - accuracy, "images": len(answers)}
    limit = plan.resolved.max_accuracy_drop
    # Written so that a NaN is refused too.
    if not (facts["accuracyDrop"] <= limit and np.isfinite(answers).all()):
        why = f"has an accuracy of {accuracy:.4f} on {len(answers)} images, the trained model "
        why += f"{asked_about.accuracy:.4f}"
        return _refused(
            facts, why, f"choose another quantization, or raise output.maxAccuracyDrop ({limit:g})", channel
        )
    (folder / file).write_bytes(content)
    return facts | {"file": file, "bytes": len(content)}


def _refused(facts: dict[str, Any], why: str, fix: str, channel: Channel) -> dict[str, Any]:
    message = f"TFLite {facts['quantization']} is not published: it {why}. Fix: {fix}"
    channel.emit(WarningEvent(reason="FormatRefused", message=message))
    return facts | {"refused": why}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300] or type(error).__name__
