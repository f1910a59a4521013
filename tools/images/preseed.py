"""Fill a folder with the ImageNet weights that jobs will ask for, to put it into an image or onto a volume.

    KERAS_HOME=keras python tools/images/preseed.py EfficientNetLite0 MobileNetV2:160 MobileNetV2:96:0.35

Each is a backbone, or backbone:imageSize, or backbone:imageSize:alpha; MobileNet and MobileNetV2 have weights for each
size. Runs where the trainer's packages are and Keras may download; EfficientNetLite needs its package as well.
"""

import sys

from finetune_api.errors import FineTuneError
from finetune_trainer import backbone, efficientnet_lite, lite_weights, weights
from finetune_trainer.architectures import ARCHITECTURES


def main(wanted: list[str]) -> int:
    """The exit status: 0, or that of the first that cannot be had."""
    if not wanted or wanted[0].startswith("-"):
        print(__doc__)
        return 64
    try:
        for one in wanted:
            _fetch(*one.split(":"))
    except FineTuneError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    return 0


def _fetch(name: str, size: str = "", alpha: str = "1.0") -> None:
    if name not in ARCHITECTURES:
        sys.exit(f"{name} is none of {', '.join(ARCHITECTURES)}")
    image_size = int(size or ARCHITECTURES[name].default_size)
    if name in efficientnet_lite.VARIANTS:
        lite_weights.convert(name, lite_weights.packaged_file(name), lite_weights.converted_file(name))
    # Loading is the proof that a job will find it.
    weights.load_imagenet(backbone.build(name, image_size, float(alpha)), name, image_size, float(alpha))
    print(f"{name}: in {lite_weights.keras_models()}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
