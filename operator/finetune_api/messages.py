"""From pydantic's findings to one message for people: line, full path, what is wrong, the nearest name."""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from finetune_api.errors import BadJob
from finetune_api.v1alpha1 import FineTuneJob, fields

Path = tuple[str | int, ...]
_ITEM = "[]"
_MAX_SHOWN = 10
_TYPES = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text (put it in quotes)",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "finite_number": "a finite number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "too_short": "{min_length} or more of them",
    "too_long": "no more than {max_length} of them",
}
"""What is expected, by pydantic's name of the error."""


def explain(error: ValidationError, source: str, lines: Mapping[Path, int]) -> BadJob:
    """One BadJob for everything that pydantic found wrong in a FineTuneJob.

    Args:
        error: what `FineTuneJob.model_validate` raised.
        source: what to call the job, such as its file's name.
        lines: the line of each path in the source; empty when there is none.
    """
    found = error.errors(include_url=False)
    shown = [_printable(_finding(details, lines)) for details in found[:_MAX_SHOWN]]
    if len(found) == 1:
        return BadJob("InvalidSpec", f"{source} {shown[0]}")
    if len(found) > _MAX_SHOWN:
        shown.append(f"and {len(found) - _MAX_SHOWN} more")
    return BadJob("InvalidSpec", "\n  ".join([f"{source} has {len(found)} errors:", *shown]))


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The most similar of `names`, upper and lower case alike; None when none is similar."""
    by_lower = {candidate.lower(): candidate for candidate in names}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[found[0]] if found else None


def spell(path: Path) -> str:
    """A path as people write it: ("spec", "stages", 0, "name") -> spec.stages[0].name."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}".replace(".[", "[") for part in path)
    return "".join(parts).removeprefix(".") or "the job"


def _finding(details: ErrorDetails, lines: Mapping[Path, int]) -> str:
    path = _path(details)
    known = [path[:length] for length in range(len(path), 0, -1) if path[:length] in lines]
    where = f"line {lines[known[0]]}: " if known else ""
    return f"{where}{spell(path)}: {_problem(details, path)}"


def _path(details: ErrorDetails) -> Path:
    path = tuple(part for part in details["loc"] if part != "[key]")
    field = details.get("ctx", {}).get("field")
    return (*path, *field.split(".")) if field else path


def _problem(details: ErrorDetails, path: Path) -> str:
    kind, context, value = details["type"], details.get("ctx", {}), details["input"]
    match kind:
        case "extra_forbidden":
            return _unknown_field(path)
        case "missing":
            return "is missing"
        case "literal_error":
            return _unknown_value(path, value)
        case "string_pattern_mismatch":
            return (
                f"is {_show(value)}, expected {fields.MEANINGS.get(context['pattern'], context['pattern'])}"
            )
        case _ if kind in _TYPES:
            bounds = {
                name: f"{bound:.12g}" if isinstance(bound, float) else bound
                for name, bound in context.items()
            }
            return f"is {_show(value)}, expected {_TYPES[kind].format(**bounds)}"
        case _:
            return details["msg"]


def _unknown_field(path: Path) -> str:
    name = str(path[-1])
    every = _fields()
    siblings = sorted(str(known[-1]) for known in every if known[:-1] == _general(path[:-1]))
    # A name that is known in another place is most often a matter of indentation.
    elsewhere = [spell(known) for known in every if known[-1] == name]
    near = " or ".join(elsewhere[:3]) or nearest(name, siblings)
    if near:
        return f"unknown field; did you mean {near}?"
    return f"unknown field; known are {', '.join(siblings)}"


def _unknown_value(path: Path, value: object) -> str:
    found = _fields().get(_general(path), {})
    allowed = [str(one) for one in found.get("enum", [found.get("const")])]
    near = nearest(str(value), allowed)
    hint = f"; did you mean {near}?" if near else ""
    return f"is {_show(value)}, expected {'one of ' if len(allowed) > 1 else ''}{', '.join(allowed)}{hint}"


def _show(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _printable(text: str) -> str:
    """Without what a terminal could take for a command: a job may come from anybody."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _general(path: Path) -> Path:
    return tuple(_ITEM if isinstance(part, int) else part for part in path)


@lru_cache(maxsize=1)
def _fields() -> dict[Path, dict[str, Any]]:
    """Every field a user can write, with its schema; `[]` stands for any item of a list."""
    whole = FineTuneJob.model_json_schema()
    return {path: found for path, found in _walk(whole, whole["$defs"], ()) if path[0] != "status"}


def _walk(
    node: dict[str, Any], definitions: dict[str, Any], path: Path
) -> Iterator[tuple[Path, dict[str, Any]]]:
    for name, inner in node.get("properties", {}).items():
        found = _follow(inner, definitions)
        yield (*path, name), found
        yield from _walk(found, definitions, (*path, name))
    if "items" in node:
        found = _follow(node["items"], definitions)
        yield (*path, _ITEM), found
        yield from _walk(found, definitions, (*path, _ITEM))


def _follow(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema behind a reference or an optional field."""
    if "$ref" in node:
        return _follow(definitions[node["$ref"].rpartition("/")[2]], definitions)
    present = [one for one in node.get("anyOf", []) if one.get("type") != "null"]
    return _follow(present[0], definitions) if len(present) == 1 else node
