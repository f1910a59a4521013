"""What a user asked of the API server and what it was refused for want of rights, from the audit log."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from control_plane import ControlPlane

Right = tuple[str, str, str]
"""API group, resource with subresource, verb."""


def granted(rules: Iterable[dict[str, Any]]) -> set[Right]:
    """What a role's rules allow."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(plane: ControlPlane, user: str, since: int = 0) -> set[Right]:
    """What the user was allowed and has done."""
    return {_right(event) for event in _events(plane, user, since) if _decision(event) == "allow"}


def refused(plane: ControlPlane, user: str, since: int = 0) -> set[Right]:
    """What the user was not allowed; a quota or a policy that says no is something else."""
    return {_right(event) for event in _events(plane, user, since) if _decision(event) == "forbid"}


def _events(plane: ControlPlane, user: str, since: int) -> Iterator[dict[str, Any]]:
    with plane.layout.audit_log.open("rb") as log:
        log.seek(since)
        for line in log:
            if line.endswith(b"\n") and user.encode() in line:
                event = json.loads(line)
                if event["user"]["username"] == user and "objectRef" in event:
                    yield event


def _decision(event: dict[str, Any]) -> str:
    return str(event.get("annotations", {}).get("authorization.k8s.io/decision", ""))


def _right(event: dict[str, Any]) -> Right:
    what = event["objectRef"]
    resource = "/".join(part for part in (what.get("resource"), what.get("subresource")) if part)
    return what.get("apiGroup", ""), resource, event["verb"]


def missing(wanted: set[Right], found: set[Right]) -> Sequence[str]:
    """Readable, for a message."""
    return sorted(" ".join(right).strip() for right in wanted - found)
