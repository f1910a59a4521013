"""What may change once a FineTuneJob exists, and what never: decided by the API server alone."""

from typing import Any

import pytest

import mutant_bases
import mutants
from api_client import Api, ApiError
from control_plane import ControlPlane
from dry_runs import statuses
from finetune_api import yaml_loader
from finetune_api.v1alpha1 import FineTuneJobSpec
from finetune_api.v1alpha1.job import CHANGEABLE
from finetune_api.v1alpha1.schema import field_name

SEED = 20261122
CHANGES: dict[str, Any] = {
    "workers": 2,
    "model": {"imageSize": 128},
    "data": {"maxPixels": 1000},
    "globalBatchSize": 32,
    "precision": "Float32",
    "seed": 43,
    "deterministic": True,
    "xla": True,
    "schedule": "Gradual",
    "stages": None,
    "featureCache": {"mode": "Disabled"},
    "checkpoint": {"keep": 3},
    "output": {"select": "Last"},
    "storage": {"region": None},
    "image": "trainer:2",
    "env": [],
    "serviceAccountName": None,
    "resources": {"limits": {"cpu": 2}},
    "placement": {"spreadHosts": True},
    "scheduling": {"priorityClassName": "other"},
    "managedBy": None,
    "maxRestarts": 6,
    "deadNodeTimeoutSeconds": 60,
}
"""For each field of the spec that is fixed, something else that would be fine in a new job."""

pytestmark = pytest.mark.usefixtures("crd")


@pytest.fixture
def job(plane: ControlPlane, namespace: str) -> dict[str, Any]:
    """One with every field."""
    document, _ = mutant_bases.jobs()["full"]
    return plane.api.create("finetunejobs", namespace, document)


def change(api: Api, job: dict[str, Any], body: dict[str, Any], subresource: str = "") -> dict[str, Any]:
    meta = job["metadata"]
    return api.patch("finetunejobs", meta["namespace"], meta["name"], body, subresource)


def test_every_field_is_fixed_or_changeable() -> None:
    assert CHANGES.keys() | set(CHANGEABLE) == {field_name(name) for name in FineTuneJobSpec.model_fields}
    assert CHANGES.keys().isdisjoint(CHANGEABLE)


@pytest.mark.parametrize("field", CHANGES)
def test_a_fixed_field_cannot_change(plane: ControlPlane, job: dict[str, Any], field: str) -> None:
    with pytest.raises(ApiError) as refused:
        change(plane.api, job, {"spec": {field: CHANGES[field]}})
    assert f"spec.{field}: Invalid value" in refused.value.message
    assert f"{field} cannot change once the job exists: make a new FineTuneJob" in refused.value.message


@pytest.mark.parametrize("field", ["schedule", "managedBy", "image", "serviceAccountName", "stages"])
def test_an_absent_field_cannot_come(plane: ControlPlane, namespace: str, field: str) -> None:
    full, small = (mutant_bases.jobs()[name][0] for name in ("full", "small"))
    job = plane.api.create("finetunejobs", namespace, small)
    with pytest.raises(ApiError, match=f"{field} cannot change once the job exists"):
        change(plane.api, job, {"spec": {field: full["spec"].get(field, "Gradual")}})


def test_an_item_of_a_list_cannot_change_nor_move(plane: ControlPlane, job: dict[str, Any]) -> None:
    first, second = job["spec"]["stages"]
    for stages in (
        [first, second | {"epochs": 11}],
        [second, first],
        [first, second, second | {"name": "third"}],
    ):
        with pytest.raises(ApiError, match="stages cannot change once the job exists"):
            change(plane.api, job, {"spec": {"stages": stages}})


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("suspend", [True, False, True, None]),
        ("activeDeadlineSeconds", [60, None, 7200]),
        ("startDeadlineSeconds", [60, None, 7200]),
        ("progressDeadlineSeconds", [60, None, 7200]),
        ("ttlSecondsAfterFinished", [0, None, 7200]),
    ],
)
def test_a_changeable_field_changes_and_goes_back(
    plane: ControlPlane, job: dict[str, Any], field: str, values: list[Any]
) -> None:
    default = {"suspend": False, "startDeadlineSeconds": 1800, "progressDeadlineSeconds": 600}.get(field)
    for value in values:
        changed = change(plane.api, job, {"spec": {field: value}})
        assert changed["spec"].get(field) == (default if value is None else value)
    assert changed["metadata"]["generation"] == 1 + len(values)


def test_a_changeable_field_keeps_its_bounds(plane: ControlPlane, job: dict[str, Any]) -> None:
    for field, message in (("startDeadlineSeconds", "greater than or equal to 1"), ("suspend", "boolean")):
        with pytest.raises(ApiError, match=message):
            change(plane.api, job, {"spec": {field: -1}})


def test_kubectl_says_what_to_do(plane: ControlPlane, namespace: str, job: dict[str, Any]) -> None:
    patch = ["patch", "ftj", "mutant", "-n", namespace, "--type=merge", "-p"]
    assert "patched" in plane.kubectl(*patch, '{"spec": {"suspend": true}}')
    shown = plane.kubectl(*patch, '{"spec": {"seed": 1}}', check=False)
    assert "spec.seed: Invalid value: seed cannot change once the job exists: make a new FineTuneJob" in shown


@pytest.mark.parametrize("end", ["Complete", "Failed"])
def test_a_job_that_ended_stays_so(plane: ControlPlane, job: dict[str, Any], end: str) -> None:
    for phase in ("Pending", "Running", end):
        change(plane.api, job, {"status": {"phase": phase}}, "status")
    for other in ("Running", "Pending", None, *({"Complete", "Failed"} - {end})):
        with pytest.raises(ApiError, match="a job that ended stays as it is"):
            change(plane.api, job, {"status": {"phase": other}}, "status")
    changed = change(plane.api, job, {"status": {"phase": end, "observedGeneration": 2}}, "status")
    assert (changed["status"]["phase"], changed["status"]["observedGeneration"]) == (end, 2)
    with pytest.raises(ApiError, match="a job that ended stays as it is"):
        change(plane.api, job, {"status": None}, "status")


def test_spec_and_status_are_written_apart(plane: ControlPlane, job: dict[str, Any]) -> None:
    both = {"spec": {"suspend": True}, "status": {"phase": "Running"}}
    assert "status" not in change(plane.api, job, both)
    changed = change(plane.api, job, both | {"spec": {"suspend": False}}, "status")
    assert (changed["spec"]["suspend"], changed["status"]["phase"]) == (True, "Running")


def test_a_status_is_refused_or_can_be_read(plane: ControlPlane, namespace: str) -> None:
    """300 statuses with something odd in them: whatever the API server takes, the models take."""
    base = mutant_bases.with_status()
    stored = plane.api.create("finetunejobs", namespace, {key: base[key] for key in base if key != "status"})
    odd = mutants.with_odd_status(300, SEED)
    answers = statuses(
        plane.api, namespace, "mutant", [one.document | {"metadata": stored["metadata"]} for one in odd]
    )
    accepted = [answer for answer in answers if not isinstance(answer, str)]
    for answer in accepted:
        yaml_loader.parse_job(answer, "the stored job")
    print(f"seed {SEED}: {len(odd)} statuses, {len(accepted)} accepted and read")
    assert 150 < len(accepted) < 250


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({"phase": "Done"}, "status.phase: Unsupported value"),
        ({"phase": 1}, "status.phase"),
        ({"conditions": {}}, "status.conditions"),
        ({"conditions": [{"type": "Finished"}]}, "lastTransitionTime: Required value"),
        ({"conditions": [{"type": "Finished", "lastTransitionTime": []}]}, "lastTransitionTime"),
        ({"conditions": [{"type": "Finished", "lastTransitionTime": "now"}]}, "lastTransitionTime"),
        ({"workers": {"ready": "4"}}, "status.workers.ready"),
        ({"progress": {"percent": 101}}, "status.progress.percent"),
        ({"bestMetric": {"name": "val_accuracy", "value": 0.9}}, "status.bestMetric.value"),
        ({"summary": {"eta": "x" * 300}}, "status.summary.eta"),
        ({"metrics": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]}, "Duplicate value"),
    ],
)
def test_a_malformed_status_is_refused(
    plane: ControlPlane, job: dict[str, Any], status: dict[str, Any], message: str
) -> None:
    with pytest.raises(ApiError) as refused:
        change(plane.api, job, {"status": status}, "status")
    assert message in refused.value.message
