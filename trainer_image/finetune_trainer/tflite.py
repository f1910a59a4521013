"""The model for phones and boards: one LiteRT (TensorFlow Lite) file, and what such a file answers.

    serving_default   image uint8 [1, S, S, 3]  ->  probabilities float32 [1, C]

LiteRT has no strings, so whoever asks decodes and resizes the image; scaling and everything after it are in the
file. The input is the same for every quantization: plain RGB from 0 to 255.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from finetune_api.plan import Quantization
from finetune_trainer import export
from finetune_trainer.questions import Pixels

Tick = Callable[[], None]


def convert(
    classifier: export.Classifier,
    quantization: Quantization,
    samples: Sequence[Pixels],
    scratch: Path,
    tick: Tick = lambda: None,
) -> bytes:
    """The file's content. `samples` [S, S, 3] show Int8 the range of every activation; others need none.

    Float16 halves the weights and computes in float32; Int8 does everything in integers. Raises what TensorFlow's
    converter raises when it does not know an operation.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        _save(classifier, quantization, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if quantization != "Float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantization == "Float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantization == "Int8":
            converter.representative_dataset = lambda: _calibration(samples, tick)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.uint8
            converter.inference_output_type = tf.float32
        return bytes(converter.convert())


def answers(content: bytes, images: Sequence[Pixels], tick: Tick = lambda: None) -> NDArray[np.float32]:
    """Probabilities [n, C] that the file `content` gives for `images` [S, S, 3]."""
    with warnings.catch_warnings():
        # TensorFlow's own interpreter is announced to go; its successor is a package of its own.
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated", UserWarning)
        run = tf.lite.Interpreter(model_content=content).get_signature_runner()
    rows = []
    for image in images:
        rows.append(run(image=image[np.newaxis])["probabilities"][0])
        tick()
    return np.array(rows, np.float32)


def _save(classifier: export.Classifier, quantization: Quantization, folder: Path) -> None:
    """As a SavedModel whose variables the converter can make constants of."""
    size = classifier.image_size
    # Integers are calibrated from floats; the converter then puts its own uint8 input in front.
    spec = tf.TensorSpec([1, size, size, 3], tf.float32 if quantization == "Int8" else tf.uint8, name="image")

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": classifier.probabilities(classifier.features(image))}

    traced = tf.function(answer, input_signature=[spec], autograph=False).get_concrete_function()
    tf.saved_model.save(export.variables(classifier), str(folder), {"serving_default": traced})


def _calibration(samples: Sequence[Pixels], tick: Tick) -> Iterator[list[NDArray[np.float32]]]:
    for number, sample in enumerate(samples):
        image: NDArray[Any] = sample.astype(np.float32)
        if number == 0:
            # The whole range of a byte, so that the input's scale is 1 and pixels go in as they are.
            image[0, 0], image[-1, -1] = 0.0, 255.0
        tick()
        yield [image[np.newaxis]]
