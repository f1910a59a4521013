"""Every piece of YAML in the documents is what it claims to be."""

from pathlib import Path
from typing import Any

import pytest

import doc_snippets
from doc_snippets import Snippet
from finetune_api import schedule, yaml_loader
from finetune_operator.settings import Settings

FOUND = doc_snippets.snippets(doc_snippets.documents())
A_JOB: dict[str, Any] = {
    "apiVersion": "finetune.dev/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "flowers"},
    "spec": {
        "model": {"backbone": "MobileNetV2"},
        "data": {"train": "s3://bucket/flowers"},
        "output": {"uri": "s3://bucket/models"},
    },
}


def _those(kind: str) -> list[Any]:
    return [pytest.param(one, id=one.where) for one in FOUND if one.kind == kind]


def _completed(base: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """`base` with what `part` says."""
    inside = {
        key: _completed(base[key], value) for key, value in part.items() if isinstance(base.get(key), dict)
    }
    return {**base, **part, **inside}


@pytest.mark.parametrize("snippet", _those("job"))
def test_a_job_can_be_run_on_a_cluster(snippet: Snippet) -> None:
    job = yaml_loader.parse_job(yaml_loader.load(snippet.text, snippet.where), snippet.where)
    schedule.resolve(job, cluster=True)


@pytest.mark.parametrize("snippet", _those("spec"))
def test_a_part_of_a_job_fits_into_one(snippet: Snippet) -> None:
    part = yaml_loader.load(snippet.text, snippet.where)
    schedule.resolve(yaml_loader.parse_job(_completed(A_JOB, part), snippet.where), cluster=True)


@pytest.mark.parametrize("snippet", _those("settings"))
def test_settings_are_what_the_operator_reads(snippet: Snippet, tmp_path: Path) -> None:
    file = tmp_path / "operator.yaml"
    file.write_text(snippet.text)
    Settings.read(file, {})


@pytest.mark.parametrize("snippet", _those("object"))
def test_another_object_has_what_every_object_has(snippet: Snippet) -> None:
    assert snippet.content["apiVersion"]
    assert snippet.content["metadata"]["name"]


def test_every_piece_of_yaml_says_what_it_is() -> None:
    """Begin one with `# values.yaml` or `# operator.yaml` where that is not clear. tests/chart checks values."""
    assert [one.where for one in FOUND if one.kind == "unknown"] == []
    assert {one.kind for one in FOUND} >= {"job", "spec", "settings", "object", "values"}
