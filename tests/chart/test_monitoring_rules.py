"""Alerts: valid, each fires and stays silent as told, each has a page that says what to do."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import monitoring_files
from built_tools import ROOT
from monitoring_files import RULES, RUNBOOKS, alerts, rules

STORIES = sorted((Path(__file__).parent / "rules").glob("*.yaml"))
SECTIONS = ["What it means", "How to check", "What to do"]
EASED = {
    "FineTuneJobStalled": ("< 900", "< -1"),
    "FineTuneJobPendingTooLong": ("Pending|Starting", "Pending|Starting|Queued"),
    "FineTuneJobRestartLoop": ("> 3", "> 2"),
    "FineTuneJobFailed": ("< 1800", "< 18000"),
    "FineTuneJobCheckpointStale": ("[5m])) > 0", "[5m])) >= 0"),
    "FineTuneJobLossNotFinite": ('reason="NonFiniteLoss"', 'reason!=""'),
    "FineTuneJobWorkersMissing": ("Running|Restarting", "Running|Restarting|Starting"),
    "FineTuneOperatorDown": (
        "absent(finetune_operator_leader == 1)",
        "absent(finetune_operator_leader == 2)",
    ),
    "FineTuneOperatorReconcileErrors": ("> 0.1", "> 0.04"),
    "FineTuneOperatorProgressPollFailing": ("Running|Exporting", "Running|Exporting|Suspended"),
    "FineTuneJobInputBound": ("> 0.4", "> 0.3"),
    "FineTuneJobLowGoodput": ("< 0.5", "< 0.95"),
    "FineTuneJobGpuIdle": ("< 0.1", "< 0.2"),
    "FineTuneJobXidErrors": ("> 0\n      and changes(finetune_worker:gpu_xid_error:code[30m]) > 0", "> 0"),
}
"""Alerts and a change that makes them fire too easily: the stories have to notice."""


def promtool(*arguments: str | Path, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    command = [monitoring_files.prometheus() / "promtool", *arguments]
    return subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _stories() -> list[dict[str, Any]]:
    return [story for file in STORIES for story in yaml.safe_load(file.read_text())["tests"]]


@pytest.mark.parametrize("file", RULES, ids=lambda path: path.stem)
def test_promtool_takes_the_rules(file: Path) -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", file)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", STORIES, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_silent_as_told(file: Path) -> None:
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("alert", EASED)
def test_a_rule_that_fires_too_easily_is_noticed(alert: str, tmp_path: Path) -> None:
    before, after = EASED[alert]
    chart, stories = tmp_path / "charts/finetune-operator/files/rules", tmp_path / "tests/chart/rules"
    shutil.copytree(RULES[0].parent, chart)
    shutil.copytree(STORIES[0].parent, stories)
    (file,) = [path for path in chart.glob("*.yaml") if f"alert: {alert}\n" in path.read_text()]
    head, name, tail = file.read_text().partition(f"alert: {alert}\n")
    assert before in tail.partition("- alert:")[0]
    file.write_text(head + name + tail.replace(before, after, 1))
    told = [path for path in sorted(stories.glob("*.yaml")) if alert in path.read_text()]
    done = promtool("test", "rules", *told)
    assert done.returncode != 0
    assert alert in done.stdout


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_has_stories_of_both_kinds(alert: str) -> None:
    told = [
        one for story in _stories() for one in story.get("alert_rule_test", []) if one["alertname"] == alert
    ]
    assert any(one["exp_alerts"] for one in told)
    silent = [
        story
        for story in _stories()
        if story["name"].startswith(f"{alert} is silent")
        and not any(one["exp_alerts"] for one in story.get("alert_rule_test", []))
    ]
    assert silent


def test_every_alert_is_eased_once() -> None:
    assert list(EASED) == [*alerts()] or set(EASED) == set(alerts())


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_says_how_bad_what_and_where_to_read_on(alert: str) -> None:
    rule = alerts()[alert]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"RUNBOOKS/{alert}.md"


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(alerts())


@pytest.mark.parametrize("alert", alerts())
def test_a_runbook_says_what_it_means_how_to_check_and_what_to_do(alert: str) -> None:
    text = (RUNBOOKS / f"{alert}.md").read_text()
    assert text.startswith(f"# {alert}\n")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)[1:]
    assert parts[::2] == SECTIONS
    assert all(len(part.strip()) > 40 for part in parts[1::2])


def test_the_index_of_runbooks_names_severity_and_group() -> None:
    text = (RUNBOOKS / "README.md").read_text()
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \| (\w+)", text, re.MULTILINE)
    wanted = {
        (rule["alert"], rule["alert"], rule["labels"]["severity"], file.stem)
        for file in RULES
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert set(rows) == wanted


def test_rules_have_names_of_their_own() -> None:
    names = [rule.get("alert") or rule["record"] for rule in rules()]
    assert len(set(names)) == len(names)
