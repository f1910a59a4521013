"""What a namespace looks like when everything is over, without what differs from run to run, to compare two runs."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cluster_view import Body, ClusterView

KINDS = ("finetunejobs", "jobs", "pods", "services", "configmaps", "networkpolicies")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
ADDRESS = re.compile(r"\b127\.\d+\.\d+\.\d+\b")
UNSTATED = (
    *("resourceVersion", "managedFields", "nodeName", "nodeSelector", "hostIP", "hostIPs", "activeSeconds"),
    *("topology.kubernetes.io/zone", "topology.kubernetes.io/region"),
)
"""Fields that say nothing about the outcome."""

State = Mapping[str, Any]
"""Path in the namespace → value."""


def end_state(view: ClusterView, namespace: str) -> State:
    """Every field of every object, uids, times and generated names replaced by what they stand for."""
    bodies = {kind: view.all(kind, namespace) for kind in KINDS}
    names = _names(bodies, namespace)
    state: dict[str, Any] = {}
    for kind, found in bodies.items():
        shown = sorted((json.loads(_said(body, names)) for body in found), key=_order)
        state.update(_leaves(kind, shown))
    return state


def differences(one: State, other: State, masked: Iterable[str] = ()) -> dict[str, tuple[Any, Any]]:
    """What is not the same: path → both values; None where there is none."""
    paths = (one.keys() | other.keys()) - set(masked)
    both = {path: (one.get(path), other.get(path)) for path in paths}
    return {path: pair for path, pair in sorted(both.items()) if pair[0] != pair[1]}


def objects_ever(view: ClusterView, namespace: str) -> Counter[str]:
    """How many objects there ever were, by kind and name: a name that was used twice counts twice."""
    counted: Counter[str] = Counter()
    for kind in KINDS:
        for name in view.ever(kind, namespace):
            versions = view.history(kind, namespace, name)
            place = _place(versions[-1].body) if kind == "pods" else name
            counted[f"{kind}/{place}"] += len({version.body["metadata"]["uid"] for version in versions})
    return counted


def _names(bodies: Mapping[str, list[Body]], namespace: str) -> dict[str, str]:
    """Text → what it stands for, of everything that is random."""
    names = {namespace: "<namespace>"}
    for kind, found in bodies.items():
        for body in found:
            names[body["metadata"]["uid"]] = f"<uid of {kind}/{_place(body)}>"
            if kind == "pods":
                names[body["metadata"]["name"]] = f"<pod {_place(body)}>"
    return names


def _said(body: Body, names: Mapping[str, str]) -> str:
    text = json.dumps(body)
    for name, meaning in names.items():
        text = text.replace(name, meaning)
    return ADDRESS.sub("<address>", TIME.sub("<time>", text))


def _place(body: Body) -> str:
    """Name of an object; the worker's number of a pod."""
    metadata = body["metadata"]
    return str(
        metadata.get("annotations", {}).get("batch.kubernetes.io/job-completion-index", metadata["name"])
    )


def _order(body: Body) -> tuple[str, str]:
    return _place(body), str(body.get("status", {}).get("phase"))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in UNSTATED:
                yield from _leaves(f"{path}.{key}", inner)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _leaves(f"{path}[{_key(inner, place)}]", inner)
    else:
        yield path, value


def _key(value: Any, place: int) -> str:
    """What tells a list's item from its neighbours."""
    if isinstance(value, dict):
        return str(value.get("type") or value.get("name") or place)
    return str(place)
