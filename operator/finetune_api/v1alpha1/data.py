"""`spec.data`: the images and what becomes of them before the backbone sees them."""

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema, WrapValidator
from pydantic_core import PydanticCustomError

from finetune_api.v1alpha1.fields import Fraction, ObjectName, OpenFraction, Presence, Uri
from finetune_api.v1alpha1.schema import Model, Rule, exactly_one, reachable_by_pods

MAX_VIEWS = 64
_VIEWS = f"must be a number from 1 to {MAX_VIEWS}, or PerEpoch"


def _views(value: object, _: object) -> int | Literal["PerEpoch"]:
    if value == "PerEpoch" or (type(value) is int and 1 <= value <= MAX_VIEWS):
        return value
    raise PydanticCustomError("views", _VIEWS)


Views = Annotated[
    int | Literal["PerEpoch"],
    WrapValidator(_views),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "minimum": 1,
            "maximum": MAX_VIEWS,
            "maxLength": 8,
            "x-kubernetes-validations": [
                {"rule": "type(self) == int || self == 'PerEpoch'", "message": _VIEWS}
            ],
        }
    ),
]


class Validation(Model):
    """Images to judge by, never to train on: exactly one of split, uri and none."""

    split: OpenFraction | None = None
    """Share of each class's training images set aside, at least one on each side, the same ones for the same
    seed; such as 0.1."""
    uri: Uri | None = None
    """Images of their own, with the training images' format and class names."""
    none: Presence | None = None
    """No validation: no val_ metrics, and output.select must be Last."""

    rules = (exactly_one("split", "uri", "none"),)


class Transform(Model):
    """One random change of an image."""

    name: Literal["Flip", "Shift", "Zoom", "Rotate", "Brightness", "Contrast", "Saturation", "Erase"]
    """What is changed. Flip is sideways, for half of the views."""
    amount: Fraction = 0.1
    """How much at most, as a share of the side (Shift, Zoom, Erase), of a full turn (Rotate) or of the full
    range; Flip has none. Default 0.1."""


class Augmentation(Model):
    """Random changes to training images, each a function of seed, view and image: no worker or restart alters
    them."""

    preset: Literal["None", "Light", "Strong"] = "Light"
    """Light flips sideways, shifts and zooms by up to a tenth, and varies brightness and contrast. Strong goes
    further, turns, varies the saturation and covers a part. Default Light."""
    transforms: Annotated[list[Transform], Field(min_length=1, max_length=8)] | None = None
    """Changes one by one, instead of a preset, each at most once."""
    views: Views = 4
    """Different views of each image over the whole schedule, 1 to 64; each costs one pass through the frozen
    part and its share of the feature cache. PerEpoch makes a new one each epoch. Default 4."""

    rules = (
        Rule(
            "each transform at most once",
            lambda a: len({each.name for each in a.transforms or []}) == len(a.transforms or []),
            "!has(self.transforms) || self.transforms.all(t, self.transforms.exists_one(o, o.name == t.name))",
            "transforms",
        ),
    )


class DataSpec(Model):
    """The images. Paths are relative to the current folder, as for kubectl, or to the volume's root on a
    cluster."""

    train: Uri
    """Training images: s3:// gs:// az://, or on a laptop a path or file://, or on a cluster a path inside
    volumeClaimName; such as s3://bucket/flowers/train. Required."""
    validation: Validation = Validation(split=0.1)
    """Images to judge by. Default: a tenth of the training images, {split: 0.1}."""
    test: Uri | None = None
    """Images for one last judgement of the finished model; never looked at before."""
    format: Literal["ImageFolder", "TFRecord", "Manifest"] = "ImageFolder"
    """ImageFolder: <class>/**/<file>. TFRecord: tf.train.Examples. Manifest: CSV or JSONL of URI and label.
    Default ImageFolder."""
    volume_claim_name: ObjectName | None = None
    """PersistentVolumeClaim of the job's namespace that paths lie in; mounted read-only."""
    augmentation: Augmentation = Augmentation()
    """Random changes to training images."""
    class_weights: Literal["None", "Balanced"] = "None"
    """Balanced weighs each class by the inverse of its share. Default None."""
    max_corrupt_fraction: Fraction = 0.01
    """Share of files that may be unreadable or no images; they are left out and counted. More ends the job,
    with names. Default 0.01."""
    max_pixels: Annotated[int, Field(ge=1, le=1_000_000_000)] = 50_000_000
    """Width times height above which a file counts as unreadable, read from its header before it is decoded.
    Default 50000000."""

    rules = tuple(reachable_by_pods(field) for field in ("train", "validation.uri", "test"))
