"""Which parts of the FineTuneJob are not built yet; asking for one is refused by name, never ignored."""

import json
from collections.abc import Iterator
from typing import Any

from finetune_api.errors import BadJob
from finetune_api.v1alpha1 import FineTuneJob
from finetune_api.v1alpha1.schema import Model, field_name

_BUILT_VALUES: dict[str, tuple[object, ...]] = {
    "model.task": ("Multiclass",),
    "model.head.pooling": ("Average", "Max"),
    "data.format": ("ImageFolder",),
    "precision": ("Auto", "Float32"),
    "output.formats[].kind": ("SavedModel", "TFLite"),
}
"""Fields of which some values are built."""

_UNBUILT: tuple[str, ...] = (
    "data.test",
    "data.volumeClaimName",
    "xla",
    "stages[].layerDecay",
    "stages[].ema",
    "checkpoint.warmStartFrom",
    "output.volumeClaimName",
    "output.report",
)
"""Fields of which only the default is built."""

_UNBUILT_LOCALLY: tuple[str, ...] = ("storage.caConfigMap", "activeDeadlineSeconds")
"""Fields that are built on a cluster; elsewhere only their default is."""

_CLUSTER_ONLY: tuple[str, ...] = (
    "storage.secretName",
    "image",
    "env",
    "serviceAccountName",
    "resources",
    "placement",
    "scheduling",
    "suspend",
    "managedBy",
    "ttlSecondsAfterFinished",
    "deadNodeTimeoutSeconds",
)
"""Fields about pods: the same file runs on a laptop, where these mean nothing."""


def refuse_unbuilt(job: FineTuneJob, cluster: bool = False) -> None:
    """Refuse a job that asks for something that is not built yet: on a `cluster`, or on one machine.

    Raises:
        BadJob: reason NotBuilt, naming each such field and value.
    """
    fields = _UNBUILT if cluster else _UNBUILT + _UNBUILT_LOCALLY
    found = [*_unbuilt_values(job), *_away_from_default(job, fields)]
    if found:
        raise BadJob(
            "NotBuilt",
            "not built yet: " + ", ".join(found),
            fix="remove " + ("it" if len(found) == 1 else "them") + " from the job",
        )


def cluster_only(job: FineTuneJob) -> list[str]:
    """Paths set in this job that have an effect on a cluster only, for a note to whoever runs it
    elsewhere."""
    return [found.split(":")[0] for found in _away_from_default(job, _CLUSTER_ONLY)]


def overridden(job: FineTuneJob) -> list[str]:
    """Paths set in this job that another field takes the effect from, each with that field."""
    both = job.spec.schedule is not None and job.spec.stages is not None
    return ["spec.schedule: spec.stages wins"] if both else []


def remark(path: str) -> str:
    """What is to be said about the field at `path`, such as stages[].ema, to whoever may want to use it."""
    if path in _UNBUILT:
        return "Not built yet."
    built = _BUILT_VALUES.get(path)
    said = f"Built: {', '.join(map(str, built))}." if built else ""
    if path in _UNBUILT_LOCALLY:
        said = "On a cluster only: not built for one machine."
    return "On a cluster only." if path in _CLUSTER_ONLY else said


def _unbuilt_values(job: FineTuneJob) -> Iterator[str]:
    for pattern, built in _BUILT_VALUES.items():
        for path, _, _, value in _find(job.spec, pattern):
            if value not in built:
                yield f"{path}: {value} (built: {', '.join(map(str, built))})"


def _away_from_default(job: FineTuneJob, patterns: tuple[str, ...]) -> Iterator[str]:
    for pattern in patterns:
        for path, parent, name, value in _find(job.spec, pattern):
            if value != type(parent).model_fields[name].get_default(call_default_factory=True):
                yield f"{path}: {_short(value)}"


def _short(value: object) -> str:
    return json.dumps(value, default=lambda model: model.model_dump(mode="json", exclude_defaults=True))


def _find(model: Model, pattern: str, path: str = "spec") -> Iterator[tuple[str, Model, str, Any]]:
    """Every place that `pattern` names below `model`: its full path, the model it is in, the field, the
    value."""
    first, _, rest = pattern.partition(".")
    name = _python_name(model, first.removesuffix("[]"))
    value = getattr(model, name)
    here = f"{path}.{first.removesuffix('[]')}"
    if not rest:
        yield here, model, name, value
    elif first.endswith("[]"):
        for index, item in enumerate(value or []):
            yield from _find(item, rest, f"{here}[{index}]")
    elif value is not None:
        yield from _find(value, rest, here)


def _python_name(model: Model, written: str) -> str:
    return next(name for name in type(model).model_fields if field_name(name) == written)
