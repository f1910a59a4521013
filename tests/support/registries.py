"""Every series that operator and supervisors can show, from their registries: name to the labels it has."""

import asyncio
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from finetune_operator.health import LoopLag
from finetune_operator.job_metrics import JobCollector, OperatorCollector
from finetune_operator.metrics import Metrics as OperatorMetrics
from finetune_operator.settings import Settings
from finetune_operator.work_queue import WorkQueue
from finetune_operator.world import Key, World
from finetune_supervisor.metrics import Metrics as WorkerMetrics

Series = dict[str, frozenset[str]]
_ENDINGS = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}


def of_operator() -> Series:
    """What the operator that acts shows."""
    made_at_once = _registered(OperatorMetrics("0")._registry)
    return dict([*made_at_once, *asyncio.run(_collected())])


def of_worker() -> Series:
    """What supervisors show, the chief among them."""
    return dict(_registered(WorkerMetrics(chief=True, now=0.0)._registry))


async def _collected() -> list[tuple[str, frozenset[str]]]:
    queue = WorkQueue[Key]()
    world = World(Settings(), queue.add, queue.add_soon)
    families = [*JobCollector(world).collect(), *OperatorCollector(queue, [], LoopLag()).collect()]
    return [one for family in families for one in _series(family.name, family.type, _labels(family))]


def _registered(registry: CollectorRegistry) -> Iterator[tuple[str, frozenset[str]]]:
    # Not by `collect`: a metric without values yet would not tell its labels.
    for metric in list(registry._collector_to_names):
        yield from _series(metric._name, metric._type, metric._labelnames)  # type: ignore[attr-defined]


def _labels(family: Metric) -> tuple[str, ...]:
    return tuple(getattr(family, "_labelnames", ()))


def _series(name: str, kind: str, labels: tuple[str, ...]) -> Iterator[tuple[str, frozenset[str]]]:
    for ending in _ENDINGS.get(kind, ("",)):
        yield name + ending, frozenset(labels) | ({"le"} if ending == "_bucket" else set())
