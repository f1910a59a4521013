from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_api import backbones, crd
from finetune_api.v1alpha1.job import CHANGEABLE

COMMITTED = Path(__file__).parents[2] / "operator/crds/finetunejobs.finetune.dev.yaml"
VERSION = crd.crd()["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]
SPEC = SCHEMA["properties"]["spec"]


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from nodes(schema[key], f"{path}[]")


NODES = [
    (path, node) for path, node in nodes(SCHEMA) if not path.startswith((".apiVersion", ".kind", ".metadata"))
]


def test_the_committed_crd_is_the_generated_one() -> None:
    assert COMMITTED.read_text() == crd.crd_yaml(), f"run `finetune crd > {COMMITTED.name}`"


def test_it_is_small_enough() -> None:
    assert len(crd.crd_yaml().encode()) < 100_000


def test_it_is_structural() -> None:
    for path, node in NODES:
        assert node.keys().isdisjoint({"$ref", "$defs", "title", "const", "oneOf", "allOf", "not"}), path
        assert not ("properties" in node and "additionalProperties" in node), path
        if "x-kubernetes-int-or-string" in node:
            assert node["anyOf"] == [{"type": "integer"}, {"type": "string"}], path
            assert "type" not in node, path
        else:
            assert node["type"] in {"object", "array", "string", "integer", "number", "boolean"}, path
            assert "anyOf" not in node, path


def test_every_value_has_bounds() -> None:
    for path, node in NODES:
        kind = node.get("type")
        if kind == "string" or "x-kubernetes-int-or-string" in node:
            assert "enum" in node or "maxLength" in node, path
        if kind == "array":
            assert "maxItems" in node, path
        if kind in ("integer", "number"):
            assert {"minimum", "maximum"} <= node.keys(), path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


def test_every_field_is_described() -> None:
    for path, node in NODES:
        if not path.endswith("[]"):
            assert node.get("description"), path


def test_defaults_hold_no_null() -> None:
    def nulls(value: Any) -> bool:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return value is None or any(map(nulls, inner))

    assert [path for path, node in NODES if nulls(node.get("default", ""))] == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("spec.globalBatchSize", {"default": 64, "minimum": 1}),
        ("spec.data.validation", {"default": {"split": 0.1}}),
        ("spec.output.formats", {"default": [{"kind": "SavedModel"}]}),
        ("spec.model.backbone", {"enum": list(backbones.NAMES)}),
        ("spec.model.head.dropout", {"minimum": 0, "maximum": 1, "exclusiveMaximum": True}),
        ("spec.data.augmentation.views", {"x-kubernetes-int-or-string": True, "maximum": 64}),
        ("spec.stages", {"maxItems": 16, "minItems": 1}),
        ("status.conditions", {"x-kubernetes-list-map-keys": ["type"]}),
    ],
)
def test_a_field_is_as_the_models_say(path: str, expected: dict[str, Any]) -> None:
    node = dict(NODES)[f".{path}"]
    assert {key: node.get(key) for key in expected} == expected


def test_stages_keep_their_order() -> None:
    assert "x-kubernetes-list-type" not in SPEC["properties"]["stages"]


def rules(path: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = dict(NODES)[path].get("x-kubernetes-validations", [])
    return found


def test_every_field_of_the_spec_is_fixed_or_named_as_changeable() -> None:
    fixed = {rule["fieldPath"].removeprefix(".") for rule in rules(".spec") if "oldSelf" in rule["rule"]}
    assert fixed.isdisjoint(CHANGEABLE)
    assert fixed | set(CHANGEABLE) == set(SPEC["properties"])


def test_rules_have_messages_for_people() -> None:
    every = [rule for path, _ in NODES for rule in rules(path)]
    assert len(every) > 40
    for rule in every:
        assert len(rule["message"]) > 20, rule
        assert "self" in rule["rule"], rule


@pytest.mark.parametrize(
    ("path", "part"),
    [
        (".spec", "self.globalBatchSize % self.workers == 0"),
        (".spec.stages[].unfreeze", "has(self.fromLayerIndex)"),
        (".spec.data", "self.train.matches('^(s3|gs|az)://')"),
        (".spec.data", "has(self.validation.uri)"),
        (".spec.output", "'..' in self.uri.split('/')"),
        (".spec.resources.limits", "key.size() <= 253 && key.matches(r"),
        (".spec.resources", "key in ['cpu', 'memory', 'ephemeral-storage'] || key.contains('/')"),
        (".spec.model", "self.imageSize >= 75 || !(self.backbone in ['InceptionResNetV2', 'InceptionV3'])"),
        (".spec", "s.unfreeze.blocks <= {'ConvNeXtTiny': 18, "),
        (".spec.checkpoint.interval", "self.matches('[1-9]')"),
        ("", "self.metadata.name.matches("),
        (".status", "oldSelf.phase in ['Complete', 'Failed']"),
    ],
)
def test_what_an_api_server_can_check_it_checks(path: str, part: str) -> None:
    assert any(part in rule["rule"] for rule in rules(path))


def test_columns_and_selectable_fields_exist() -> None:
    known = {path for path, _ in NODES} | {".metadata.creationTimestamp"}
    shown = [column["jsonPath"] for column in VERSION["additionalPrinterColumns"]]
    assert set(shown) <= known
    assert {field["jsonPath"] for field in VERSION["selectableFields"]} <= known
    assert [c["name"] for c in VERSION["additionalPrinterColumns"] if not c.get("priority")] == [
        "Phase", "Stage", "Epoch", "Progress", "ETA", "Best", "Workers", "Age",
    ]  # fmt: skip


def test_names_are_those_of_the_design() -> None:
    names = crd.crd()["spec"]["names"]
    assert (names["shortNames"], names["categories"]) == (["ftj", "finetune"], ["ml"])
    assert VERSION["subresources"] == {"status": {}}


def test_the_text_is_yaml_of_the_same() -> None:
    assert yaml.safe_load(crd.crd_yaml()) == crd.crd()
