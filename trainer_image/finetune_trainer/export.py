"""The SavedModel: from encoded images to probabilities, with nothing of Keras or training left in it.

    serving_default   image_bytes string [N]     -> probabilities [N, C], labels [N, C], label [N], score [N]
    predict_pixels    images uint8 [N, H, W, 3]  -> the same; any H and W
    extract_features  image_bytes string [N]     -> features [N, width]

Images are decoded by the function that training used, so a served image and a training image are the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from finetune_api.plan import ResolvedJob
from finetune_trainer import backbone, decode, graph, heads, shims, weights
from finetune_trainer.inference import for_inference
from finetune_trainer.stage_model import pool
from finetune_trainer.state import Arrays

DECODED_AT_A_TIME = 8


@dataclass(frozen=True)
class Classifier:
    """A trained model's parts, built outside any strategy, with their weights."""

    backbone: Any
    """Keras model: what `preprocess` gives -> features [N, h, w, width]."""
    preprocess: Callable[[tf.Tensor], tf.Tensor]
    """float32 RGB 0..255 -> the backbone's input."""
    pooling: str
    head: Any
    """Keras model: features [N, width] -> logits [N, C]."""
    image_size: int
    max_pixels: int

    def features(self, images: tf.Tensor) -> tf.Tensor:
        """RGB 0..255 [N, S, S, 3] of any type -> [N, width]."""
        prepared = self.preprocess(tf.cast(images, tf.float32))
        return pool(self.backbone(prepared, training=False), self.pooling)

    def probabilities(self, features: tf.Tensor) -> tf.Tensor:
        """[N, width] -> [N, C]."""
        return tf.nn.softmax(self.head(features, training=False))


def assemble(job: ResolvedJob, arrays: Arrays, num_classes: int) -> Classifier:
    """The job's model with the weights `arrays`: the whole backbone's by path, and the head's."""
    skeleton = graph.skeleton(job.backbone, job.image_size, job.alpha)
    whole = keras.models.clone_model(skeleton, clone_function=shims.clone_layer)
    for weight, original in zip(whole.weights, skeleton.weights, strict=True):
        weight.assign(arrays[original.path])
    weights.settle(whole)
    head = heads.build(int(skeleton.output.shape[-1]), job.hidden, num_classes, job.dropout)
    for weight, name in zip(head.weights, heads.names(job.hidden), strict=True):
        weight.assign(arrays[name])
    preprocess = backbone.preprocess(job.backbone)
    return Classifier(for_inference(whole), preprocess, job.pooling, head, job.image_size, job.max_pixels)


def export(classifier: Classifier, classes: Sequence[str], folder: Path) -> None:
    """Write the SavedModel of `classifier`, whose class names are `classes` in label order, into `folder`."""
    size = classifier.image_size
    fitted = tf.TensorSpec([None, size, size, 3], tf.uint8)
    contents = tf.TensorSpec([None], tf.string, name="image_bytes")
    # Traced once and called by every signature: tracing is what takes the time.
    decoded = _function(lambda image_bytes: _decoded(image_bytes, classifier), contents)
    features = _function(classifier.features, fitted)
    answer = _function(lambda images: _answer(classifier, features(images), classes), fitted)
    signatures = {
        "serving_default": _function(lambda image_bytes: answer(decoded(image_bytes)), contents),
        "predict_pixels": _function(
            lambda images: answer(decode.fit(images, size)),
            tf.TensorSpec([None, None, None, 3], tf.uint8, name="images"),
        ),
        "extract_features": _function(
            lambda image_bytes: {"features": features(decoded(image_bytes))}, contents
        ),
    }
    tf.saved_model.save(
        variables(classifier),
        str(folder),
        signatures,
        tf.saved_model.SaveOptions(experimental_custom_gradients=False),
    )


def variables(classifier: Classifier) -> tf.Module:
    """What the SavedModel holds beside the graphs: TensorFlow's own variables.

    keras.export.ExportArchive tracks Keras' variables and TensorFlow's inside them, and writes each twice.
    """
    module = tf.Module()
    module.weights = [
        weight.value for part in (classifier.backbone, classifier.head) for weight in part.weights
    ]
    return module


def _function(body: Callable[[tf.Tensor], Any], spec: tf.TensorSpec) -> Any:
    return tf.function(body, input_signature=[spec], autograph=False).get_concrete_function()


def _decoded(contents: tf.Tensor, classifier: Classifier) -> tf.Tensor:
    size = classifier.image_size
    return tf.map_fn(
        lambda image: decode.image(image, size, classifier.max_pixels),
        contents,
        fn_output_signature=tf.TensorSpec([size, size, 3], tf.uint8),
        parallel_iterations=DECODED_AT_A_TIME,
    )


def _answer(classifier: Classifier, features: tf.Tensor, classes: Sequence[str]) -> dict[str, tf.Tensor]:
    probabilities = classifier.probabilities(features)
    names = tf.constant(list(classes), tf.string)
    return {
        "probabilities": probabilities,
        "labels": tf.tile(names[tf.newaxis], [tf.shape(probabilities)[0], 1]),
        "label": tf.gather(names, tf.argmax(probabilities, axis=-1)),
        "score": tf.reduce_max(probabilities, axis=-1),
    }
