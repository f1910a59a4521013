"""Field types with bounds: everything a user can write has a limit, here and in the CRD."""

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from finetune_api.v1alpha1 import units

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
NAME = f"^{_LABEL}$"
OBJECT_NAME = f"^{_SUBDOMAIN}$"
LABEL_KEY = f"^({_SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$"
LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
CONTROLLER = f"^{_SUBDOMAIN}/[A-Za-z0-9][-A-Za-z0-9_./]*$"
IMAGE = r"^[A-Za-z0-9][-A-Za-z0-9._/:@]*$"
URI = r"^[^\x00-\x1f\x7f]+$"
LINE = r"^[^\x00-\x1f\x7f]*$"
URL = r"^https?://[^\x00-\x20\x7f]+$"
SHA256 = r"^[0-9a-f]{64}$"
WEIGHTS = r"^(imagenet|none|[^\x00-\x1f\x7f]+\.weights\.h5)$"
ENV_NAME = r"^(NCCL_[A-Z0-9_]+|TF_CPP_[A-Z0-9_]+|(HTTPS?|NO|ALL)_PROXY|(https?|no|all)_proxy)$"

MEANINGS = {
    NAME: "lower-case letters, digits and dashes, such as flowers-2",
    OBJECT_NAME: "a Kubernetes name: lower-case letters, digits, dashes and dots",
    LABEL_KEY: "a label key such as topology.kubernetes.io/zone",
    LABEL_VALUE: "a label value: letters, digits, dashes, dots and underscores",
    CONTROLLER: "a controller's name such as kueue.x-k8s.io/multikueue",
    IMAGE: "a container image such as registry.example.com/team/trainer:1.2",
    URI: "text without control characters",
    LINE: "text without control characters",
    URL: "a URL that begins with http:// or https://",
    SHA256: "64 hexadecimal digits in lower case",
    WEIGHTS: "imagenet, none, or the URI of a *.weights.h5",
    ENV_NAME: "a name like NCCL_*, *_PROXY or TF_CPP_*",
    units.QUANTITY: "an amount such as 512, 20Gi or 1.5G",
    units.DURATION: "a time such as 90s, 10m or 1h30m",
}
"""What each pattern asks for, in words."""

_LONGEST_SUBDOMAIN = 253
_LARGEST = 2**53 - 1
"""The largest number that JSON readers agree on."""


def _quantity_text(value: object) -> object:
    if isinstance(value, str):
        return value
    if type(value) is int and 0 <= value <= _LARGEST:
        return str(value)
    raise PydanticCustomError(
        "unit", "{message}", {"message": f"{value!r} is not {MEANINGS[units.QUANTITY]}"}
    )


def _readable_by(parse: Callable[[str], object]) -> Callable[[str], str]:
    def check(text: str) -> str:
        try:
            parse(text)
        except ValueError as error:
            raise PydanticCustomError("unit", "{message}", {"message": str(error)}) from None
        return text

    return check


def _only_true(on: bool) -> bool:
    if not on:
        raise PydanticCustomError("presence", "can only be true; leave it out instead of false")
    return on


def _prefix_fits(key: str) -> str:
    if len(key.rpartition("/")[0]) > _LONGEST_SUBDOMAIN:
        raise PydanticCustomError("prefix", f"has more than {_LONGEST_SUBDOMAIN} characters before the /")
    return key


Quantity = Annotated[
    str,
    StringConstraints(max_length=32),
    BeforeValidator(_quantity_text),
    AfterValidator(_readable_by(units.parse_quantity)),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": units.QUANTITY,
            "minimum": 0,
            "maximum": _LARGEST,
            "maxLength": 32,
        }
    ),
]
"""An amount as Kubernetes writes it: 512, 20Gi, 1.5G, 500m."""

Duration = Annotated[
    str,
    StringConstraints(max_length=32),
    AfterValidator(_readable_by(units.parse_duration)),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": 32,
            "x-kubernetes-validations": [
                {
                    "rule": f"self.matches(r'{units.DURATION}') && self.matches('[1-9]')",
                    "message": f"expected {MEANINGS[units.DURATION]}",
                }
            ],
        }
    ),
]
"""A time as Kubernetes writes it: 90s, 10m, 1h30m."""

Presence = Annotated[bool, AfterValidator(_only_true), WithJsonSchema({"type": "boolean", "enum": [True]})]
"""A choice that is made by being there: only `true` can be said."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=NAME)]
ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=OBJECT_NAME)]
"""Name of another object, always in the job's own namespace."""
QueueName = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=OBJECT_NAME)]
"""Name of an object that pods or Jobs carry as a label."""
LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=LABEL_KEY)]
MetadataKey = Annotated[
    str, StringConstraints(min_length=1, max_length=317, pattern=LABEL_KEY), AfterValidator(_prefix_fits)
]
"""Key of a label of the job itself: the API server's own limits."""
LabelValue = Annotated[str, StringConstraints(max_length=63, pattern=LABEL_VALUE)]
EnvName = Annotated[str, StringConstraints(max_length=128, pattern=ENV_NAME)]
Uri = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=URI)]
"""Where something lies: s3:// gs:// az:// file:// or a path."""
Url = Annotated[str, StringConstraints(max_length=253, pattern=URL)]
Weights = Annotated[str, StringConstraints(max_length=1024, pattern=WEIGHTS)]
Sha256 = Annotated[str, StringConstraints(min_length=64, max_length=64, pattern=SHA256)]
Controller = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=CONTROLLER)]
Image = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=IMAGE)]
Line = Annotated[str, StringConstraints(max_length=1024, pattern=LINE)]
Text = Annotated[str, StringConstraints(max_length=1024)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=253)]
Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
Seconds = Annotated[int, Field(ge=1, le=31_536_000)]
Count = Annotated[int, Field(ge=0, le=2_147_483_647)]
