"""The JSON schema of the values: pydantic's, flat and in the words that every Helm 3 understands."""

import re
from typing import Any

from pydantic import BaseModel

from finetune_operator.settings import Settings
from tools.chart.values import Values

Schema = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"
"""Old, so that every Helm 3 knows it."""
SET_BY_THE_CHART = (
    "namespaces",
    "podNamespace",
    "podName",
    "http",
    "lease.name",
    "trainer.images",
    "trainer.imagePullSecrets",
    "networkPolicy.monitoringNamespaceSelector",
    "workloadIdentity",
)
"""Settings that come from other values, or from the pod."""
NOT_SHOWN = frozenset({"timings"})
"""In the schema only."""
_KEPT = (
    "type",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minItems",
    "additionalProperties",
)


def values_schema() -> Schema:
    """Schema of the chart's values, `config` included; each has its description, each leaf its default."""
    values = flat(Values)
    config = flat(Settings)
    for path in SET_BY_THE_CHART:
        _remove(config, path)
    config["description"] = (
        "The operator's own settings, as they stand in its file. Those that are not here come from other values;"
        " only `timings`, which tests shorten, may be set as well."
    )
    values["properties"]["config"] = config
    return {"$schema": DRAFT, "title": "Values of finetune-operator", **values}


def flat(model: type[BaseModel]) -> Schema:
    """The schema of a model without references."""
    whole = model.model_json_schema()
    return _flat(whole, whole.get("$defs", {}))


def _flat(node: Schema, definitions: dict[str, Schema]) -> Schema:
    node = _resolved(node, definitions)
    kept = {key: node[key] for key in _KEPT if key in node}
    if "description" in node:
        kept = {"description": _words(node["description"]), **kept}
    if node.get("properties"):
        kept["properties"] = {
            name: _flat(_within(node, one, name), definitions) for name, one in node["properties"].items()
        }
    elif "default" in node:
        kept["default"] = node["default"]
    if "items" in node:
        kept["items"] = _flat(node["items"], definitions)
    if isinstance(kept.get("additionalProperties"), dict):
        kept["additionalProperties"] = _flat(kept["additionalProperties"], definitions)
    return kept


def _within(group: Schema, field: Schema, name: str) -> Schema:
    """What the group's default says of a field goes over the field's own; a field without words gets the group's."""
    words = {"description": group["description"]} if "description" in group and "$ref" not in field else {}
    default = {"default": group["default"][name]} if name in group.get("default", {}) else {}
    return {**words, **field, **default}


def _words(docstring: str) -> str:
    """In one line, and as YAML calls things."""
    return re.sub(r"\bNone\b", "null", " ".join(docstring.split()))


def _resolved(node: Schema, definitions: dict[str, Schema]) -> Schema:
    """References replaced, and choices between types made a list of types: messages about them are readable."""
    if "$ref" in node:
        own = {key: value for key, value in node.items() if key != "$ref"}
        return _resolved(definitions[node["$ref"].rpartition("/")[2]], definitions) | own
    if "anyOf" not in node:
        return node
    own = {key: value for key, value in node.items() if key != "anyOf"}
    choices = [_resolved(one, definitions) for one in node["anyOf"]]
    merged = {key: value for one in choices for key, value in one.items()}
    types = [kind for one in choices for kind in _types(one)]
    if "enum" in merged and "null" in types:
        merged["enum"] = [*merged["enum"], None]
    return {**merged, **own, "type": list(dict.fromkeys(types))}


def _types(node: Schema) -> list[str]:
    kind = node["type"]
    return list(kind) if isinstance(kind, list) else [kind]


def _remove(schema: Schema, path: str) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        schema = schema["properties"][parent]
    del schema["properties"][name]
