"""Pieces of YAML in the documents, and what each claims to be."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from finetune_operator.settings import Settings

ROOT = Path(__file__).parents[2]
CHART_VALUES = ROOT / "charts" / "finetune-operator" / "values.yaml"

_FENCED = re.compile(r"^(?P<indent> *)```yaml\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)
_NAMED = {"# values.yaml": "values", "# operator.yaml": "settings", "# prometheus.yml": "prometheus"}


@dataclass(frozen=True)
class Snippet:
    """One YAML document of one fenced block."""

    where: str
    kind: str
    """job, spec (a part of one), values, settings, object (any other of Kubernetes), prometheus, or unknown."""
    text: str
    content: dict[str, Any]


def snippets(texts: Mapping[str, str]) -> list[Snippet]:
    """Those of all Markdown files in `texts`, which go by their path from the top."""
    values = frozenset(yaml.safe_load(CHART_VALUES.read_text()))
    return [
        found
        for name, text in sorted(texts.items())
        if name.endswith(".md")
        for found in _of(name, text, values)
    ]


def documents() -> dict[str, str]:
    """Every Markdown file outside of hidden folders."""
    paths = [*ROOT.glob("*.md"), *(path for top in ("docs", "charts") for path in (ROOT / top).rglob("*.md"))]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def _of(name: str, text: str, values: frozenset[str]) -> Iterator[Snippet]:
    for number, block in enumerate(_FENCED.finditer(text), start=1):
        for part in textwrap.dedent(block["text"]).split("\n---\n"):
            content = yaml.safe_load(part)
            where = f"{name}, block {number}"
            yield Snippet(
                where, _kind(part, content, values), part, content if isinstance(content, dict) else {}
            )


def _kind(text: str, content: Any, values: frozenset[str]) -> str:
    said = _NAMED.get(text.partition("\n")[0].strip())
    if said or not isinstance(content, dict):
        return said or "unknown"
    if "kind" in content:
        return "job" if content["kind"] == "FineTuneJob" else "object"
    settings = {str(field.alias) for field in Settings.model_fields.values()}
    guesses = {"spec": {"spec"}, "settings": settings, "values": set(values)}
    fitting = [kind for kind, keys in guesses.items() if content.keys() <= keys]
    return fitting[0] if len(fitting) == 1 else "unknown"
