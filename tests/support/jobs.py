"""Builders for tests: FineTuneJobs as YAML would give them, and as models."""

from copy import deepcopy
from typing import Any

from finetune_api import schedule, yaml_loader
from finetune_api.plan import ResolvedJob
from finetune_api.v1alpha1 import FineTuneJob

HEAD = {"name": "head", "unfreeze": {"blocks": 0}}
TOP = {"name": "top", "unfreeze": {"blocks": 2}}
EVERYTHING = {"name": "everything", "unfreeze": {"all": True}}


def document(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """A small job; `changes` maps dotted paths below the spec to values: {"model.imageSize": 96}."""
    result: dict[str, Any] = {
        "apiVersion": "finetune.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "flowers"},
        "spec": {
            "model": {"backbone": "MobileNetV2"},
            "data": {"train": "./flowers"},
            "output": {"uri": "./models"},
        },
    }
    for path, value in (changes or {}).items():
        *parents, last = path.split(".")
        place = result["spec"]
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = deepcopy(value)
    return result


def job(changes: dict[str, Any] | None = None) -> FineTuneJob:
    """The same, read and checked."""
    return yaml_loader.parse_job(document(changes), "job.yaml")


def resolved(changes: dict[str, Any] | None = None) -> ResolvedJob:
    """The same, resolved."""
    return schedule.resolve(job(changes))
