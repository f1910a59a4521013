"""A FineTuneJob that cannot run is refused by `kubectl apply`, which says where and what to do; `finetune` agrees."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import refusals
import verdicts
from control_plane import ControlPlane
from finetune_api import crd as generated
from refusals import Refusal

TABLE = refusals.read(Path(__file__).with_name("refusals.yaml"))
NUMBERED = list(enumerate(TABLE))
BAD_NAMES = {
    "Flowers": "RFC 1123",
    "flowers.v2": "expected lower-case letters, digits and dashes, such as flowers-2",
    "-a": "RFC 1123",
    "a_b": "RFC 1123",
    "a" * 64: "Too long: may not be more than 63",
    "roses\u00e9": "RFC 1123",
}


@pytest.fixture(scope="module")
def said(plane: ControlPlane, crd: None, tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """What one `kubectl apply` of all of them says of each."""
    folder = tmp_path_factory.mktemp("refusals")
    for number, refusal in NUMBERED:
        (folder / f"{number}.json").write_text(json.dumps(refusal.document(f"job-{number}")))
    namespace = plane.namespace("refusals")
    output = plane.kubectl("apply", "-n", namespace, "-f", str(folder), check=False)
    assert plane.api.list("finetunejobs", namespace) == []
    parts = re.split(rf'error when creating "{folder}/(\d+)\.json": ', output)
    return {int(number): text for number, text in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.mark.parametrize(("number", "refusal"), NUMBERED, ids=map(str, TABLE))
def test_it_is_refused_with_field_and_fix_on_both_sides(
    said: dict[int, str], number: int, refusal: Refusal
) -> None:
    assert f"{refusal.at}: " in said[number] or f'unknown field "{refusal.at}"' in said[number]
    assert refusal.said in said[number]
    assert (refusal.ours or refusal.said) in verdicts.complaint(refusal.document("job"))


def test_every_rule_of_the_crd_about_the_spec_is_among_them(said: dict[int, str]) -> None:
    shown = "\n".join(said.values())
    schema = generated.crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    messages = set(of_rules(schema["properties"]["spec"]))
    assert len(messages) > 45
    assert [message for message in messages if message not in shown] == []


def of_rules(node: dict[str, Any]) -> Iterator[str]:
    """The messages of all rules that a new job can break."""
    for rule in node.get("x-kubernetes-validations", ()):
        if "oldSelf" not in rule["rule"]:
            yield rule["message"]
    for inner in node.get("properties", {}).values():
        yield from of_rules(inner)
    for key in ("items", "additionalProperties"):
        if key in node:
            yield from of_rules(node[key])


@pytest.mark.usefixtures("crd")
@pytest.mark.parametrize(("name", "words"), BAD_NAMES.items())
def test_a_name_that_pods_cannot_have_is_refused(
    plane: ControlPlane, tmp_path: Path, name: str, words: str
) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps(refusals.good(name)))
    shown = plane.kubectl("apply", "-f", str(file), check=False)
    assert "metadata.name" in shown
    assert words in shown
    assert "metadata.name: is" in verdicts.complaint(refusals.good(name))
