"""Reading the JSON of API objects without ever raising: what is missing or of the wrong type reads as nothing."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

Body = Mapping[str, Any]
"""An API object as JSON."""

EPOCH = datetime.fromtimestamp(0, tz=UTC)
"""Stands for the creation of an object that does not say when it was created."""


def mapping(value: object, *path: str) -> Body:
    """The mapping at `path` below `value`; empty when there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> Iterator[Body]:
    """The mappings in a list."""
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, Mapping))


def text(value: object) -> str:
    """A string; empty for anything else."""
    return value if isinstance(value, str) else ""


def whole(value: object) -> int | None:
    """A whole number, also one written as text."""
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) < 10:
        return int(value)
    return value if type(value) is int else None


def moment(value: object) -> datetime | None:
    """A moment in RFC 3339."""
    try:
        found = datetime.fromisoformat(text(value))
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def created(metadata: Body) -> datetime:
    """creationTimestamp of an object."""
    return moment(metadata.get("creationTimestamp")) or EPOCH


def controller(metadata: Body) -> tuple[str, str]:
    """Uid of an object's controller, and what it is in words; empty without one."""
    for owner in items(metadata.get("ownerReferences")):
        if owner.get("controller") is True:
            return text(owner.get("uid")), f"{text(owner.get('kind'))}/{text(owner.get('name'))}"
    return "", ""
