"""Who asked the API server for what, from its audit log."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})

# Requests that ended (a watch also when it began). Heart-beats of nodes and the control plane's own reading are left
# out: they are most of the volume, and no test asks for them.
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "namespaces": ["kube-node-lease"]},
        {"level": "None", "nonResourceURLs": ["/readyz*", "/livez*", "/healthz*", "/version"]},
        {"level": "None", "userGroups": ["test:control-plane"], "verbs": ["get", "list", "watch"]},
        {
            "level": "None",
            "users": ["system:kube-controller-manager", "system:kube-scheduler"],
            "verbs": ["get", "list", "watch"],
        },
        {
            "level": "None",
            "userGroups": ["system:serviceaccounts:kube-system"],
            "verbs": ["get", "list", "watch"],
        },
        {"level": "Metadata"},
    ],
}


@dataclass(frozen=True)
class AuditEvent:
    """One request, once it was answered."""

    user: str
    user_agent: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    """Empty for a collection, a create included."""
    code: int
    stage: str
    """ResponseComplete; for a watch, ResponseStarted before it; Panic."""
    uri: str
    began: datetime
    ended: datetime

    @property
    def is_write(self) -> bool:
        return self.verb in WRITES


def read(log: Path, since: int = 0) -> Iterator[AuditEvent]:
    """The events from byte `since` of the log to its end now."""
    if not log.exists():
        return
    with log.open("rb") as file:
        file.seek(since)
        for line in file:
            if line.endswith(b"\n"):
                yield _event(json.loads(line))


def _event(found: dict[str, Any]) -> AuditEvent:
    target = found.get("objectRef", {})
    return AuditEvent(
        user=found["user"].get("username", ""),
        user_agent=found.get("userAgent", ""),
        verb=found["verb"],
        group=target.get("apiGroup", ""),
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=found.get("responseStatus", {}).get("code", 0),
        stage=found["stage"],
        uri=found["requestURI"],
        began=datetime.fromisoformat(found["requestReceivedTimestamp"]),
        ended=datetime.fromisoformat(found["stageTimestamp"]),
    )
