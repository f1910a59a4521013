"""`spec.model`: what is fine-tuned."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from finetune_api import backbones
from finetune_api.v1alpha1 import backbone_rules
from finetune_api.v1alpha1.fields import Sha256, Weights
from finetune_api.v1alpha1.schema import Model, Rule, in_object_store


def _list_backbones(schema: dict[str, Any]) -> None:
    schema["enum"] = list(backbones.NAMES)


class Head(Model):
    """The new classifier on top of the backbone."""

    pooling: Literal["Average", "Max", "Flatten"] = "Average"
    """How the backbone's last feature map becomes a vector. Flatten keeps every position and makes heads
    large. Default Average."""
    hidden: list[Annotated[int, Field(ge=1, le=65536)]] = Field(default=[], max_length=4)
    """Units of ReLU layers between pooling and the output, such as [256]. Default none: a linear head, which
    is solved rather than trained."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the output layer's inputs dropped in each step of a stage trained by gradient, such as 0.2.
    Default 0."""


class ModelSpec(Model):
    """What is fine-tuned: a pretrained backbone and a new head."""

    backbone: Annotated[
        str, StringConstraints(min_length=1, max_length=64), Field(json_schema_extra=_list_backbones)
    ]
    """Name in keras.applications, or EfficientNetLite0 to 4, such as EfficientNetB0; `finetune backbones`
    lists them with size, accuracy and licence. Required."""
    weights: Weights = "imagenet"
    """What the backbone starts from: imagenet, none (random), or the URI of a *.weights.h5 of the same
    backbone, with weightsSha256. Default imagenet."""
    weights_sha256: Sha256 | None = None
    """SHA-256 of the weights file in lower-case hex, required when weights is a URI: weights decide what the
    model does, so a file that changed is refused."""
    image_size: Annotated[int, Field(ge=32, le=2048)] | None = None
    """Side in pixels of the square that images are resized to. Default: the backbone's own, such as 224.
    Smaller is faster and coarser; each backbone has a minimum."""
    task: Literal["Multiclass", "Binary", "Multilabel"] = "Multiclass"
    """One class of many, yes or no, or any number of labels per image. Default Multiclass."""
    head: Head = Head()
    """The new classifier on top of the backbone."""
    alpha: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Width multiplier of the MobileNet family, such as 0.5. Default 1."""

    rules = (
        Rule(
            "weights from a URI need weightsSha256, and only those: run `sha256sum` on the file",
            lambda m: (m.weights in ("imagenet", "none")) == (m.weights_sha256 is None),
            "(self.weights in ['imagenet', 'none']) == !has(self.weightsSha256)",
            "weightsSha256",
        ),
        in_object_store("weights", "imagenet", "none"),
        *backbone_rules.OF_MODEL,
    )
