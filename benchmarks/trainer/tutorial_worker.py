"""Side A, one worker: TensorFlow's tutorials on multi-worker training and transfer learning, put together.

Written as a careful user would write it, and no cleverer: MultiWorkerMirroredStrategy, tf_keras (Keras 3's
`fit` does not work under this strategy), a tf.data pipeline with a cache of decoded images, `compile`, `fit`.
TF_CONFIG comes from the environment, the settings are the first argument, the result is one JSON line.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras as keras

from benchmarks.trainer import initial
from benchmarks.trainer.settings import LAST_FROZEN, Settings, pictures

IMPORTED = time.time()


class Stopwatch(keras.callbacks.Callback):  # type: ignore[misc]
    """Notes when each epoch ended, its validation included, and how long validation took."""

    def __init__(self) -> None:
        super().__init__()
        self.epoch_ends: list[float] = []
        self.validation_seconds = 0.0
        self._validation_began = 0.0

    def on_test_begin(self, _logs: object = None) -> None:
        """Validation begins."""
        self._validation_began = time.time()

    def on_test_end(self, _logs: object = None) -> None:
        """Validation ends."""
        self.validation_seconds += time.time() - self._validation_began

    def on_epoch_end(self, _epoch: int, _logs: object = None) -> None:
        """Called after the epoch's validation."""
        self.epoch_ends.append(time.time() - IMPORTED)


def dataset(folder: str, settings: Settings, shuffle: bool) -> tf.data.Dataset:
    """Decode once, cache, batch globally; sharded by data, as happens by itself for such a source."""
    files, labels, _ = pictures(Path(folder))
    size = (settings.image_size, settings.image_size)

    def load(file: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.io.decode_jpeg(tf.io.read_file(file), channels=3)
        return tf.image.resize(image, size), label

    data = tf.data.Dataset.from_tensor_slices((files, labels)).map(load, tf.data.AUTOTUNE).cache()
    if shuffle:
        data = data.shuffle(len(files), seed=settings.seed)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return data.batch(settings.global_batch_size).prefetch(tf.data.AUTOTUNE).with_options(options)


def load(base: keras.Model, settings: Settings) -> None:
    """Put the initial weights into the backbone."""
    with np.load(initial.for_tutorial(settings)) as arrays:
        for layer in base.layers:
            count = len(layer.get_weights())
            layer.set_weights([arrays[f"{layer.name}/{number}"] for number in range(count)])


def freeze(base: keras.Model, mode: str) -> None:
    """Which layers of the backbone are trained."""
    base.trainable = mode != "frozen"
    if mode != "top":
        return
    names = [layer.name for layer in base.layers]
    for layer in base.layers[: names.index(LAST_FROZEN) + 1]:
        layer.trainable = False
    for layer in base.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def model(settings: Settings, classes: int) -> keras.Model:
    """Rescaling, MobileNetV2, average pooling, a linear head."""
    shape = (settings.image_size, settings.image_size, 3)
    base = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=shape)
    load(base, settings)
    freeze(base, settings.mode)
    inputs = keras.Input(shape)
    features = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    # The guide's advice: batch statistics only where everything is trained.
    features = base(features) if settings.mode == "everything" else base(features, training=False)
    outputs = keras.layers.Dense(classes)(keras.layers.GlobalAveragePooling2D()(features))
    built = keras.Model(inputs, outputs)
    built.compile(
        keras.optimizers.Adam(settings.learning_rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        ["accuracy"],
    )
    return built


def main() -> None:
    settings = Settings.load(sys.argv[1])
    keras.utils.set_random_seed(settings.seed)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    train = dataset(settings.train, settings, shuffle=True)
    validation = dataset(settings.validation, settings, shuffle=False)
    classes = len(pictures(Path(settings.train))[2])
    with strategy.scope():
        trained = model(settings, classes)
    watch = Stopwatch()
    began = time.time() - IMPORTED
    history = trained.fit(
        train, epochs=settings.epochs, validation_data=validation, verbose=0, callbacks=[watch]
    ).history
    result = {
        "imported": IMPORTED,
        "epoch_ends": watch.epoch_ends,
        "validation_seconds": watch.validation_seconds,
        "set_up_seconds": began,
        "train_accuracy": float(history["accuracy"][-1]),
        "val_accuracy": float(history["val_accuracy"][-1]),
    }
    Path(os.environ["BENCH_RESULT"]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
