"""The reference of all metrics, from the registries that are scraped."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from finetune_operator.health import LoopLag
from finetune_operator.informer import Informer
from finetune_operator.job_metrics import JobCollector, OperatorCollector
from finetune_operator.metrics import Metrics as OperatorMetrics
from finetune_operator.settings import Settings
from finetune_operator.work_queue import WorkQueue
from finetune_operator.world import Key, World
from finetune_supervisor.metrics import Metrics as WorkerMetrics
from tools.docs import markdown

_INTRODUCTION = """Prometheus metrics by who serves them. Counters and histograms of the operator never carry the
name of a job; series of a job vanish with it. Times are in seconds, times of day are Unix seconds, sizes are in bytes.

Histograms have `_bucket`, `_sum` and `_count`."""


class Described(NamedTuple):
    """One metric."""

    name: str
    """As a query has it: a counter ends with _total."""
    kind: str
    labels: tuple[str, ...]
    help: str


def of_operator() -> list[Described]:
    """What the operator serves while it acts."""
    metrics = OperatorMetrics("0")
    registry: CollectorRegistry = metrics._registry
    return sorted({*_own(registry), *map(_described, asyncio.run(_walked()))})


def of_worker() -> list[Described]:
    """What every worker serves; some are the chief's alone."""
    return sorted(_own(WorkerMetrics(chief=True, now=0.0)._registry))


async def _walked() -> list[Metric]:
    """Families that are made at scrape time."""
    settings, queue = Settings(), WorkQueue[Key]()
    informers: list[Informer] = []
    world = World(settings, queue.add, queue.add_soon)
    return [*JobCollector(world).collect(), *OperatorCollector(queue, informers, LoopLag()).collect()]


def _own(registry: CollectorRegistry) -> Iterator[Described]:
    # Not by `collect`: there a metric without values yet does not tell its labels.
    for metric in list(registry._collector_to_names):
        yield _of(metric._name, metric._type, metric._labelnames, metric._documentation)  # type: ignore[attr-defined]


def _described(family: Metric) -> Described:
    labels: Iterable[str] = getattr(family, "_labelnames", ())
    return _of(family.name, family.type, labels, family.documentation)


def _of(name: str, kind: str, labels: Iterable[str], text: str) -> Described:
    return Described(f"{name}_total" if kind == "counter" else name, kind, tuple(labels), text)


def page() -> str:
    """The whole page."""
    return markdown.page(
        "Metrics",
        _INTRODUCTION,
        "## The operator",
        "`GET :8080/metrics` of the operator's pod. The replica that acts also serves `finetune_job_*` and"
        " `finetune_pod_info`.",
        _table(of_operator()),
        "## Workers",
        "`GET :9090/metrics` of each trainer pod. Loss, metrics and learning rate are the chief's (worker 0) alone:"
        " they are the same everywhere.",
        _table(of_worker()),
    )


def _table(found: list[Described]) -> str:
    rows = (
        (
            f"{markdown.anchor(one.name)}`{one.name}`",
            one.kind,
            ", ".join(f"`{label}`" for label in one.labels),
            markdown.plain(one.help),
        )
        for one in found
    )
    return markdown.table(("Metric", "Type", "Labels", "Meaning"), rows)
