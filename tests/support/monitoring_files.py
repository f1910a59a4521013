"""Rules and dashboards of the chart, and the expressions in them."""

import json
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from built_tools import ROOT

Body = dict[str, Any]
CHART = ROOT / "charts/finetune-operator"
RULES = sorted((CHART / "files/rules").glob("*.yaml"))
DASHBOARDS = sorted((CHART / "files/dashboards").glob("*.json"))
RUNBOOKS = ROOT / "docs/runbooks"
_STANDS_FOR = {
    "$__rate_interval": "1m",
    "$__interval": "1m",
    "$namespace": "NAMESPACE",
    "$job": "JOB",
}
"""Variables of Grafana; those of the dashboards can be given other values."""


class Expression(NamedTuple):
    """One expression and where it stands."""

    where: str
    expr: str


@cache
def prometheus() -> Path:
    """The folder with `prometheus` and `promtool`."""
    done = subprocess.run([ROOT / "tools/prometheus.sh"], check=True, stdout=subprocess.PIPE, text=True)
    return Path(done.stdout.strip())


def rules() -> list[Body]:
    """All rules of all groups."""
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, Body]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def dashboard(name: str) -> Body:
    """One dashboard as Grafana gets it."""
    content: Body = json.loads((CHART / f"files/dashboards/{name}.json").read_text())
    return content


def panels(name: str) -> list[Body]:
    """Its panels, without the titles of rows."""
    return [panel for panel in dashboard(name)["panels"] if panel["type"] != "row"]


def filled(expr: str, **values: str) -> str:
    """The expression as Grafana would send it."""
    wanted = _STANDS_FOR | {f"${name}": value for name, value in values.items()}
    for name in sorted(wanted, key=len, reverse=True):
        expr = expr.replace(name, wanted[name])
    assert "$" not in expr, expr
    return expr


def of_rules() -> list[Expression]:
    """Every expression of the rules, those in annotations included."""
    found = []
    for rule in rules():
        name = rule.get("alert") or rule["record"]
        found.append(Expression(name, rule["expr"]))
        texts = " ".join(rule.get("annotations", {}).values())
        queried = re.findall(r'printf\s+"([^"]+)"[^}]*\|\s*query', texts)
        found += [Expression(f"{name}: annotation", query.replace("%s", "x")) for query in queried]
    return found


def of_dashboard(name: str, **values: str) -> list[Expression]:
    """Every expression of a dashboard: panels and annotations."""
    body = dashboard(name)
    found = [
        Expression(f"{name}: {panel['title']} {target['refId']}", filled(target["expr"], **values))
        for panel in panels(name)
        for target in panel["targets"]
    ]
    marks = body["annotations"]["list"]
    return found + [Expression(f"{name}: {one['name']}", filled(one["expr"], **values)) for one in marks]


def of_variables(name: str) -> list[tuple[str, str]]:
    """Selector and label of each choice at the top of a dashboard."""
    queries = [one["definition"] for one in dashboard(name)["templating"]["list"] if one["type"] == "query"]
    found = [re.fullmatch(r"label_values\((.+), (\w+)\)", query) for query in queries]
    return [(filled(match[1]), match[2]) for match in found if match]
