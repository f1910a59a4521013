"""Schemas for kubeconform, from what an API server says about itself."""

import json
from pathlib import Path
from typing import Any

from api_client import Api

Schema = dict[str, Any]
_ALL = "_definitions.json"
# Strings in OpenAPI 2, but the server takes numbers too.
_LOOSE = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": ["string", "integer"],
    "io.k8s.apimachinery.pkg.api.resource.Quantity": ["string", "number"],
}
LOCATION = "{{.ResourceKind}}{{.KindSuffix}}.json"
"""How kubeconform finds one, below the folder."""


def write(api: Api, folder: Path) -> int:
    """A file for each kind that the server knows, strict about unknown fields; how many."""
    definitions: dict[str, Schema] = api.request("GET", "/openapi/v2")["definitions"]
    for name, kinds in _LOOSE.items():
        definitions[name] = {"type": kinds}
    for definition in definitions.values():
        _forbid_unknown(definition)
    (folder / _ALL).write_text(json.dumps({"definitions": definitions}))
    names = {_file(kind): name for name, one in definitions.items() if (kind := _kind(one))}
    for file, name in names.items():
        (folder / file).write_text(json.dumps({"$ref": f"{_ALL}#/definitions/{name}"}))
    return len(names)


def _kind(definition: Schema) -> Schema | None:
    """Group, version and kind; what belongs to many kinds, such as DeleteOptions, is none."""
    kinds = definition.get("x-kubernetes-group-version-kind", [])
    return kinds[0] if len(kinds) == 1 else None


def _file(kind: Schema) -> str:
    group = kind["group"].split(".")[0]
    parts = [kind["kind"].lower(), *([group] if group else []), kind["version"].lower()]
    return "-".join(parts) + ".json"


def _forbid_unknown(node: Any) -> None:
    if isinstance(node, list):
        for item in node:
            _forbid_unknown(item)
    elif isinstance(node, dict):
        is_open = "additionalProperties" in node or node.get("x-kubernetes-preserve-unknown-fields")
        if isinstance(node.get("properties"), dict) and not is_open:
            node["additionalProperties"] = False
        for value in node.values():
            _forbid_unknown(value)
