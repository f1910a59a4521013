"""What is ready-made: schedules, written as the stages a user would write, and augmentations as their transforms."""

from finetune_api.v1alpha1 import Augmentation, LrSchedule, Optimizer, Stage, Unfreeze
from finetune_api.v1alpha1.job import Preset

DEFAULT: Preset = "LinearProbeThenFineTune"

_LIGHT = {"Flip": 0.0, "Shift": 0.1, "Zoom": 0.1, "Brightness": 0.1, "Contrast": 0.1}
_STRONG = {
    "Flip": 0.0,
    "Shift": 0.15,
    "Zoom": 0.25,
    "Rotate": 0.04,
    "Brightness": 0.2,
    "Contrast": 0.3,
    "Saturation": 0.3,
    "Erase": 0.3,
}
_AUGMENTATIONS: dict[str, dict[str, float]] = {"None": {}, "Light": _LIGHT, "Strong": _STRONG}


def transforms(augmentation: Augmentation) -> dict[str, float]:
    """What changes in an image and how far at most; amounts as in `spec.data.augmentation.transforms`."""
    if augmentation.transforms is not None:
        return {each.name: each.amount for each in augmentation.transforms}
    return dict(_AUGMENTATIONS[augmentation.preset])


def stages(preset: Preset) -> list[Stage]:
    """The stages of a preset.

    Each begins with the head alone: gradients of a random head would spoil pretrained features (Kumar et al.,
    2022). What follows trains from the top at low rates, with BatchNormalization frozen.
    """
    match preset:
        case "LinearProbeThenFineTune":
            return [_head(), _finetune("finetune", blocks=2, epochs=10, learning_rate=1e-4)]
        case "Gradual":
            return [
                _head(),
                _finetune("top1", blocks=1, epochs=4, learning_rate=1e-4),
                _finetune("top2", blocks=2, epochs=4, learning_rate=5e-5),
                _finetune("top4", blocks=4, epochs=4, learning_rate=2.5e-5),
            ]
        case "HeadOnly":
            return [_head()]


def _head() -> Stage:
    # Optimizer and epochs are left open: a linear head is solved, one with hidden layers is trained.
    return Stage(name="head", unfreeze=Unfreeze(blocks=0))


def _finetune(name: str, *, blocks: int, epochs: int, learning_rate: float) -> Stage:
    return Stage(
        name=name,
        unfreeze=Unfreeze(blocks=blocks),
        epochs=epochs,
        learning_rate=learning_rate,
        optimizer=Optimizer(name="Adam"),
        lr_schedule=LrSchedule(kind="Cosine", warmup_epochs=1),
    )
