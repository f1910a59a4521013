"""Values in the documents are taken by the chart, and lead to settings that the operator reads."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import doc_snippets
import helm
from doc_snippets import Snippet
from finetune_operator.settings import Settings

FOUND = [one for one in doc_snippets.snippets(doc_snippets.documents()) if one.kind == "values"]


def _params() -> list[Any]:
    return [pytest.param(one, id=one.where) for one in FOUND]


@pytest.mark.parametrize("snippet", _params())
def test_values_in_the_documents_work(snippet: Snippet, tmp_path: Path) -> None:
    settings = tmp_path / "config.yaml"
    settings.write_text(yaml.safe_dump(helm.render(snippet.content).settings))
    Settings.read(settings, {})


def test_there_are_values_in_the_documents() -> None:
    assert any(one.where.startswith("docs/installation.md") for one in FOUND)
