"""What somebody has changed in our objects by hand is put right.

The spec only of those that nobody else fills in: a Job and a PodGroup have controllers, a ConfigMap is immutable.
"""

from collections.abc import Mapping
from typing import Any

from finetune_api.contract import Label
from finetune_operator import manifests
from finetune_operator.observed import ChildView, JobView
from finetune_operator.plan import Patch, Plan
from finetune_operator.situation import Situation

_EXACT = frozenset({"selector", "podSelector", "namespaceSelector"})
"""Where one label more means other pods; everywhere else the API server adds its defaults."""
_LABELLED = frozenset({"Service", "NetworkPolicy", "ConfigMap", "Job"})
_FOUND_BY = (Label.MANAGED_BY, Label.JOB_NAME)
"""Labels without which an object is not seen."""


def restore_children(now: Situation) -> Plan | None:
    """Undo changes of our Service and NetworkPolicy, and of the labels by which all objects are found."""
    if now.job is None or now.resource.job is None:
        return None
    made = manifests.guarded(now.resource.job, now.resource.uid, now.resource.namespace, now.settings)
    labels = {str(key): str(made["Service"]["metadata"]["labels"][key]) for key in _FOUND_BY}
    found: dict[str, JobView | ChildView] = {**now.observed.children, "Job": now.job}
    changed = [
        Patch(kind, one.name, one.uid, undone)
        for kind, one in found.items()
        if kind in _LABELLED and not one.deleting and (undone := _undo(one, labels, made.get(kind)))
    ]
    return Plan(tuple(changed)) if changed else None


def is_as_wanted(found: Any, wanted: Any) -> bool:
    """Whether `found` is `wanted`, or that with defaults filled in."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            found.get(key) == value if key in _EXACT else is_as_wanted(found.get(key), value)
            for key, value in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(wanted):
            return False
        return all(is_as_wanted(one, other) for one, other in zip(found, wanted, strict=True))
    return bool(found == wanted)


def replacement(found: Any, wanted: Any) -> Any:
    """The merge patch that leaves nothing of the map `found` but `wanted`."""
    if not isinstance(found, Mapping) or not isinstance(wanted, Mapping):
        return wanted
    gone = dict.fromkeys(found.keys() - wanted.keys())
    return gone | {key: replacement(found.get(key), value) for key, value in wanted.items()}


def _undo(
    found: JobView | ChildView, labels: Mapping[str, str], wanted: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The patch that puts an object right; empty when it is. Without `wanted` its labels are all that counts."""
    patch: dict[str, Any] = {}
    if any(found.labels.get(key) != value for key, value in labels.items()):
        patch["metadata"] = {"labels": labels}
    if wanted is None or not isinstance(found, ChildView):
        return patch
    spec = found.content.get("spec")
    if not is_as_wanted(spec, wanted["spec"]):
        old = spec if isinstance(spec, Mapping) else {}
        patch["spec"] = {
            key: replacement(old.get(key), value) if key in _EXACT else value
            for key, value in wanted["spec"].items()
        }
    return patch
