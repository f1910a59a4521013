"""Monitors, rules and dashboards in the chart: where they are made, what they select, what can be chosen."""

from typing import Any

import pytest
import yaml

import helm
import monitoring_files
from built_tools import ROOT
from finetune_api.contract import HTTP_PORT, MANAGER, Label
from helm import Rendered

KINDS = ("ServiceMonitor", "PodMonitor", "PrometheusRule")
SERVED = [f"--api-versions=monitoring.coreos.com/v1/{kind}" for kind in KINDS]
ON_BY_DEFAULT = {"finetune-recording", "finetune-jobs", "finetune-operator"}
OPT_IN = {"finetune-efficiency", "finetune-gpu"}
EVERY_GROUP = {"monitoring": {"prometheusRule": {"groups": {"efficiency": True, "gpu": True}}}}


def _monitoring(**values: Any) -> Rendered:
    return helm.render({"monitoring": values}, *SERVED)


def _groups(rendered: Rendered) -> dict[str, Any]:
    return {group["name"]: group for group in rendered.one("PrometheusRule")["spec"]["groups"]}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_made_where_the_cluster_has_it(kind: str) -> None:
    assert helm.render({}, *SERVED).one(kind)
    assert not helm.render({}).all(kind)
    others = [flag for flag in SERVED if not flag.endswith(kind)]
    assert not helm.render({}, *others).all(kind)
    assert helm.render({"monitoring": {"renderMode": "always"}}).one(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_can_be_switched_off(kind: str) -> None:
    name = kind[0].lower() + kind[1:]
    assert not _monitoring(**{name: {"enabled": False}}).all(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_what_prometheus_selects_by_can_be_added(kind: str) -> None:
    labels = _monitoring(additionalLabels={"release": "stack"}).one(kind)["metadata"]["labels"]
    assert labels["release"] == "stack"
    assert labels["app.kubernetes.io/name"] == "finetune-operator"


def test_the_service_monitor_selects_the_operators_service_and_nothing_else() -> None:
    rendered = helm.render({}, *SERVED)
    spec = rendered.one("ServiceMonitor")["spec"]
    wanted = spec["selector"]["matchLabels"].items()
    (service,) = [one for one in rendered.all("Service") if wanted <= one["metadata"]["labels"].items()]
    assert spec["namespaceSelector"] == {"matchNames": [helm.NAMESPACE]}
    (endpoint,) = spec["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert endpoint["honorLabels"] is True


def test_the_pod_monitor_selects_trainers_by_the_labels_that_the_operator_gives_them() -> None:
    spec = helm.render({}, *SERVED).one("PodMonitor")["spec"]
    assert spec["selector"]["matchLabels"] == {Label.NAME: "finetune-trainer", Label.MANAGED_BY: MANAGER}
    assert spec["namespaceSelector"] == {"any": True}
    (endpoint,) = spec["podMetricsEndpoints"]
    golden = ROOT / "tests/operator/golden"
    jobs = [one for file in sorted(golden.glob("*.yaml")) for one in yaml.safe_load_all(file.read_text())]
    pods = [one["spec"]["template"] for one in jobs if one and one["kind"] == "Job"]
    assert pods
    for pod in pods:
        assert spec["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
        assert ports[endpoint["port"]] == HTTP_PORT


def test_trainers_are_scraped_in_the_namespaces_that_are_watched() -> None:
    values = {"watch": {"namespaces": ["team-a", "team-b"]}, "config": {"deadNodes": False}}
    spec = helm.render(values, *SERVED).one("PodMonitor")["spec"]
    assert spec["namespaceSelector"] == {"matchNames": ["team-a", "team-b"]}


def test_groups_of_rules_are_chosen_one_by_one() -> None:
    assert set(_groups(helm.render({}, *SERVED))) == ON_BY_DEFAULT
    assert set(_groups(helm.render(EVERY_GROUP, *SERVED))) == ON_BY_DEFAULT | OPT_IN
    none = dict.fromkeys(("recording", "jobs", "operator"), False) | {"gpu": True}
    assert set(_groups(_monitoring(prometheusRule={"groups": none}))) == {"finetune-gpu"}


def test_an_unknown_group_is_refused() -> None:
    with pytest.raises(helm.Refused, match="cheap"):
        _monitoring(prometheusRule={"groups": {"cheap": True}})


def test_the_rules_are_those_of_the_files_word_for_word() -> None:
    rendered = [
        rule for group in _groups(helm.render(EVERY_GROUP, *SERVED)).values() for rule in group["rules"]
    ]
    text = yaml.safe_dump(monitoring_files.rules()).replace("RUNBOOKS", "docs/runbooks")
    wanted = yaml.safe_load(text)
    assert sorted(map(str, rendered)) == sorted(map(str, wanted))


def test_runbooks_are_where_the_value_says() -> None:
    groups = _groups(_monitoring(prometheusRule={"runbookUrl": "https://wiki.example.com/finetune"}))
    urls = [
        rule["annotations"]["runbook_url"]
        for group in groups.values()
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert "https://wiki.example.com/finetune/FineTuneJobStalled.md" in urls
    assert all(url.startswith("https://wiki.example.com/finetune/FineTune") for url in urls)


def test_dashboards_are_configmaps_that_grafanas_sidecar_finds() -> None:
    found = _dashboards(helm.render({}))
    assert len(found) == 2
    for config_map in found:
        assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
        ((name, text),) = config_map["data"].items()
        assert (
            text.strip()
            == (monitoring_files.CHART / f"files/dashboards/{name.removeprefix('finetune-')}")
            .read_text()
            .strip()
        )
    moved = _dashboards(helm.render({"monitoring": {"dashboards": {"namespace": "grafana"}}}))
    assert {one["metadata"]["namespace"] for one in moved} == {"grafana"}
    assert not _dashboards(helm.render({"monitoring": {"dashboards": {"enabled": False}}}))


def _dashboards(rendered: Rendered) -> list[helm.Body]:
    return [one for one in rendered.all("ConfigMap") if "-dashboard-" in one["metadata"]["name"]]
