"""What a stage costs at least: each picture decoded once, one forward pass, and the trained part's own steps.

Measured in a process of its own with all cores and nothing else to do: no second process, no collectives, no
start-up, no tracing, no validation. tf_keras computes it, as BatchNormalization is fused there. Run as a
program it prints one JSON line of seconds by name.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.trainer.settings import LAST_FROZEN, Settings, pictures

CLASSES = 5
WARM_UP = 3
STEPS = 20
LIMIT_SECONDS = 1800


def measure(settings: Settings) -> dict[str, float]:
    """Seconds by part, for the whole stage, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.trainer.floor", settings.dump()]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    parts: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return parts


def _decode(settings: Settings) -> tuple[Any, float]:
    """All pictures of both splits as one array, and the seconds that took."""
    import tensorflow as tf

    size = (settings.image_size, settings.image_size)
    files = [file for folder in (settings.train, settings.validation) for file in pictures(Path(folder))[0]]

    def load(file: Any) -> Any:
        return tf.image.resize(tf.io.decode_jpeg(tf.io.read_file(file), channels=3), size)

    data = (
        tf.data.Dataset.from_tensor_slices(files)
        .map(load, tf.data.AUTOTUNE)
        .batch(settings.global_batch_size)
    )
    for _ in data.take(1):  # the pipeline's own start-up
        pass
    began = time.perf_counter()
    batches = list(data)
    return tf.concat(batches, axis=0) / 127.5 - 1.0, time.perf_counter() - began


def _split(settings: Settings) -> tuple[Any, Any]:
    """The frozen part and the trained part of MobileNetV2 with its head; either may be the identity."""
    import tf_keras as keras

    shape = (settings.image_size, settings.image_size, 3)
    base = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=shape)
    top = keras.layers.GlobalAveragePooling2D()
    head = keras.layers.Dense(CLASSES)
    if settings.mode == "frozen":
        pooled = keras.Model(base.input, top(base.output))
        return pooled, keras.Sequential([keras.Input(pooled.output_shape[1:]), head])
    if settings.mode == "everything":
        return None, keras.Model(base.input, head(top(base.output)))
    cut = base.get_layer(LAST_FROZEN).output
    tail = keras.Model(cut, head(top(base.output)))
    for layer in tail.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    return keras.Model(base.input, cut), tail


def _forward_seconds(trunk: Any, images: Any, batch: int) -> tuple[Any, float]:
    """The trunk's output for all images, and the seconds of one pass."""
    import tensorflow as tf

    call = tf.function(lambda rows: trunk(rows, training=False))
    starts = range(0, len(images) - batch + 1, batch)
    for start in starts[:WARM_UP]:
        call(images[start : start + batch])
    began = time.perf_counter()
    outputs = [call(images[start : start + batch]) for start in starts]
    seconds = time.perf_counter() - began
    return tf.concat(outputs, axis=0), seconds * len(images) / (len(starts) * batch)


def _step_seconds(tail: Any, settings: Settings, rows: Any) -> float:
    """One step of the trained part at the global batch size: the fastest of several, as it is a floor."""
    import tensorflow as tf
    import tf_keras as keras

    batch = settings.global_batch_size
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    labels = tf.constant([index % CLASSES for index in range(batch)])
    training = settings.mode == "everything"

    def step(inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(labels, tail(inputs, training=training))
        gradients = tape.gradient(value, tail.trainable_variables)
        optimizer.apply_gradients(zip(gradients, tail.trainable_variables, strict=True))
        return value

    traced = tf.function(step)
    return _fastest(lambda: float(traced(rows[:batch])))


def _fastest(call: Callable[[], object]) -> float:
    seconds = []
    for _ in range(WARM_UP + STEPS):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return min(seconds[WARM_UP:])


def main() -> None:
    settings = Settings.load(sys.argv[1])
    images, decode = _decode(settings)
    trunk, tail = _split(settings)
    rows, forward = (
        (images, 0.0) if trunk is None else _forward_seconds(trunk, images, settings.global_batch_size)
    )
    num_train = len(pictures(Path(settings.train))[0])
    steps = settings.epochs * -(-num_train // settings.global_batch_size)
    parts = {
        "decode": decode,
        "forward": forward,
        "steps": steps * _step_seconds(tail, settings, rows),
    }
    print(json.dumps(parts))


if __name__ == "__main__":
    main()
