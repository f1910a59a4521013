"""Every series that operator and supervisors can show, from their registries: name to the labels it has."""

from collections.abc import Iterable

from tools.docs import metrics_page
from tools.docs.metrics_page import Described

Series = dict[str, frozenset[str]]
_ENDINGS = {"histogram": ("_bucket", "_sum", "_count")}


def of_operator() -> Series:
    """What the operator that acts shows."""
    return _series(metrics_page.of_operator())


def of_worker() -> Series:
    """What supervisors show, the chief among them."""
    return _series(metrics_page.of_worker())


def _series(metrics: Iterable[Described]) -> Series:
    return {
        metric.name + ending: frozenset(metric.labels) | ({"le"} if ending == "_bucket" else set())
        for metric in metrics
        for ending in _ENDINGS.get(metric.kind, ("",))
    }
