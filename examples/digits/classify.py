"""Classifies image files with a published model and nothing but TensorFlow.

python classify.py MODEL IMAGE...      MODEL is the folder that holds saved_model.pb
"""

import sys
from pathlib import Path

import tensorflow as tf


def main(model: str, images: list[str]) -> None:
    """Print name, label and score of each image."""
    serve = tf.saved_model.load(model).signatures["serving_default"]
    answers = serve(image_bytes=tf.constant([Path(image).read_bytes() for image in images]))
    for image, label, score in zip(images, answers["label"].numpy(), answers["score"].numpy(), strict=True):
        print(f"{image}: {label.decode()} ({score:.3f})")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
