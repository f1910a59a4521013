"""What the operator may do: one role for what it always does, one for each flag that needs more.

Never secrets, exec, logs, roles or service accounts: who holds the operator's token gets no further than
its jobs. `python -m finetune_operator.rbac` prints all roles; that is operator/rbac.yaml.
"""

import sys
from collections.abc import Callable
from typing import Any

import yaml

from finetune_api.contract import GROUP, MANAGER
from finetune_operator.settings import Settings

Rule = dict[str, list[str]]

_KEEP = ("get", "list", "watch", "create")
"""Make an object, know of it, and find out whose it is where the name is taken."""


def _rule(group: str, resources: str, *verbs: str) -> Rule:
    return {"apiGroups": [group], "resources": resources.split(), "verbs": list(verbs)}


CORE = [
    _rule(GROUP, "finetunejobs", "get", "list", "watch", "delete"),
    _rule(GROUP, "finetunejobs/status", "patch"),
    # To own objects that block the deletion of their owner; some clusters ask for it.
    _rule(GROUP, "finetunejobs/finalizers", "update"),
    _rule("batch", "jobs", *_KEEP, "patch"),
    _rule("", "pods", "list", "watch", "patch"),
    _rule("", "services", *_KEEP, "patch"),
    _rule("", "configmaps", *_KEEP, "patch"),
    _rule("", "events", "list", "create", "patch"),
]
"""Always, in each namespace whose jobs are watched. The garbage collector deletes, not the operator."""

LEASE = [_rule("coordination.k8s.io", "leases", "get", "create", "patch")]
"""In the operator's own namespace, to agree with others on who acts."""

_FLAGS: dict[str, tuple[Callable[[Settings], bool], list[Rule]]] = {
    "network-policy": (
        lambda settings: settings.network_policy.enabled,
        [_rule("networking.k8s.io", "networkpolicies", *_KEEP, "patch")],
    ),
    "dead-nodes": (
        lambda settings: settings.dead_nodes,
        [
            _rule("", "nodes", "list", "watch"),
            _rule("", "pods/status", "patch"),
            _rule("", "pods", "delete"),
        ],
    ),
    "kueue": (
        lambda settings: settings.gangs.kueue.enabled,
        [_rule("kueue.x-k8s.io", "workloads", "list", "watch", "patch")],
    ),
    "coscheduling": (
        lambda settings: settings.gangs.coscheduling.enabled,
        [_rule("scheduling.x-k8s.io", "podgroups", "get", "create")],
    ),
    "pod-group": (
        lambda settings: settings.gangs.pod_group.enabled,
        [_rule("scheduling.k8s.io", "podgroups", "get", "create")],
    ),
}
"""By flag, as the roles' names end: whether it is on, and what it needs. Volcano's needs nothing."""


def rules(settings: Settings) -> list[Rule]:
    """What an operator with these settings needs where its jobs are; nodes are looked at in the whole cluster."""
    return CORE + [rule for is_on, more in _FLAGS.values() if is_on(settings) for rule in more]


def roles() -> list[dict[str, Any]]:
    """Every role there is, to be bound or not."""
    parts = {"": CORE} | {f"-{flag}": more for flag, (_, more) in _FLAGS.items()}
    cluster = [_role("ClusterRole", f"{MANAGER}{suffix}", part) for suffix, part in parts.items()]
    return [*cluster, _role("Role", f"{MANAGER}-lease", LEASE)]


def _role(kind: str, name: str, part: list[Rule]) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"app.kubernetes.io/name": MANAGER}}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "rules": part}


def written() -> str:
    """All roles as YAML."""
    heading = "# Made by `make generate` from finetune_operator/rbac.py.\n"
    return heading + yaml.safe_dump_all(roles(), sort_keys=False)


if __name__ == "__main__":
    sys.stdout.write(written())
