"""What the backbones are: how to construct each, and the few facts its graph cannot tell.

Everything else about a backbone (layers, parameters, block boundaries, tensor shapes) is read off its graph.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import keras

from finetune_trainer import efficientnet_lite

Preprocessing = Literal["caffe", "tf", "torch", "builtin"]


@dataclass(frozen=True)
class Family:
    """What the members of one family of backbones have in common."""

    preprocessing: Preprocessing
    """How pixels 0..255 become the network's input: Keras' mode, or `builtin`: the network does it itself."""
    unit: re.Pattern[str]
    """Finds the block (residual, inception or dense unit) a layer belongs to; group 1 names the block."""
    ends_only: bool = False
    """The pattern finds only the last layers of stem and blocks, not all; the others have automatic names."""
    min_size: int = 32
    license: str | None = None
    """Licence of the published ImageNet weights (SPDX); None where Keras' documentation names none."""
    alphas: tuple[float, ...] = ()
    """Width multipliers with published ImageNet weights; empty where there is no such knob."""


@dataclass(frozen=True)
class Architecture:
    """One backbone."""

    name: str
    family: Family
    default_size: int = 224
    top1: float | None = None
    """Published ImageNet accuracy in percent: keras.io's table, and what the authors of MobileNetV3 and
    EfficientNet-Lite give; None where these say nothing."""
    top5: float | None = None
    imagenet: bool = True
    """Whether ImageNet weights can be had for it."""

    def construct(self, image_size: int, alpha: float = 1.0) -> Any:
        """Build the network without a top, with random weights, for square images of `image_size` pixels."""
        if self.name in efficientnet_lite.VARIANTS:
            return efficientnet_lite.build(self.name, image_size)
        constructor: Callable[..., Any] = getattr(keras.applications, self.name)
        extra = {"alpha": alpha} if self.family.alphas else {}
        return constructor(include_top=False, weights=None, input_shape=(image_size, image_size, 3), **extra)


_VGG = Family("caffe", re.compile(r"(block\d+)_"), license="CC-BY-4.0")
_RESNET = Family("caffe", re.compile(r"(conv\d+_block\d+)_"), license="MIT")
_RESNET_V2 = Family("tf", re.compile(r"(conv\d+_block\d+)_"))
_INCEPTION = Family(
    "tf", re.compile(r"(max_pooling2d_1|mixed\d+)$"), ends_only=True, min_size=75, license="Apache-2.0"
)
_INCEPTION_RESNET = Family(
    "tf", re.compile(r"(mixed_\d[a-z]|block(?:35|17|8)_\d+)(?:$|_)"), min_size=75, license="Apache-2.0"
)
_XCEPTION = Family("tf", re.compile(r"(block(?!1_)\d+)_"), min_size=71, license="MIT")
_MOBILENET = Family(
    "tf", re.compile(r"conv_(?:pad|dw|pw)_(\d+)"), license="Apache-2.0", alphas=(0.25, 0.5, 0.75, 1.0)
)
_MOBILENET_V2 = Family(
    "tf", re.compile(r"(expanded_conv|block_\d+)_"), alphas=(0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
)
_MOBILENET_V3 = Family("builtin", re.compile(r"(expanded_conv(?:_\d+)?)_"), alphas=(0.75, 1.0))
_DENSENET = Family("torch", re.compile(r"(conv\d+_block\d+)_"), license="BSD-3-Clause")
_NASNET = Family(
    "tf",
    re.compile(r"(reduction_concat_(?:stem_2|reduce_\d+)|normal_concat_\d+)$"),
    ends_only=True,
    license="Apache-2.0",
)
_EFFICIENTNET = Family("builtin", re.compile(r"(block\d+[a-z]+)_"))
_EFFICIENTNET_LITE = replace(_EFFICIENTNET, license="Apache-2.0")
_CONVNEXT = Family("builtin", re.compile(r"convnext_[a-z]+_(stage_\d+_block_\d+)_"))


_ROWS = (
    Architecture("ConvNeXtTiny", _CONVNEXT),
    Architecture("ConvNeXtSmall", _CONVNEXT),
    Architecture("ConvNeXtBase", _CONVNEXT),
    Architecture("ConvNeXtLarge", _CONVNEXT),
    Architecture("ConvNeXtXLarge", _CONVNEXT),
    Architecture("DenseNet121", _DENSENET, 224, 75.0, 92.3),
    Architecture("DenseNet169", _DENSENET, 224, 76.2, 93.2),
    Architecture("DenseNet201", _DENSENET, 224, 77.3, 93.6),
    Architecture("EfficientNetB0", _EFFICIENTNET, 224, 77.1, 93.3),
    Architecture("EfficientNetB1", _EFFICIENTNET, 240, 79.1, 94.4),
    Architecture("EfficientNetB2", _EFFICIENTNET, 260, 80.1, 94.9),
    Architecture("EfficientNetB3", _EFFICIENTNET, 300, 81.6, 95.7),
    Architecture("EfficientNetB4", _EFFICIENTNET, 380, 82.9, 96.4),
    Architecture("EfficientNetB5", _EFFICIENTNET, 456, 83.6, 96.7),
    Architecture("EfficientNetB6", _EFFICIENTNET, 528, 84.0, 96.8),
    Architecture("EfficientNetB7", _EFFICIENTNET, 600, 84.3, 97.0),
    Architecture("EfficientNetLite0", _EFFICIENTNET_LITE, 224, 75.1),
    Architecture("EfficientNetLite1", _EFFICIENTNET_LITE, 240, 76.7),
    Architecture("EfficientNetLite2", _EFFICIENTNET_LITE, 260, 77.6),
    Architecture("EfficientNetLite3", _EFFICIENTNET_LITE, 280, 79.8, imagenet=False),
    Architecture("EfficientNetLite4", _EFFICIENTNET_LITE, 300, 81.5, imagenet=False),
    Architecture("EfficientNetV2B0", _EFFICIENTNET, 224, 78.7, 94.3),
    Architecture("EfficientNetV2B1", _EFFICIENTNET, 240, 79.8, 95.0),
    Architecture("EfficientNetV2B2", _EFFICIENTNET, 260, 80.5, 95.1),
    Architecture("EfficientNetV2B3", _EFFICIENTNET, 300, 82.0, 95.8),
    Architecture("EfficientNetV2L", _EFFICIENTNET, 480, 85.7, 97.5),
    Architecture("EfficientNetV2M", _EFFICIENTNET, 480, 85.3, 97.4),
    Architecture("EfficientNetV2S", _EFFICIENTNET, 384, 83.9, 96.7),
    Architecture("InceptionResNetV2", _INCEPTION_RESNET, 299, 80.3, 95.3),
    Architecture("InceptionV3", _INCEPTION, 299, 77.9, 93.7),
    Architecture("MobileNet", _MOBILENET, 224, 70.4, 89.5),
    Architecture("MobileNetV2", _MOBILENET_V2, 224, 71.3, 90.1),
    Architecture("MobileNetV3Large", _MOBILENET_V3, 224, 75.6),
    Architecture("MobileNetV3Small", _MOBILENET_V3, 224, 68.1),
    Architecture("NASNetLarge", _NASNET, 331, 82.5, 96.0),
    Architecture("NASNetMobile", _NASNET, 224, 74.4, 91.9),
    Architecture("ResNet101", _RESNET, 224, 76.4, 92.8),
    Architecture("ResNet101V2", _RESNET_V2, 224, 77.2, 93.8),
    Architecture("ResNet152", _RESNET, 224, 76.6, 93.1),
    Architecture("ResNet152V2", _RESNET_V2, 224, 78.0, 94.2),
    Architecture("ResNet50", _RESNET, 224, 74.9, 92.1),
    Architecture("ResNet50V2", _RESNET_V2, 224, 76.0, 93.0),
    Architecture("VGG16", _VGG, 224, 71.3, 90.1),
    Architecture("VGG19", _VGG, 224, 71.3, 90.0),
    Architecture("Xception", _XCEPTION, 299, 79.0, 94.5),
)

ARCHITECTURES = {row.name: row for row in _ROWS}
"""Every backbone by name, family by family."""
