"""What every model of this version is made of: one strict base class, and rules between fields.

A `Rule` is written once and holds twice: as a check in Python and as CEL in the CRD.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, NamedTuple, Self, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError


@cache
def field_name(name: str) -> str:
    """A field as YAML spells it: image_size -> imageSize, model_uri -> modelURI, like Kubernetes' own
    fields."""
    return re.sub("(?<=[a-z])(Uri|Uid|Id)$", lambda found: found[0].upper(), to_camel(name))


class Rule(NamedTuple):
    """A relation between fields of one model."""

    message: str
    """What is expected and how to get there, for people."""
    holds: Callable[[Any], bool] | None
    """Whether a model obeys. None: a rule of clusters only, or one of `schedule.resolve`, which has more
    words for it."""
    cel: str | None
    """The same for the API server. None: it checks this in another way."""
    field: str = ""
    """The field to point at, as written in YAML; empty for the model itself."""


def _write_rules(schema: dict[str, Any], model: "type[Model]") -> None:
    written = [_cel(rule) for rule in model.rules if rule.cel]
    if written:
        schema["x-kubernetes-validations"] = written


def _cel(rule: Rule) -> dict[str, str]:
    place = {"fieldPath": f".{rule.field}"} if rule.field else {}
    return {"rule": rule.cel or "", "message": rule.message, **place}


class Model(BaseModel):
    """Frozen and strict: unknown fields and numbers in quotes are refused, as the API server refuses them."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=field_name,
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        json_schema_extra=_write_rules,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        """A field that is null is absent and gets its default, as in the API server."""
        if not isinstance(data, dict):
            return data
        known, maps = _known(cls)
        present = {key: value for key, value in data.items() if value is not None or key not in known}
        return present | {key: _without_nulls(present[key]) for key in maps & present.keys()}

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        for rule in self.rules:
            if rule.holds is not None and not rule.holds(self):
                raise PydanticCustomError("rule", "{message}", {"message": rule.message, "field": rule.field})
        return self


@cache
def _known(model: type[BaseModel]) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the fields, in Python and as written in YAML; and those whose keys are the user's own."""
    fields = model.model_fields.items()
    names = {name for field, _ in fields for name in (field, field_name(field))}
    maps = {field_name(name) for name, field in fields if get_origin(field.annotation) is dict}
    return frozenset(names), frozenset(maps)


def _without_nulls(value: Any) -> Any:
    return (
        {key: inner for key, inner in value.items() if inner is not None}
        if isinstance(value, dict)
        else value
    )


def keyed_by(field: str) -> JsonDict:
    """Schema of a list whose items have a unique `field`: the API server refuses a second one."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [field]}


def unique_by(field: str) -> AfterValidator:
    """The same for Python."""

    def check(items: list[Any]) -> list[Any]:
        keys = [getattr(item, field) for item in items]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            message = f"two have the {field} {twice}: remove one"
            raise PydanticCustomError("duplicate", "{message}", {"message": message})
        return items

    return AfterValidator(check)


def exactly_one(*fields: str) -> Rule:
    """The rule that one of `fields` (as written in YAML), and only one, is set."""
    listed = f"{', '.join(fields[:-1])} and {fields[-1]}"
    names = [_snake(field) for field in fields]
    return Rule(
        f"set exactly one of {listed}",
        lambda model: sum(getattr(model, name) is not None for name in names) == 1,
        f"[{', '.join(f'has(self.{field})' for field in fields)}].filter(x, x).size() == 1",
    )


def reachable_by_pods(field: str) -> Rule:
    """The rule of clusters that a URI is an object store's, or a path inside `volumeClaimName`."""
    uri = f"self.{field}"
    return Rule(
        "is a path, which pods cannot reach: name an object store (s3:// gs:// az://), or set volumeClaimName"
        " and a path inside it, without '..'",
        None,
        f"!has({uri}) || (!('..' in {uri}.split('/')) && ({uri}.matches('^(s3|gs|az)://')"
        f" || (has(self.volumeClaimName) && !{uri}.contains('://'))))",
        field,
    )


def in_object_store(field: str, *names: str) -> Rule:
    """The rule of clusters that a URI is an object store's, or one of the `names` that are no URI."""
    uri = f"self.{field}"
    return Rule(
        "is a path, which pods cannot reach: put the file into an object store (s3:// gs:// az://), without '..'",
        None,
        f"!has({uri}) || {uri} in {list(names)}"
        f" || ({uri}.matches('^(s3|gs|az)://') && !('..' in {uri}.split('/')))",
        field,
    )


def _snake(field: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in field)
