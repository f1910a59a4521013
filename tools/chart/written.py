"""values.yaml and the README's table, from the schema of the values."""

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from tools.chart.schema import NOT_SHOWN, Schema

WIDTH = 110
_HEADING = "# Made by `make generate` from tools/chart. Every value of the chart with its default."


def values_yaml(schema: Schema) -> str:
    """The default values with a comment each."""
    return "\n".join([_HEADING, *_group(schema, 0)]) + "\n"


def table(schema: Schema) -> str:
    """Markdown: a section for each group of values, after the values that stand alone."""
    alone = {name: one for name, one in schema["properties"].items() if not _inside(one)}
    groups = {name: one for name, one in schema["properties"].items() if _inside(one)}
    parts = [_section(name, one) for name, one in groups.items()]
    return "\n".join([*parts, "### More\n", *_rows(alone, "")]) + "\n"


def _group(schema: Schema, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, one in _inside(schema).items():
        if depth == 0:
            yield ""
        if one.get("description") != schema.get("description"):
            yield from _comment(one, indent)
        if _inside(one):
            yield f"{indent}{name}:"
            yield from _group(one, depth + 1)
        else:
            yield from _value(name, one.get("default"), indent)


def _comment(schema: Schema, indent: str) -> Iterator[str]:
    text = schema.get("description", "")
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False
    )


def _value(name: str, value: Any, indent: str) -> Iterator[str]:
    line = f"{indent}{name}: {flow(value)}"
    if len(line) <= WIDTH:
        yield line
        return
    yield f"{indent}{name}:"
    yield from textwrap.indent(yaml.safe_dump(plain(value), sort_keys=False), f"{indent}  ").splitlines()


def flow(value: Any) -> str:
    """A value on one line, as YAML."""
    if value == "":
        return '""'
    dumped = yaml.safe_dump(plain(value), default_flow_style=True, sort_keys=False, width=10_000)
    return dumped.removesuffix("...\n").strip()


def plain(value: Any) -> Any:
    """Whole numbers without a point."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _inside(schema: Schema) -> dict[str, Schema]:
    return {name: one for name, one in schema.get("properties", {}).items() if name not in NOT_SHOWN}


def _section(name: str, schema: Schema) -> str:
    text = schema.get("description", "")
    return "\n".join([f"### {name}\n", *([f"{text}\n"] if text else []), *_rows(_inside(schema), name), ""])


def _rows(properties: dict[str, Schema], prefix: str) -> list[str]:
    rows = [f"| `{path}` | `{default}` | {text} |" for path, default, text in _leaves(properties, prefix)]
    return ["| value | default | what it is |", "|---|---|---|", *rows]


def _leaves(properties: dict[str, Schema], prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, one in properties.items():
        path = f"{prefix}.{name}" if prefix else name
        if _inside(one):
            yield from _leaves(_inside(one), path)
        else:
            text = one.get("description", "").replace("|", "\\|")
            yield path, flow(one.get("default")).replace("|", "\\|"), text
