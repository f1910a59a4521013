"""Grafana's JSON from short descriptions: panels, rows of them, variables and annotations."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
WIDTH = 24
"""Of Grafana's grid."""
SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
SCHEMA_VERSION = 39
_CHOICE = "var-namespace=${__data.fields.namespace}&var-job=${__data.fields.job}"
LINKED = f"/d/finetune-job?${{datasource:queryparam}}&{_CHOICE}"


@dataclass(frozen=True)
class Query:
    """An expression of PromQL and what its series are called."""

    expr: str
    name: str = ""
    """Legend, such as {{worker}}; in a table the title of the column."""
    unit: str = ""
    """In a table: of the column."""


@dataclass(frozen=True)
class Panel:
    """One panel, wherever it will be."""

    title: str
    queries: Sequence[Query]
    unit: str = "short"
    text: str = ""
    """What it shows, behind the i in its corner."""
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    custom: Json = field(default_factory=dict)
    """Of `fieldConfig.defaults.custom`."""
    defaults: Json = field(default_factory=dict)
    """More of `fieldConfig.defaults`."""
    options: Json = field(default_factory=dict)


def series(title: str, unit: str, *queries: Query, text: str = "", width: int = 8) -> Panel:
    """Lines over time."""
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
    options = {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
    return Panel(title, queries, unit, text, width=width, options=options, custom={"lineWidth": 1})


def share(title: str, *queries: Query, text: str = "", width: int = 8) -> Panel:
    """Lines between 0 and 100 %."""
    lines = series(title, "percentunit", *queries, text=text, width=width)
    return _with(lines, defaults={"min": 0, "max": 1})


def stacked(title: str, unit: str, *queries: Query, text: str = "", width: int = 8) -> Panel:
    """Areas on top of one another."""
    lines = series(title, unit, *queries, text=text, width=width)
    return _with(
        lines, custom={"lineWidth": 1, "fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}}
    )


def stat(title: str, unit: str, query: Query, text: str = "", width: int = 4, words: bool = False) -> Panel:
    """One figure, or with `words` what the legend makes of it."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "name" if words else "auto",
        "colorMode": "none",
        "graphMode": "none",
    }
    return Panel(title, [query], unit, text, "stat", width, 4, options=options)


def bars(title: str, unit: str, query: Query, text: str = "", width: int = 8) -> Panel:
    """A bar for each series, as things are now."""
    reduce = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    options = {"reduceOptions": reduce, "displayMode": "basic", "orientation": "horizontal"}
    return Panel(title, [query], unit, text, "bargauge", width, options=options, defaults={"min": 0})


def table(title: str, *queries: Query, text: str = "", width: int = 24) -> Panel:
    """A line for each job; each query is a column, those without a name are only there for their labels."""
    return Panel(title, queries, kind="table", text=text, width=width, options={"showHeader": True})


def dashboard(
    uid: str, title: str, rows: Iterable[tuple[str, Sequence[Panel]]], variables: Sequence[Json], **more: Any
) -> Json:
    """A whole dashboard."""
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    return {
        "uid": uid,
        "title": title,
        "tags": ["finetune"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "timezone": "",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source, *variables]},
        "panels": _placed(rows),
        "annotations": {"list": []},
        **more,
    }


def variable(name: str, label: str, query: str, *, many: bool = False) -> Json:
    """A choice of label values."""
    every = {
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        **(every if many else {"multi": False, "includeAll": False}),
    }


def annotation(name: str, expr: str, title: str, color: str) -> Json:
    """A mark at each moment at which the expression has a value."""
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "iconColor": color,
        "expr": expr,
        "titleFormat": title,
        "useValueForTime": False,
    }


def _with(panel: Panel, **changes: Any) -> Panel:
    return Panel(**{**panel.__dict__, **changes})


def _placed(rows: Iterable[tuple[str, Sequence[Panel]]]) -> list[Json]:
    """Left to right, and on to the next line where a panel no longer fits."""
    found: list[Json] = []
    y = 0
    for title, panels in rows:
        found.append(
            {"type": "row", "title": title, "id": len(found) + 1, "collapsed": False, "panels": []}
            | {"gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}}
        )
        y += 1
        x = line = 0
        for panel in panels:
            if x + panel.width > WIDTH:
                x, y, line = 0, y + line, 0
            place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            found.append({"id": len(found) + 1, "gridPos": place, **_panel(panel)})
            x, line = x + panel.width, max(line, panel.height)
        y += line
    return found


def _panel(panel: Panel) -> Json:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": SOURCE,
        "targets": [_target(panel, place, query) for place, query in enumerate(panel.queries)],
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "custom": panel.custom, **panel.defaults},
            "overrides": _columns(panel) if panel.kind == "table" else [],
        },
        "options": panel.options,
        **({"transformations": _merged(panel)} if panel.kind == "table" else {}),
    }


def _target(panel: Panel, place: int, query: Query) -> Json:
    now = panel.kind in ("table", "stat", "bargauge")
    return {
        "refId": _letter(place),
        "datasource": SOURCE,
        "expr": query.expr,
        "legendFormat": query.name or "__auto",
        "instant": now,
        "range": not now,
        "format": "table" if panel.kind == "table" else "time_series",
    }


def _columns(panel: Panel) -> list[Json]:
    units = [
        {
            "matcher": {"id": "byName", "options": query.name},
            "properties": [{"id": "unit", "value": query.unit}],
        }
        for query in panel.queries
        if query.name and query.unit
    ]
    link = {"id": "links", "value": [{"title": "Show this job", "url": LINKED}]}
    return [*units, {"matcher": {"id": "byName", "options": "job"}, "properties": [link]}]


def _merged(panel: Panel) -> list[Json]:
    """One line per job out of one table per query. A single query's column has no letter."""
    values = {query: f"Value #{_letter(place)}" for place, query in enumerate(panel.queries)}
    if len(values) == 1:
        values = dict.fromkeys(values, "Value")
    hidden = {"Time": True, **{column: True for query, column in values.items() if not query.name}}
    names = {"finetunejob": "job", **{column: query.name for query, column in values.items() if query.name}}
    organize = {"excludeByName": hidden, "renameByName": names, "indexByName": {}}
    return [{"id": "merge", "options": {}}, {"id": "organize", "options": organize}]


def _letter(place: int) -> str:
    return chr(ord("A") + place)
