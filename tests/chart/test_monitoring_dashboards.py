"""Dashboards as Grafana reads them: what it needs is there, nothing lies on anything else."""

import itertools
import re
import subprocess
import sys
from typing import Any

import pytest

from built_tools import ROOT
from monitoring_files import dashboard, panels

NAMES = ("fleet", "job")
UNITS = {"short", "s", "percentunit", "bytes", "sci", "watt"}
KINDS = {"timeseries", "stat", "table", "bargauge"}
COLUMNS = 24


def _area(panel: dict[str, Any]) -> set[tuple[int, int]]:
    at = panel["gridPos"]
    return set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))


def test_they_are_what_the_code_makes() -> None:
    command = [sys.executable, "-m", "tools.dashboards", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_panels_have_ids_of_their_own_and_do_not_overlap(name: str) -> None:
    found = dashboard(name)["panels"]
    assert [panel["id"] for panel in found] == list(range(1, len(found) + 1))
    taken: set[tuple[int, int]] = set()
    for panel in found:
        area = _area(panel)
        assert area, panel["title"]
        assert not area & taken, panel["title"]
        assert max(x for x, _ in area) < COLUMNS, panel["title"]
        taken |= area


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_and_query_reads_the_chosen_data_source(name: str) -> None:
    body = dashboard(name)
    (source,) = [one for one in body["templating"]["list"] if one["type"] == "datasource"]
    assert (source["name"], source["query"]) == ("datasource", "prometheus")
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    asked = [*panels(name), *(target for panel in panels(name) for target in panel["targets"])]
    asked += [one for one in body["templating"]["list"] if one["type"] == "query"] + body["annotations"][
        "list"
    ]
    assert len(asked) > 20
    assert all(one["datasource"] == chosen for one in asked)


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_has_a_title_a_known_kind_and_a_unit(name: str) -> None:
    titles = [panel["title"] for panel in panels(name) if panel["type"] != "table"]
    assert len(set(titles)) == len(titles)
    for panel in panels(name):
        assert panel["type"] in KINDS
        units = [panel["fieldConfig"]["defaults"]["unit"]]
        for override in panel["fieldConfig"]["overrides"]:
            units += [one["value"] for one in override["properties"] if one["id"] == "unit"]
        assert set(units) <= UNITS, panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters)), panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_units_fit_what_is_asked_for(name: str) -> None:
    for panel in panels(name):
        unit = panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            expr = target["expr"]
            if re.fullmatch(r"max( by \([^)]*\))? \(\w+_bytes\{[^}]*\}\)", expr):
                assert unit == "bytes", panel["title"]
            if "histogram_quantile" in expr or re.fullmatch(r"max[^{]*_seconds\{[^}]*\}\)", expr):
                assert unit == "s", panel["title"]
            if re.search(r"ratio\{[^}]*\}\)?$", expr) and panel["type"] != "table":
                assert unit == "percentunit", panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_variables_that_are_used_are_declared_and_the_other_way_round(name: str) -> None:
    body = dashboard(name)
    declared = {one["name"] for one in body["templating"]["list"]}
    used = set(re.findall(r"\$\{?(datasource|namespace|job)\b", str({**body, "uid": ""})))
    assert declared == used & declared | {"datasource"}
    assert {one for one in used if one != "datasource"} <= declared | ({"job"} if name == "fleet" else set())


def test_a_table_of_jobs_leads_to_the_jobs_dashboard() -> None:
    uid = dashboard("job")["uid"]
    variables = {one["name"] for one in dashboard("job")["templating"]["list"]}
    tables = [panel for panel in panels("fleet") if panel["type"] == "table"]
    assert len(tables) == 2
    for panel in tables:
        (link,) = [
            link
            for override in panel["fieldConfig"]["overrides"]
            for one in override["properties"]
            if one["id"] == "links"
            for link in one["value"]
        ]
        assert link["url"].startswith(f"/d/{uid}?")
        assert set(re.findall(r"var-(\w+)=", link["url"])) < variables


def test_the_jobs_dashboard_marks_where_stages_begin() -> None:
    marks = {one["name"]: one for one in dashboard("job")["annotations"]["list"]}
    assert "finetune_job_stage_index" in marks["Stages"]["expr"]
    assert "{{stage}}" in marks["Stages"]["titleFormat"]
