"""Tables of the fields of an object, from its structural schema: the one that the API server checks by."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from finetune_api.v1alpha1.fields import LINE, MEANINGS
from tools.docs import markdown

Schema = dict[str, Any]
Remark = Callable[[str], str]

_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
_MANY = {"whole number": "whole numbers", "text or number": "texts or numbers"}
_DEFAULT = re.compile(r"\bDefault:? (?P<text>.+?)\.(?= [A-Z]|$)")
_LARGEST = 2**31 - 1
"""Stands for no bound that anybody meets."""
_ELSEWHERE = re.compile(r" ?\b(Required|May change)\.")
"""What has a column of its own."""


@dataclass(frozen=True)
class Style:
    """What the tables of one part of the page say besides."""

    remark: Remark
    """What else is to be said about the field at a path such as `stages[].ema`."""
    changeable: tuple[str, ...] | None = None
    """Fields at the top that may change; None: there is no such column."""
    defaults: bool = True


def sections(path: str, schema: Schema, style: Style) -> Iterator[str]:
    """A section for the object at `path`, and one for each object in it."""
    properties = _item(schema)["properties"]
    required = _item(schema).get("required", [])
    yield f"## {path}"
    if description := _ELSEWHERE.sub("", schema.get("description", "")):
        yield markdown.plain(description)
    yield _table(path, properties, required, style)
    if rules := list(_rules(_item(schema))):
        yield "\n".join(["Rules:", "", *(f"- {rule}" for rule in rules)])
    for name, field in properties.items():
        if _is_object(field):
            yield from sections(_path_of(path, name, field), field, style)


def contents(path: str, schema: Schema, depth: int = 0) -> Iterator[str]:
    """Lines of a nested list: each object with the names of its fields."""
    properties = _item(schema)["properties"]
    names = ", ".join(f"`{name}`" for name in properties)
    yield f"{'  ' * depth}- [{path}](#{markdown.slug(path)}): {names}"
    for name, field in properties.items():
        if _is_object(field):
            yield from contents(_path_of(path, name, field), field, depth + 1)


def plain(path: str) -> str:
    """The anchor of a field: `spec.stages[].ema` -> `spec.stages.ema`."""
    return path.replace("[]", "")


def _table(path: str, properties: Schema, required: list[str], style: Style) -> str:
    head = ("Field", "Type", "Default", "Allowed", "May change", "Meaning")
    return markdown.table(
        head, (_row(path, name, field, required, style) for name, field in properties.items())
    )


def _row(path: str, name: str, field: Schema, required: list[str], style: Style) -> tuple[str, ...]:
    below = _path_of(path, name, field)
    shown = f"[`{name}`](#{markdown.slug(below)})" if _is_object(field) else f"`{name}`"
    text = field.get("description", "")
    default = "**required**" if name in required else markdown.plain(_default(field, text))
    changes = "" if style.changeable is None or "." in path else "yes" if name in style.changeable else "no"
    text = markdown.plain(_DEFAULT.sub("", _ELSEWHERE.sub("", text)).strip())
    meaning = " ".join(filter(None, [text, style.remark(below)]))
    return (
        markdown.anchor(plain(below)) + shown,
        _type(field),
        default if style.defaults else "",
        _allowed(field),
        changes,
        meaning,
    )


def _path_of(path: str, name: str, field: Schema) -> str:
    return f"{path}.{name}" + ("[]" if field.get("type") == "array" else "")


def _item(field: Schema) -> Schema:
    found: Schema = field["items"] if field.get("type") == "array" else field
    return found


def _is_object(field: Schema) -> bool:
    return "properties" in _item(field) if field.get("type") in ("array", "object") else False


def _type(field: Schema) -> str:
    kind = field.get("type")
    if kind == "array":
        return "list" if _is_object(field) else f"list of {_MANY.get(_type(field['items']), 'texts')}"
    if kind == "object":
        return (
            "object"
            if _is_object(field)
            else f"map of {_MANY.get(_type(field['additionalProperties']), 'texts')}"
        )
    return _TYPES[kind] if kind else "text or number"


def _default(field: Schema, text: str) -> str:
    said = _DEFAULT.search(text)
    if "default" in field and not isinstance(field["default"], dict):
        return markdown.code(field["default"])
    return said["text"] if said else ""


def _allowed(field: Schema) -> str:
    found = [*_choices(field), *_words(field), *_bounds(field)]
    if field.get("type") == "array" and not _is_object(field):
        found += [f"each {part}" for part in (*_choices(field["items"]), *_bounds(field["items"]))]
    return "; ".join(found)


def _choices(field: Schema) -> Iterator[str]:
    values = field.get("enum", [])
    if len(values) > 12:
        yield "see [below](#backbones)"
    elif values:
        yield ", ".join(markdown.code(value) for value in values)


def _bounds(field: Schema) -> Iterator[str]:
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and not (field.get("x-kubernetes-int-or-string") or "enum" in field):
        yield _range(low, high, field)
    if (most := field.get("maxItems", field.get("maxProperties"))) is not None:
        least = field.get("minItems", 0)
        yield f"{least} to {most} entries" if least else f"up to {most} entries"
    if "maxLength" in field and "enum" not in field and not field.get("x-kubernetes-int-or-string"):
        yield f"up to {field['maxLength']} characters"


def _range(low: float, high: float | None, field: Schema) -> str:
    if high is not None and high < _LARGEST and not (field.keys() & {"exclusiveMinimum", "exclusiveMaximum"}):
        return f"{low:,} to {high:,}"
    begin = f"{'above' if field.get('exclusiveMinimum') else 'at least'} {low:,}"
    if high is None or high >= _LARGEST:
        return begin
    return f"{begin}, {'below' if field.get('exclusiveMaximum') else 'at most'} {high:,}"


def _words(field: Schema) -> Iterator[str]:
    """Patterns, as the API server words them."""
    for rule in field.get("x-kubernetes-validations", []):
        words = rule["message"].removeprefix("expected ").removeprefix("must be ")
        if "fieldPath" not in rule and "properties" not in field and words != MEANINGS[LINE]:
            yield markdown.plain(words)


def _rules(schema: Schema) -> Iterator[str]:
    """What holds between fields; which fields may change is a column."""
    for rule in schema.get("x-kubernetes-validations", []):
        if "oldSelf" not in rule["rule"]:
            field = rule.get("fieldPath", "").removeprefix(".")
            yield f"`{field}`: {markdown.plain(rule['message'])}" if field else rule["message"]
