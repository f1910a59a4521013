"""A real Prometheus scrapes operator and supervisors through the chart's monitors; rules and dashboards show a job.

Simulated are the nodes, what the training processes say, NVIDIA's exporter, and Prometheus' discovery in Kubernetes.
"""

import time

import pytest

import monitoring_files
import registries
from monitored import LOSSES, Watched
from monitored import watched as watched
from waiting import eventually

CHOICES = {"fleet": {"namespace": ".*"}}
WITHOUT_DATA = {"job: Why A", "job: Stages", "job: Restarts"}
"""A job that runs has no reason to name; marks are there for a moment."""


def _panel(name: str, title: str, watched: Watched, place: int = 0) -> str:
    (found,) = [
        one for one in monitoring_files.panels(name) if one["title"] == title and one["type"] != "table"
    ]
    return monitoring_files.filled(found["targets"][place]["expr"], **watched.choice)


def _shows(watched: Watched, panel: tuple[str, str], by: str, wanted: dict[str, object]) -> None:
    """Waits until the panel has these values by this label; a scrape may be late on a busy machine."""
    expr = _panel(*panel, watched)

    def shown() -> dict[str, object]:
        found = watched.prometheus.query(expr)
        return {one["metric"].get(by, ""): float(one["value"][1]) for one in found}

    eventually(lambda: shown() == wanted, 60.0, lambda: f"{panel}: {shown()}", every=0.2)


def test_the_monitors_find_the_operator_and_each_trainer_once(watched: Watched) -> None:
    found = [target["labels"] for target in watched.prometheus.targets()]
    operators = [labels for labels in found if labels.get("service") == "finetune-operator"]
    assert [labels["namespace"] for labels in operators] == [watched.release.namespace]
    trainers = [labels for labels in found if labels["namespace"] == watched.job.namespace]
    assert sorted(labels["worker"] for labels in trainers) == ["0", "1"]
    pods = {watched.job.pod(index)["metadata"]["name"] for index in range(2)}
    assert {labels["pod"] for labels in trainers} == pods
    assert {labels["finetunejob"] for labels in trainers} == {watched.job.name}
    assert {labels["container"] for labels in trainers} == {"trainer"}


def test_no_label_of_a_series_was_renamed(watched: Watched) -> None:
    assert not watched.prometheus.query('count({__name__=~"finetune_.+", exported_namespace!=""})')
    assert not watched.prometheus.query('count({__name__=~"finetune_.+", exported_pod!=""})')
    labels = [one["metric"] for one in watched.prometheus.query("finetune_pod_info")]
    assert {"ft-"} == {one["pod"][:3] for one in labels}


def test_what_is_scraped_is_what_the_registries_tell(watched: Watched) -> None:
    told = {*registries.of_operator(), *registries.of_worker()}
    scraped = {
        name for name in watched.prometheus.names() if name.startswith("finetune_") and ":" not in name
    }
    assert scraped <= told
    assert len(scraped) > 60


def test_every_rule_is_evaluated_without_an_error(watched: Watched) -> None:
    rules = watched.prometheus.rules()
    assert len(rules) == len(monitoring_files.rules())
    eventually(
        lambda: all(rule["health"] == "ok" for rule in watched.prometheus.rules()), what="healthy rules"
    )
    assert not [rule["lastError"] for rule in watched.prometheus.rules() if rule.get("lastError")]


@pytest.mark.parametrize("name", ["fleet", "job"])
def test_every_panel_shows_something(name: str, watched: Watched) -> None:
    expressions = monitoring_files.of_dashboard(name, **CHOICES.get(name, watched.choice))

    def empty() -> set[str]:
        watched.go_on()
        return {one.where for one in expressions if not watched.prometheus.query(one.expr)} - WITHOUT_DATA

    assert len(expressions) > 25
    eventually(lambda: not empty(), 120.0, lambda: f"empty: {empty()}", every=1.0)


@pytest.mark.parametrize("name", ["fleet", "job"])
def test_every_choice_has_the_job(name: str, watched: Watched) -> None:
    wanted = {"namespace": watched.job.namespace, "finetunejob": watched.job.name}
    for selector, label in monitoring_files.of_variables(name):
        selector = selector.replace("NAMESPACE", watched.job.namespace)
        assert wanted[label] in {one["metric"][label] for one in watched.prometheus.query(selector)}


def test_the_dashboard_shows_progress_and_phase(watched: Watched) -> None:
    percent = watched.job.status["progress"]["percent"]
    assert percent > 0
    _shows(watched, ("job", "Progress"), "", {"": percent / 100})
    _shows(watched, ("job", "Phase"), "phase", {"Running": 1})
    _shows(watched, ("job", "Stage"), "", {"": 2})
    _shows(watched, ("job", "Workers up"), "", {"": 2})
    _shows(watched, ("job", "Best"), "metric", {"val_accuracy": 0.83})


def test_the_dashboard_shows_the_loss_curve(watched: Watched) -> None:
    # Scrapes may follow one another within less than their second, after one that was late.
    found = watched.prometheus.values(_panel("job", "Loss", watched), watched.since, time.time(), step=0.1)
    curves = {one["metric"]["split"]: [float(value) for _, value in one["values"]] for one in found}
    seen = [
        value
        for place, value in enumerate(curves["train"])
        if place == 0 or value != curves["train"][place - 1]
    ]
    assert seen == list(LOSSES)
    assert curves["validation"][-1] == 0.5


def test_the_dashboard_shows_restarts_and_marks_them_and_the_stages(watched: Watched) -> None:
    _shows(watched, ("job", "Restarts"), "", {"": 1})
    marks = monitoring_files.of_dashboard("job", **watched.choice, __interval="2s")[-2:]
    stages, restarts = (watched.prometheus.values(one.expr, watched.since, time.time()) for one in marks)
    assert {one["metric"]["stage"] for one in stages} == {"1", "2"}
    assert len(restarts) == 1


def test_gpu_series_of_the_exporter_are_joined_with_the_job(watched: Watched) -> None:
    _shows(watched, ("job", "Use of GPUs"), "worker", {"0": 0.42, "1": 0.42})
    _shows(watched, ("job", "Memory of GPUs"), "worker", {"0": 1024 * 2**20, "1": 1024 * 2**20})
    _shows(watched, ("job", "Power"), "worker", {"0": 250, "1": 250})
    _shows(watched, ("fleet", "Use of GPUs"), "finetunejob", {watched.job.name: 0.42})


def test_a_failed_job_is_told_of_with_its_reason_and_runbook(watched: Watched) -> None:
    def told() -> list[dict[str, object]]:
        rules = [rule for rule in watched.prometheus.rules() if rule["name"] == "FineTuneJobFailed"]
        return [alert for rule in rules for alert in rule["alerts"] if alert["state"] == "firing"]

    eventually(told, what="firing alert")
    (alert,) = told()
    labels, notes = alert["labels"], alert["annotations"]
    assert isinstance(labels, dict)
    assert isinstance(notes, dict)
    assert labels["finetunejob"] == watched.failed.name
    assert labels["namespace"] == watched.failed.namespace
    assert notes["summary"].endswith(watched.failed.failure["reason"])
    assert notes["runbook_url"] == "https://wiki.example.com/FineTuneJobFailed.md"
