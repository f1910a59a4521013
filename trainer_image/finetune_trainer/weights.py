"""What a backbone starts from: published ImageNet weights, a file or nothing; and weights as arrays.

Only `*.weights.h5` files are read: numbers and names, no code.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import h5py
import keras
import numpy as np
from numpy.typing import NDArray

from finetune_api.errors import BadData, BadJob, MissingInput
from finetune_api.plan import ResolvedJob
from finetune_trainer import efficientnet_lite, graph, lite_weights
from finetune_trainer.architectures import ARCHITECTURES

Arrays = dict[str, NDArray[Any]]

_KERAS_ELSEWHERE = Path("/tmp/.keras/models")
"""Where Keras looks when it cannot write to KERAS_HOME."""


class Downloads(Protocol):
    """The one thing asked of a store here."""

    def download(self, key: str, path: Path) -> None:
        """Copy the object `key` to a local file."""


def load_initial(model: Any, job: ResolvedJob, open_store: Callable[[str], Downloads], folder: Path) -> str:
    """Give a built backbone the weights that the job starts from; a digest of them.

    `open_store` opens the folder at a URI; a file from there is kept in `folder`. Raises BadJob (no such
    published weights), MissingInput (the file is not there), BadData (wrong SHA-256, another architecture).
    """
    if job.weights == "imagenet":
        load_imagenet(model, job.backbone, job.image_size, job.alpha)
    elif job.weights != "none":
        file = _download(job, open_store, folder)
        load_file(model, file, f"weights {job.weights}")
    return digest(to_arrays(model))


def load_imagenet(model: Any, name: str, image_size: int, alpha: float = 1.0) -> None:
    """Load the published ImageNet weights, from KERAS_HOME; what is not there, Keras downloads."""
    architecture = ARCHITECTURES[name]
    if not architecture.imagenet or (architecture.family.alphas and alpha not in architecture.family.alphas):
        raise BadJob(
            "NoImageNetWeights",
            f"there are no published ImageNet weights of {name}"
            + (f" with alpha {alpha}" if alpha != 1 else ""),
            f"alpha {', '.join(map(str, architecture.family.alphas))}" if architecture.family.alphas else "",
            "choose another backbone, or give weights a URI or none",
        )
    if name in efficientnet_lite.VARIANTS:
        _load_lite(model, name)
    else:
        _copy(_keras_imagenet(name, image_size, alpha), model)


def load_file(model: Any, file: Path, called: str) -> None:
    """Load a `*.weights.h5` saved from the same network without its top; `called` names it in errors.

    Raises BadData (reason WeightsUnreadable or WeightsMismatch).
    """
    try:
        shapes = _shapes_in(file)
    except OSError as error:
        raise BadData(
            "WeightsUnreadable", f"{called} is not a weights file: {error}", "a Keras *.weights.h5"
        ) from error
    wanted = sorted(tuple(weight.shape) for weight in model.weights)
    mismatch = BadData(
        "WeightsMismatch",
        f"{called} belongs to another network: {len(shapes)} tensors, {_count(shapes):,} numbers",
        f"weights of {model.name} without its top: {len(wanted)} tensors, {_count(wanted):,} numbers",
        "save them from the same backbone and alpha with include_top=False, or change backbone",
    )
    if shapes != wanted:
        raise mismatch
    try:
        model.load_weights(file)
    except ValueError as error:
        raise mismatch from error


def to_arrays(model: Any) -> Arrays:
    """All weights by path: the same for each build of a backbone, and for a trunk or tail split from it."""
    return {weight.path: weight.value.numpy() for weight in model.weights}


def from_arrays(model: Any, arrays: Arrays) -> None:
    """Set all weights from arrays by path; more arrays than weights are fine.

    Raises BadData (reason WeightsMismatch) when one is missing or has another shape; nothing is set then.
    """
    for weight in model.weights:
        found = arrays.get(weight.path)
        if found is None or found.shape != tuple(weight.shape):
            what = "missing" if found is None else f"of shape {found.shape}"
            raise BadData("WeightsMismatch", f"{weight.path} is {what}", f"shape {tuple(weight.shape)}")
    for weight in model.weights:
        weight.assign(arrays[weight.path])
    settle(model)


def settle(model: Any) -> None:
    """Let Normalization layers see weights that were just assigned: they compute with copies of them."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def digest(arrays: Arrays) -> str:
    """SHA-256, as hex, over names, types, shapes and values."""
    total = hashlib.sha256()
    for path in sorted(arrays):
        values = np.ascontiguousarray(arrays[path])
        total.update(f"{path} {values.dtype.str} {values.shape}\n".encode())
        total.update(values.tobytes())
    return total.hexdigest()


def _download(job: ResolvedJob, open_store: Callable[[str], Downloads], folder: Path) -> Path:
    parent, _, key = job.weights.rpartition("/")
    file = folder / key
    folder.mkdir(parents=True, exist_ok=True)
    if file.is_file() and _sha256(file) == job.weights_sha256:
        return file
    open_store(parent or ".").download(key, file)
    found = _sha256(file)
    if found != job.weights_sha256:
        raise BadData(
            "WeightsChecksum",
            f"{job.weights} has SHA-256 {found}",
            f"{job.weights_sha256}, which weightsSha256 says",
            "if the file is the right one, change weightsSha256",
        )
    return file


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _load_lite(model: Any, name: str) -> None:
    file = lite_weights.converted_file(name)
    if not file.is_file():
        raise MissingInput(
            "LiteWeightsMissing",
            f"the ImageNet weights of {name} have not been converted",
            f"{file}",
            f"run `{lite_weights.command(name)}`",
        )
    load_file(model, file, str(file))


def _keras_imagenet(name: str, image_size: int, alpha: float) -> Any:
    """Keras' own network with ImageNet weights, which it looks for in KERAS_HOME, downloads and checks."""
    extra = {"alpha": alpha} if ARCHITECTURES[name].family.alphas else {}
    shape = (image_size, image_size, 3)
    constructor = getattr(keras.applications, name)
    _link_unwritable(lite_weights.keras_models())
    try:
        with graph.fresh_names():
            return constructor(include_top=False, weights="imagenet", input_shape=shape, **extra)
    except Exception as error:
        # Keras raises a bare Exception when it cannot download, and ValueError when what came is damaged.
        if "URL fetch failure" in str(error):
            raise MissingInput(
                "ImageNetWeightsMissing",
                f"the ImageNet weights of {name} cannot be downloaded: {error}",
                f"network access, or the file of that name in {lite_weights.keras_models()}",
                "put the file there (KERAS_HOME moves the folder), or give weights a URI",
            ) from error
        if "corrupted file" in str(error):
            raise BadData(
                "WeightsChecksum",
                f"the ImageNet weights of {name} are damaged: {error}",
                fix=f"empty {lite_weights.keras_models()}",
            ) from error
        raise


def _link_unwritable(models: Path) -> None:
    """Let Keras find files in a KERAS_HOME that cannot be written, such as one in an image."""
    if os.access(models.parent, os.W_OK):
        return
    _KERAS_ELSEWHERE.mkdir(parents=True, exist_ok=True)
    for file in models.glob("*"):
        # Whole at any moment: other processes may be looking.
        link = _KERAS_ELSEWHERE / f".{os.getpid()}.{file.name}"
        link.symlink_to(file)
        link.replace(_KERAS_ELSEWHERE / file.name)


def _copy(source: Any, model: Any) -> None:
    """Copy weights between two builds of a network, the first by Keras with `imagenet`, ours without.

    For EfficientNetB0 to B7 Keras then puts one more rescaling behind the normalization of pixels. A smaller
    variance there says the same, so that the graph stays the one without ImageNet weights.
    """
    for theirs, ours in zip(source.weights, model.weights, strict=True):
        ours.assign(theirs)
    rescalings = [layer for layer in source.layers if isinstance(layer, keras.layers.Rescaling)]
    own = [layer for layer in model.layers if isinstance(layer, keras.layers.Rescaling)]
    for extra in rescalings[len(own) :]:
        (normalization,) = (layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
        variance = normalization.adapt_variance
        variance.assign(variance.value / np.square(extra.scale))
    settle(model)


def _shapes_in(file: Path) -> list[tuple[int, ...]]:
    """Shapes of all weights in a Keras weights file, sorted; states of random generators are none."""
    shapes = []

    def visit(path: str, item: Any) -> None:
        if (
            isinstance(item, h5py.Dataset)
            and "seed_generator" not in path
            and path.split("/")[0] != "optimizer"
        ):
            shapes.append(tuple(item.shape))

    with h5py.File(file, "r") as opened:
        opened.visititems(visit)
    return sorted(shapes)


def _count(shapes: list[tuple[int, ...]]) -> int:
    return int(sum(np.prod(shape, dtype=np.int64) for shape in shapes))
