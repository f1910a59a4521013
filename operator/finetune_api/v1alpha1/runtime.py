"""How the job's pods run: everything here means something on a cluster only."""

import re
from typing import Annotated, Literal

from pydantic import Field

from finetune_api.v1alpha1.fields import EnvName, LabelKey, LabelValue, Line, ObjectName, Quantity, QueueName
from finetune_api.v1alpha1.schema import Model, Rule, keyed_by, unique_by

_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_WHOLE = re.compile("^[0-9]+(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$")

GangKind = Literal["None", "Kueue", "Volcano", "Coscheduling", "PodGroup"]


class EnvVar(Model):
    """A variable for the training processes; only NCCL_*, *_PROXY and TF_CPP_* may be set."""

    name: EnvName
    """Such as NCCL_SOCKET_IFNAME. Required."""
    value: Line = ""
    """Such as eth0."""


Environment = Annotated[
    list[EnvVar], Field(max_length=32, json_schema_extra=keyed_by("name")), unique_by("name")
]


class Resources(Model):
    """What each worker gets; requests equal limits."""

    limits: dict[LabelKey, Quantity] = Field(default={}, max_length=16)
    """By resource, such as {cpu: 8, memory: 32Gi, nvidia.com/gpu: 1}. Default: the chart's."""

    rules = (
        Rule(
            "resources are cpu, memory, ephemeral-storage and devices with a domain such as nvidia.com/gpu",
            lambda r: all(key in _RESOURCES or "/" in key for key in r.limits),
            f"self.limits.all(key, key in {list(_RESOURCES)} || key.contains('/'))",
            "limits",
        ),
        Rule(
            "devices such as nvidia.com/gpu are counted in whole numbers, such as 1",
            lambda r: all(key in _RESOURCES or _WHOLE.fullmatch(amount) for key, amount in r.limits.items()),
            f"self.limits.all(key, key in {list(_RESOURCES)} || string(self.limits[key]).matches('{_WHOLE.pattern}'))",
            "limits",
        ),
    )


class Toleration(Model):
    """A taint that does not keep workers away."""

    key: LabelKey | None = None
    """Key of the taint; without one every taint, with operator Exists."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Equal compares value, Exists does not. Default Equal."""
    value: LabelValue | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint. Default: every effect."""
    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """How long NoExecute is tolerated. Default: for ever."""

    rules = (
        Rule(
            "a toleration without key needs operator Exists: set a key, or that",
            lambda t: t.key is not None or t.operator == "Exists",
            "has(self.key) || self.operator == 'Exists'",
            "key",
        ),
        Rule(
            "operator Exists looks at no value: remove value, or use Equal",
            lambda t: t.operator != "Exists" or not t.value,
            "self.operator != 'Exists' || !has(self.value) || self.value == ''",
            "value",
        ),
        Rule(
            "tolerationSeconds needs effect NoExecute: set it, or remove tolerationSeconds",
            lambda t: t.toleration_seconds is None or t.effect == "NoExecute",
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "tolerationSeconds",
        ),
    )


class Placement(Model):
    """Which nodes workers go to."""

    node_selector: dict[LabelKey, LabelValue] = Field(default={}, max_length=16)
    """Labels that nodes must have, such as {cloud.google.com/gke-accelerator: nvidia-l4}."""
    tolerations: list[Toleration] = Field(default=[], max_length=16)
    """Taints that do not keep workers away."""
    pack: LabelKey | None = None
    """Node label in whose value all workers should agree, such as topology.kubernetes.io/zone."""
    spread_hosts: bool = False
    """At most one worker per node. Default false."""


class Scheduling(Model):
    """Who decides when the workers may start, all together."""

    gang: GangKind = "None"
    """Scheduler that places all workers or none. Default None."""
    queue_name: QueueName | None = None
    """Queue to wait in, of Kueue or Volcano; the job fails closed when nobody serves it."""
    queue_priority_class: QueueName | None = None
    """Kueue's WorkloadPriorityClass: order in the queue only."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of the pods: who may evict whom."""

    rules = (
        Rule(
            "gang Kueue needs queueName: the name of a LocalQueue",
            lambda s: s.gang != "Kueue" or s.queue_name is not None,
            "self.gang != 'Kueue' || has(self.queueName)",
            "queueName",
        ),
        Rule(
            "queueName needs gang Kueue or Volcano: set it, or remove queueName",
            lambda s: s.queue_name is None or s.gang in ("Kueue", "Volcano"),
            "!has(self.queueName) || self.gang in ['Kueue', 'Volcano']",
            "queueName",
        ),
        Rule(
            "queuePriorityClass needs gang Kueue: set it, or remove queuePriorityClass",
            lambda s: s.queue_priority_class is None or s.gang == "Kueue",
            "!has(self.queuePriorityClass) || self.gang == 'Kueue'",
            "queuePriorityClass",
        ),
        Rule(
            "PriorityClasses that begin with system- are the cluster's own: choose another one",
            lambda s: not (s.priority_class_name or "").startswith("system-"),
            "!has(self.priorityClassName) || !self.priorityClassName.startsWith('system-')",
            "priorityClassName",
        ),
    )
