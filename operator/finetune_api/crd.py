"""The CustomResourceDefinition, generated from the models: pydantic's JSON schema made structural.

A structural schema has no references and no null: the API server drops a null field before it validates, so
an optional field is one that is not required. Unknown fields need no words; `kubectl` refuses them.
"""

from typing import Any

import yaml

from finetune_api.contract import GROUP, KIND, VERSION
from finetune_api.v1alpha1 import FineTuneJob, FineTuneJobSpec
from finetune_api.v1alpha1.fields import MEANINGS, NAME
from finetune_api.v1alpha1.job import CHANGEABLE
from finetune_api.v1alpha1.schema import field_name

Schema = dict[str, Any]

_KEPT = frozenset(
    {
        "type",
        "enum",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "required",
    }
)
"""Keywords that mean the same on both sides."""
_COLUMNS = (
    ("Phase", "string", ".status.phase", 0),
    ("Stage", "string", ".status.summary.stage", 0),
    ("Epoch", "string", ".status.summary.epoch", 0),
    ("Progress", "string", ".status.summary.progress", 0),
    ("ETA", "string", ".status.summary.eta", 0),
    ("Best", "string", ".status.summary.best", 0),
    ("Workers", "string", ".status.summary.workers", 0),
    ("Backbone", "string", ".spec.model.backbone", 1),
    ("GPUs", "string", ".status.summary.gpus", 1),
    ("Restarts", "integer", ".status.workers.restarts", 1),
    ("Goodput", "string", ".status.accounting.goodput", 1),
    ("Reason", "string", ".status.summary.reason", 1),
    ("Model", "string", ".status.artifacts.modelURI", 1),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)
"""Name, type, where, and 1 for those that only `kubectl get -o wide` shows."""
_LONGEST_NAME = 63
"""Of a job, as of a label's value."""
_WHOLE = [
    {
        "rule": f"self.metadata.name.matches(r'{NAME}')",
        "message": f"expected {MEANINGS[NAME]}",
        "fieldPath": ".metadata.name",
    },
    {
        "rule": "!has(oldSelf.status) || has(self.status) || !(oldSelf.status.phase in ['Complete', 'Failed'])",
        "message": "a job that ended stays as it is",
        "fieldPath": ".status",
    },
]
"""Rules of the job as a whole; the status' own rule does not see it go."""


def crd() -> Schema:
    """The CustomResourceDefinition of FineTuneJobs as a dictionary, the same on every call."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"finetunejobs.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": "finetunejobs",
                "singular": "finetunejob",
                "shortNames": ["ftj", "finetune"],
                "categories": ["ml"],
            },
            "versions": [_version()],
        },
    }


def crd_yaml() -> str:
    """The same as text: what is committed and what `finetune crd` prints."""
    return yaml.safe_dump(crd(), sort_keys=False, width=110, allow_unicode=True)


def _version() -> Schema:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(*column) for column in _COLUMNS],
        "selectableFields": [{"jsonPath": ".spec.model.backbone"}, {"jsonPath": ".status.phase"}],
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": _job_schema()},
    }


def _column(name: str, kind: str, path: str, priority: int) -> Schema:
    return {"name": name, "type": kind, "jsonPath": path} | ({"priority": priority} if priority else {})


def _job_schema() -> Schema:
    whole = FineTuneJob.model_json_schema(mode="validation")
    job = structural(whole, whole["$defs"])
    properties = job["properties"]
    # The API server owns these three; of the metadata a CRD may look at the name only.
    for name in ("apiVersion", "kind"):
        properties[name] = {"type": "string", "description": properties[name]["description"]}
    properties["metadata"] = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": _LONGEST_NAME}},
    }
    properties["spec"]["x-kubernetes-validations"] += _immutability()
    job["x-kubernetes-validations"] = _WHOLE
    return job


def _immutability() -> list[dict[str, str]]:
    """One rule for each field that may not change: a field's own rule does not see it come or go."""
    fields = {field_name(name): field for name, field in FineTuneJobSpec.model_fields.items()}
    return [
        {
            "rule": _unchanged(name, field.is_required() or field.default is not None),
            "message": f"{name} cannot change once the job exists: make a new FineTuneJob",
            "fieldPath": f".{name}",
        }
        for name, field in fields.items()
        if name not in CHANGEABLE
    ]


def _unchanged(name: str, always_there: bool) -> str:
    same = f"self.{name} == oldSelf.{name}"
    return (
        same if always_there else f"has(self.{name}) ? has(oldSelf.{name}) && {same} : !has(oldSelf.{name})"
    )


def structural(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """A JSON schema of pydantic as a structural one.

    Args:
        node: the schema.
        definitions: what its references stand for.
    """
    node = _without_reference(node, definitions)
    result = {key: value for key, value in node.items() if key in _KEPT or key.startswith("x-kubernetes-")}
    if "x-kubernetes-int-or-string" in node:
        result["anyOf"] = node["anyOf"]
    if "description" in node:
        result["description"] = " ".join(node["description"].split())
    if "const" in node:
        result["enum"] = [node["const"]]
    if "properties" in node:
        result["properties"] = {k: structural(v, definitions) for k, v in node["properties"].items()}
    if "items" in node:
        result["items"] = structural(node["items"], definitions)
    return result | _numbers(node) | _pattern(node) | _values(node, definitions) | _default(node)


def _without_reference(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """References and optional fields replaced by what they stand for; a field's own words win."""
    present = [one for one in node.get("anyOf", []) if one.get("type") != "null"]
    if len(present) == 1:
        own = {key: value for key, value in node.items() if key != "anyOf"}
        return _without_reference(present[0], definitions) | own
    if "$ref" in node:
        own = {key: value for key, value in node.items() if key != "$ref"}
        return _without_reference(definitions[node["$ref"].rpartition("/")[2]], definitions) | own
    return node


def _numbers(node: Schema) -> Schema:
    bounds: Schema = {}
    for new, old in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if new in node:
            bounds |= {old: node[new], new: True}
    return bounds


def _pattern(node: Schema) -> Schema:
    """As a rule with words where there are some: a bare pattern tells few people what to write."""
    pattern = node.get("pattern")
    if pattern not in MEANINGS:
        return {"pattern": pattern} if pattern else {}
    matches = f"self.matches(r'{pattern}')"
    rule = f"type(self) == int || {matches}" if "x-kubernetes-int-or-string" in node else matches
    return {"x-kubernetes-validations": [{"rule": rule, "message": f"expected {MEANINGS[pattern]}"}]}


def _values(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """The values of a map; what pydantic says of its keys as patterns is said in CEL."""
    found: Schema = {}
    if isinstance(node.get("additionalProperties"), dict):
        found["additionalProperties"] = structural(node["additionalProperties"], definitions)
    for pattern, value in node.get("patternProperties", {}).items():
        found["additionalProperties"] = structural(value, definitions)
        longest = node["propertyNames"]["maxLength"]
        found["x-kubernetes-validations"] = [
            {
                "rule": f"self.all(key, key.size() <= {longest} && key.matches(r'{pattern}'))",
                "message": f"each key must be {MEANINGS[pattern]}",
            }
        ]
    return found


def _default(node: Schema) -> Schema:
    """In full, as the API server checks a default against the rules before it adds the defaults inside."""
    value = _without_null(node.get("default"))
    return {} if value is None else {"default": value}


def _without_null(value: Any) -> Any:
    """Null and absent are the same."""
    if isinstance(value, dict):
        return {key: _without_null(inner) for key, inner in value.items() if inner is not None}
    return [_without_null(item) for item in value] if isinstance(value, list) else value
