"""The weights that both sides start from: MobileNetV2, random, with BatchNormalization statistics of real batches.

ImageNet's weights would be a download, and untouched random ones tell a head nothing: their activations die
out over fifty layers whose statistics fit nothing. One forward pass in training mode with momentum 0 mends
that. Run as a program (Keras 3 and tf_keras do not share a process here), it writes both formats.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from benchmarks.trainer.settings import Settings, pictures

PICTURES = 128
LIMIT_SECONDS = 600


def write_weights(settings: Settings) -> None:
    """Make `settings.weights` and the file beside it for tf_keras, unless they are there."""
    if not Path(settings.weights).exists():
        command = [sys.executable, "-m", "benchmarks.trainer.initial", settings.dump()]
        subprocess.run(command, check=True, timeout=LIMIT_SECONDS)


def sha256(settings: Settings) -> str:
    """What a FineTuneJob has to say of the file."""
    return hashlib.sha256(Path(settings.weights).read_bytes()).hexdigest()


def for_tutorial(settings: Settings) -> Path:
    """The same weights as arrays, named layer/number."""
    return Path(settings.weights).with_suffix(".npz")


def main() -> None:
    import keras
    import numpy as np

    settings = Settings.load(sys.argv[1])
    keras.utils.set_random_seed(settings.seed)
    size = settings.image_size
    model = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(size, size, 3))
    files = pictures(Path(settings.train))[0]
    chosen = files[:: len(files) // PICTURES]
    images = np.stack(
        [keras.utils.img_to_array(keras.utils.load_img(f, target_size=(size, size))) for f in chosen]
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images / 127.5 - 1.0, training=True)
    arrays = {
        f"{layer.name}/{number}": array
        for layer in model.layers
        for number, array in enumerate(layer.get_weights())
    }
    np.savez(for_tutorial(settings), **arrays)
    model.save_weights(settings.weights)


if __name__ == "__main__":
    main()
