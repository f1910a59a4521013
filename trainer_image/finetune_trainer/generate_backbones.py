"""Write the table of backbones, which the command line and the operator read, from Keras' graphs.

    python -m finetune_trainer.generate_backbones

Run it after a change of Keras' version, of a family's rule or of a published figure; a test compares.
"""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import keras

import finetune_api
from finetune_trainer import graph
from finetune_trainer.architectures import ARCHITECTURES, Architecture

FOLDER = Path(finetune_api.__file__).parent
TABLE = FOLDER / "backbones.json"
LAYERS = FOLDER / "backbone_layers.json.gz"


def describe(architecture: Architecture) -> tuple[dict[str, Any], dict[str, Any]]:
    """One backbone's row of the table, and its list of layers."""
    model = graph.skeleton(architecture.name, architecture.default_size)
    layers = model.layers
    family = architecture.family
    row = {
        "default_size": architecture.default_size,
        "min_size": family.min_size,
        "preprocessing": family.preprocessing,
        "params": _params(layers),
        "num_layers": len(layers),
        "feature_width": model.output.shape[-1],
        "feature_shape": list(model.output.shape[1:]),
        "batch_norms": _batch_norms(layers),
        "macs": _macs(layers),
        "top1": architecture.top1,
        "top5": architecture.top5,
        "license": family.license,
        "imagenet": architecture.imagenet,
        "alphas": list(family.alphas),
        "boundaries": [_boundary(layers, cut) for cut in graph.boundaries(model, family)],
    }
    listing = {
        "names": [layer.name for layer in layers],
        "trainable": [_trainable(layer) for layer in layers],
        "batch_norms": [i for i, layer in enumerate(layers) if _is_batch_norm(layer)],
    }
    return row, listing


def render_table(rows: dict[str, dict[str, Any]]) -> str:
    """One line per backbone, so that a change shows as the lines it touches."""
    lines = (f"{json.dumps(name)}: {json.dumps(row, separators=(',', ':'))}" for name, row in rows.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def render_layers(listings: dict[str, dict[str, Any]]) -> bytes:
    """The layer lists, compressed; the same bytes each time."""
    return gzip.compress(json.dumps(listings, separators=(",", ":")).encode(), mtime=0)


def main() -> None:
    """Regenerate both files in place."""
    rows, listings = {}, {}
    for name, architecture in ARCHITECTURES.items():
        rows[name], listings[name] = describe(architecture)
        print(f"{name}: {rows[name]['num_layers']} layers, {len(rows[name]['boundaries'])} blocks")
    TABLE.write_text(render_table(rows))
    LAYERS.write_bytes(render_layers(listings))


def _boundary(layers: list[Any], cut: graph.Cut) -> list[Any]:
    """The fields of `finetune_api.backbones.Boundary`, in their order."""
    below = layers[: cut.layers_below]
    return [cut.layers_below - 1, cut.names, cut.shapes, _params(below), _batch_norms(below), _macs(below)]


def _params(layers: list[Any]) -> int:
    return sum(layer.count_params() for layer in layers)


def _trainable(layer: Any) -> int:
    return sum(math.prod(variable.shape) for variable in layer.trainable_variables)


def _is_batch_norm(layer: Any) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization)


def _batch_norms(layers: list[Any]) -> int:
    return sum(_is_batch_norm(layer) for layer in layers)


def _macs(layers: list[Any]) -> int:
    """Multiplications of one forward pass for one image; only kernels count."""
    return sum(_layer_macs(layer) for layer in layers)


def _layer_macs(layer: Any) -> int:
    if isinstance(layer, keras.Sequential):
        return _macs(layer.layers)
    kernels = [v for v in layer.trainable_variables if "kernel" in v.name]
    if not kernels:
        return 0
    # Every weight of a kernel meets every output position once; in separable convolutions both kernels do.
    positions = math.prod(layer.output.shape[1:-1])
    return int(positions * sum(math.prod(kernel.shape) for kernel in kernels))


if __name__ == "__main__":
    main()
