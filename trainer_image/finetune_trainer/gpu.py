"""Whether TensorFlow can use the GPUs that are there."""

import os
from pathlib import Path

import tensorflow as tf

from finetune_api.errors import BadConfiguration

DEVICES = "nvidia[0-9]*"
_NONE = ("", "-1")
"""Values of CUDA_VISIBLE_DEVICES that hide all GPUs."""


def require_usable(devices: Path = Path("/dev")) -> None:
    """Raise BadConfiguration where this machine shows GPUs that TensorFlow, built for them, cannot use.

    It would train on the processors instead, without a word and many times slower.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in _NONE
    shown = len(list(devices.glob(DEVICES)))
    if hidden or not shown or not tf.test.is_built_with_cuda() or tf.config.list_physical_devices("GPU"):
        return
    raise BadConfiguration(
        "GpuUnusable",
        f"NVIDIA GPUs are here ({shown}), but TensorFlow can use none of them",
        "a driver for CUDA 12, and the libraries of the trainer's lock",
        "see why with TF_CPP_MIN_LOG_LEVEL=0 and TF_CPP_VMODULE=dso_loader=1 in the environment, "
        "or set CUDA_VISIBLE_DEVICES=-1 to train without GPUs",
    )
