"""Every name in rules and dashboards exists in the registries, with the labels that are asked for."""

import re

import pytest

import monitoring_files
import promql
import registries
from monitoring_files import Expression

OF_THE_OPERATOR, OF_WORKERS = registries.of_operator(), registries.of_worker()
OF_DCGM = {
    name: frozenset({"gpu", "pod", "namespace", "exported_pod", "exported_namespace"})
    for name in (
        "DCGM_FI_DEV_GPU_UTIL",
        "DCGM_FI_DEV_FB_USED",
        "DCGM_FI_DEV_POWER_USAGE",
        "DCGM_FI_DEV_XID_ERRORS",
    )
}
"""Of NVIDIA's exporter, in its default-counters.csv."""
BY_THE_MONITORS = frozenset({"namespace", "pod", "container", "endpoint", "job", "instance"})
BY_THE_POD_MONITOR = BY_THE_MONITORS | {"finetunejob", "worker"}
RECORDED = {rule["record"] for rule in monitoring_files.rules() if "record" in rule}
EXPRESSIONS = [
    *monitoring_files.of_rules(),
    *monitoring_files.of_dashboard("fleet"),
    *monitoring_files.of_dashboard("job"),
    *(
        Expression(f"{name}: choice of {label}", selector)
        for name in ("fleet", "job")
        for selector, label in monitoring_files.of_variables(name)
    ),
]
EXAMPLES = {
    "a": [("a", ())],
    'sum by (x, y) (rate(a:b_total{z=~"q{}|w", u!="by(c)"}[5m])) / on (x) group_left (v) d': [
        ("a:b_total", ("z", "u")),
        ("d", ()),
    ],
    "sum(a) by (x) > bool 1e3 or vector(0) unless ignoring (k) b offset 5m": [("a", ()), ("b", ())],
    'histogram_quantile(0.95, sum by (le) (rate(h_bucket{le="+Inf"}[1h30m:15s]))) and time() - t < Inf': [
        ("h_bucket", ("le",)),
        ("t", ()),
    ],
    'label_replace(a{b!=""}, "pod", "$1", "exported_pod", "(.+)") # c': [("a", ("b",))],
    "count_values('stage', max(a @ start())) == -0x1F": [("a", ())],
}


def _labels(name: str) -> frozenset[str] | None:
    """What a series of this name can have; None for one that does not exist."""
    if name in OF_THE_OPERATOR:
        return OF_THE_OPERATOR[name] | BY_THE_MONITORS
    if name in OF_WORKERS:
        return OF_WORKERS[name] | BY_THE_POD_MONITOR
    if name in RECORDED:
        return frozenset({"namespace", "finetunejob", "worker"})
    return OF_DCGM.get(name)


@pytest.mark.parametrize("expr", EXAMPLES)
def test_the_reader_of_expressions_finds_names_and_labels(expr: str) -> None:
    assert [(one.name, one.labels) for one in promql.selectors(expr)] == EXAMPLES[expr]


def test_the_reader_refuses_what_it_cannot_read() -> None:
    for expr in ('{__name__="a"}', "sum(a) ? b"):
        with pytest.raises(promql.NotReadableError):
            promql.selectors(expr)


def test_the_registries_are_whole() -> None:
    assert {"finetune_job_progress_ratio", "finetune_pod_info", "finetune_operator_queue_depth"} <= set(
        OF_THE_OPERATOR
    )
    assert OF_THE_OPERATOR["finetune_job_phase"] == {"namespace", "finetunejob", "phase"}
    assert {"finetune_train_loss", "finetune_train_step_duration_seconds_bucket"} <= set(OF_WORKERS)
    assert not set(OF_THE_OPERATOR) & set(OF_WORKERS)


@pytest.mark.parametrize("one", EXPRESSIONS, ids=lambda one: one.where)
def test_every_name_and_label_exists(one: Expression) -> None:
    read = promql.selectors(one.expr)
    assert read
    for selector in read:
        labels = _labels(selector.name)
        assert labels is not None, selector.name
        assert set(selector.labels) <= labels, selector
    known = {label for selector in read for label in _labels(selector.name) or ()}
    # What label_replace and count_values make is there, too.
    assert promql.grouping(one.expr) <= known | {"pod", "namespace"}


def test_legends_name_labels_that_are_left() -> None:
    for name in ("fleet", "job"):
        for panel in monitoring_files.panels(name):
            for target in panel["targets"]:
                wanted = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
                read = promql.selectors(monitoring_files.filled(target["expr"]))
                grouped = promql.grouping(monitoring_files.filled(target["expr"]))
                left = grouped or {label for one in read for label in _labels(one.name) or ()}
                assert wanted <= left, (name, panel["title"])


def test_no_metric_is_shown_nowhere() -> None:
    """A figure that nobody looks at costs on each scrape."""
    used = {selector.name for one in EXPRESSIONS for selector in promql.selectors(one.expr)}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in {*OF_THE_OPERATOR, *OF_WORKERS}}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    assert families - shown <= NOT_SHOWN


NOT_SHOWN = {
    "finetune_train_last_end_timestamp_seconds",  # for benchmarks: how long a restart takes
}
