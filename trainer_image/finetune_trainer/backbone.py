"""Backbones with real variables, and what happens to pixels before they go in."""

import random
from collections.abc import Callable
from typing import Any

import keras

from finetune_trainer import graph
from finetune_trainer.architectures import ARCHITECTURES


def build(name: str, image_size: int, alpha: float = 1.0, seed: int = 0) -> Any:
    """Build a backbone without a top: float32 [N,S,S,3] to features [N,h,w,C].

    Its random weights are decided by `seed`; layer names and variable paths are the same at each build.
    """
    before = random.getstate()
    # Keras draws the seeds of unseeded initializers and dropout layers from Python's generator.
    random.seed(seed)
    try:
        with graph.fresh_names():
            return ARCHITECTURES[name].construct(image_size, alpha)
    finally:
        random.setstate(before)


def preprocess(name: str) -> Callable[[Any], Any]:
    """Return what turns RGB images, float32 [N,S,S,3] of 0..255, into the network's input (TensorFlow)."""
    mode = ARCHITECTURES[name].family.preprocessing

    def apply(images: Any) -> Any:
        if mode == "builtin":
            return images
        return keras.applications.imagenet_utils.preprocess_input(
            images, data_format="channels_last", mode=mode
        )

    return apply
