"""FineTuneJobs that nobody can run: what is wrong, where, and the words that say so on both sides."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import jobs


@dataclass(frozen=True)
class Refusal:
    """One wrong job."""

    at: str
    """Where the API server points."""
    spec: dict[str, Any]
    """What is changed in a good job, by dotted paths."""
    said: str
    """What the API server says."""
    ours: str = ""
    """What `finetune` says, where that is not the same."""

    def __str__(self) -> str:
        return f"{self.at}: {self.said[:40]}"

    def document(self, name: str) -> dict[str, Any]:
        """The job."""
        return good(name, self.spec)


def good(name: str, spec: dict[str, Any] | None = None) -> dict[str, Any]:
    """A job that can run on a cluster, and `spec` put over it."""
    uris = {"data.train": "s3://bucket/flowers", "output.uri": "s3://models/team-a"}
    return jobs.document(uris | (spec or {})) | {"metadata": {"name": name}}


def read(file: Path) -> list[Refusal]:
    """Those of a file, and the ones too long for it."""
    return [*(Refusal(**row) for row in yaml.safe_load(file.read_text())), *_LONG]


_LONG = (
    Refusal(
        "spec.resources.limits",
        {"resources.limits": {"x" * 254 + "/a": 1}},
        "each key must be a label key",
        "at most 253 characters",
    ),
    Refusal(
        "spec.stages", {"stages": [jobs.HEAD] * 17}, "must have at most 16 items", "no more than 16 of them"
    ),
    Refusal(
        "spec.env[0].value",
        {"env": [{"name": "NCCL_DEBUG", "value": "x" * 1025}]},
        "may not be more than 1024 bytes",
        "at most 1024 characters",
    ),
)
