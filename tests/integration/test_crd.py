"""The CustomResourceDefinition on a real API server: everything that `kubectl` shows of it, and what it stores."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jobs
import mutant_bases
from api_client import Api, ApiError, has_condition
from control_plane import ControlPlane
from finetune_api import yaml_loader
from finetune_api.errors import BadJob
from finetune_api.v1alpha1 import FineTuneJob

ROOT = Path(__file__).parents[2]
CRD = ROOT / "operator/crds/finetunejobs.finetune.dev.yaml"
REFERENCE = Path(__file__).with_name("reference.yaml")
EXAMPLES = [file for file in (ROOT / "examples").rglob("*.yaml") if "kind: FineTuneJob" in file.read_text()]
WIDTH = 100

pytestmark = pytest.mark.usefixtures("crd")


def test_kubectl_applies_the_crd_and_finds_nothing_to_change_the_second_time(plane: ControlPlane) -> None:
    plane.apply(CRD)
    assert plane.apply(CRD).endswith("finetunejobs.finetune.dev unchanged\n")
    found = plane.api.get("customresourcedefinitions", None, "finetunejobs.finetune.dev")
    assert has_condition("Established")(found)
    assert {c["type"] for c in found["status"]["conditions"] if c["status"] == "True"} == {
        "Established",
        "NamesAccepted",
    }


def test_short_names_and_category_lead_to_it(plane: ControlPlane, namespace: str) -> None:
    plane.api.create("finetunejobs", namespace, a_job("flowers"))
    for word in ("ftj", "finetune", "finetunejob", "finetunejobs", "ml"):
        assert (
            plane.kubectl("get", word, "-n", namespace, "-o", "name") == "finetunejob.finetune.dev/flowers\n"
        )
    assert "finetunejobs" not in plane.kubectl("api-resources", "--categories=all", "-o", "name")


def a_job(name: str, **spec: Any) -> dict[str, Any]:
    uris = {"data.train": "s3://bucket/flowers", "output.uri": "s3://models/team-a"}
    return jobs.document(uris | spec) | {"metadata": {"name": name}}


@pytest.mark.parametrize("file", [REFERENCE, *EXAMPLES], ids=lambda file: str(file.name))
def test_an_example_is_stored_as_finetune_reads_it(plane: ControlPlane, namespace: str, file: Path) -> None:
    read = yaml_loader.read_job(file)
    if not read.spec.data.train.startswith("s3://"):
        with pytest.raises(AssertionError, match=r"spec\.data\.train: .* is a path, which pods cannot reach"):
            plane.apply(file, namespace)
        return
    plane.apply(file, namespace)
    same(plane.api.get("finetunejobs", namespace, read.metadata.name), read)
    # Nulls and defaults in the file are no change, least of all of an immutable field.
    plane.apply(file, namespace)
    assert plane.api.get("finetunejobs", namespace, read.metadata.name)["metadata"]["generation"] == 1


def same(stored: dict[str, Any], read: FineTuneJob) -> None:
    """What the API server stored says the same, with every default written out."""
    found = yaml_loader.parse_job(stored, "the stored job")
    assert found.spec == read.spec
    assert found.spec.model_dump(exclude_none=True, exclude_unset=True) == read.spec.model_dump(
        exclude_none=True
    )


def test_a_small_job_is_stored_with_every_default(plane: ControlPlane, namespace: str) -> None:
    stored = plane.api.create("finetunejobs", namespace, a_job("flowers"))
    same(stored, yaml_loader.parse_job(a_job("flowers"), "the job"))
    assert stored["spec"]["seed"] == 42
    assert stored["spec"]["data"]["validation"] == {"split": 0.1}


# Each means something else to YAML 1.2, to PyYAML or to a careless reader.
TRAPS = """\
apiVersion: finetune.dev/v1alpha1
kind: FineTuneJob
metadata: {name: traps, labels: {"1": "1e3"}}
spec: &spec
  xla: Yes
  deterministic: off
  suspend: n
  seed: 010
  workers: 0b10
  globalBatchSize: 0x40
  maxRestarts: 1_0
  startDeadlineSeconds: 1e3
  progressDeadlineSeconds: 6.0
  deadNodeTimeoutSeconds: 0o17
  model: {backbone: MobileNetV2, alpha: 1.0, head: {dropout: .5, hidden: ~}}
  data: {train: s3://bucket/flowers, validation: {split: 1e-1}, augmentation: {preset: None}, test: }
  featureCache: {maxBytes: 1e9}
  resources: {limits: {cpu: 08, nvidia.com/gpu: 1, memory: 2Gi, example.com/none: null}}
  output: {uri: "s3://models/\\u00e9", formats: [{kind: SavedModel}]}
  stages:
  - &head {name: head, unfreeze: {blocks: 0}, optimizer: {name: Adam}, learningRate: 1e-3}
  - {<<: *head, name: "2", learningRate: 1E-5, stopWhen: {metric: loss, below: -.0}}
"""


def test_yaml_means_to_finetune_what_it_means_to_kubectl(
    plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(TRAPS.replace("cpu: 08", "cpu: '08'"))
    plane.apply(file, namespace)
    read = yaml_loader.read_job(file)
    same(plane.api.get("finetunejobs", namespace, "traps"), read)
    spec = read.spec
    assert (spec.xla, spec.deterministic, spec.seed, spec.workers) == (True, False, 8, 2)
    assert (spec.max_restarts, spec.start_deadline_seconds, spec.dead_node_timeout_seconds) == (10, 1000, 15)
    assert [stage.learning_rate for stage in spec.stages or []] == [1e-3, 1e-5]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("  checkpoint: {interval: 60}", "spec.checkpoint.interval"),
        ("  serviceAccountName: yes", "spec.serviceAccountName"),
        ("  image: 1.10", "spec.image"),
        ("  priority: high", "spec.priority"),
        ("  activeDeadlineSeconds: 1:30", "spec.activeDeadlineSeconds"),
        ("  maxRestarts: .inf", ""),
        ("  storage: {secretName: 2001-01-01, region: null, endpoint: no}", "spec.storage.endpoint"),
    ],
)
def test_what_yaml_makes_of_a_word_is_refused_by_both(
    plane: ControlPlane, namespace: str, tmp_path: Path, line: str, message: str
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(TRAPS.replace("cpu: 08", "cpu: 8") + line + "\n")
    with pytest.raises(AssertionError) as refused:
        plane.apply(file, namespace)
    assert message in str(refused.value)
    with pytest.raises(BadJob) as caught:
        yaml_loader.read_job(file)
    assert message in str(caught.value)


def test_a_key_that_is_there_twice_is_refused_though_kubectl_takes_the_last(
    plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(TRAPS.replace("cpu: 08", "cpu: 8") + "  seed: 9\n")
    plane.apply(file, namespace)
    assert plane.api.get("finetunejobs", namespace, "traps")["spec"]["seed"] == 9
    with pytest.raises(BadJob, match="the key seed is there twice"):
        yaml_loader.read_job(file)


def test_a_name_that_the_api_server_completes_is_read(plane: ControlPlane, namespace: str) -> None:
    stored = plane.api.create(
        "finetunejobs", namespace, a_job("") | {"metadata": {"generateName": "flowers-"}}
    )
    assert yaml_loader.parse_job(stored, "stored").metadata.name.startswith("flowers-")


def test_whole_floats_are_numbers_unless_a_rule_looks_at_them(plane: ControlPlane, namespace: str) -> None:
    """kubectl never sends 5.0; a client that does is better told so than surprised later."""
    stored = plane.api.create("finetunejobs", namespace, a_job("flowers", maxRestarts=5.0))
    assert (type(stored["spec"]["maxRestarts"]), stored["spec"]["maxRestarts"]) == (int, 5)
    with pytest.raises(ApiError, match="expected int, got float64"):
        plane.api.create("finetunejobs", namespace, a_job("flowers", workers=2.0))


def test_jobs_are_selected_by_backbone_and_by_phase(plane: ControlPlane, namespace: str) -> None:
    for name, backbone, phase in (
        ("a", "MobileNetV2", "Running"),
        ("b", "ResNet50", "Running"),
        ("c", "VGG16", ""),
    ):
        plane.api.create("finetunejobs", namespace, a_job(name, **{"model.backbone": backbone}))
        if phase:
            plane.api.patch("finetunejobs", namespace, name, {"status": {"phase": phase}}, "status")

    def selected(selector: str) -> list[str]:
        found = plane.kubectl("get", "ftj", "-n", namespace, "--field-selector", selector, "-o", "name")
        return [line.rpartition("/")[2] for line in found.split()]

    assert selected("spec.model.backbone=ResNet50") == ["b"]
    assert selected("status.phase=Running") == ["a", "b"]
    assert selected("status.phase=Running,spec.model.backbone!=ResNet50") == ["a"]


def test_kubectl_explain_has_words_for_every_field(plane: ControlPlane) -> None:
    schemas = plane.api.request("GET", "/openapi/v3/apis/finetune.dev/v1alpha1")["components"]["schemas"]
    found = list(named_fields(schemas["dev.finetune.v1alpha1.FineTuneJob"], "ftj"))
    assert len(found) > 180
    assert [name for name, node in found if len(node.get("description", "")) < 10] == []


def named_fields(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from named_fields(inner, f"{path}.{name}")
    if "properties" in node.get("items", {}):
        yield from named_fields(node["items"], path)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("ftj", ["A staged fine-tune of a pretrained image model", "-required-"]),
        (
            "ftj.spec.model.backbone",
            ["ENUM:", "EfficientNetLite0", "NASNetMobile", "`finetune backbones` lists them"],
        ),
        ("ftj.spec.stages.unfreeze.blocks", ["<integer>", "0 trains the head alone"]),
        ("ftj.spec.storage.secretName", ["accessKeyId and secretAccessKey"]),
        ("ftj.spec.resources.limits", ["<map[string]Object>", "nvidia.com/gpu: 1"]),
        ("ftj.status.conditions.status", ["Whether it is so", "Unknown"]),
    ],
)
def test_kubectl_explains(plane: ControlPlane, field: str, words: list[str]) -> None:
    shown = " ".join(plane.kubectl("explain", field).split())
    assert [word for word in words if word not in shown] == []


# As the operator writes them: name, backbone, phase, columns.
ROWS = (
    ("flowers-b0", "EfficientNetB0", "Running", "2/2 finetune", "4/10", "61%", "14m", "val_acc=0.943", "4/4"),
    ("cats-dogs-mn3", "MobileNetV3Large", "Pending", "-", "-", "0%", "-", "-", "0/2"),
    ("xray-r50", "ResNet50", "Restarting", "1/3 head", "3/5", "22%", "1h12m", "val_acc=0.881", "3/4"),
    ("birds-dn121", "DenseNet121", "Complete", "3/3 deep", "12/12", "100%", "-", "val_acc=0.913", "0/4"),
    ("wide-vgg", "VGG16", "Failed", "1/2 head", "1/5", "4%", "-", "-", "0/2"),
)
REASON = (
    "OutOfMemory: worker 1 was killed at its memory limit of 16Gi; lower globalBatchSize or raise the limit"
)


def test_the_table_fits_a_terminal_and_age_is_last(plane: ControlPlane, namespace: str) -> None:
    for row in ROWS:
        show(plane.api, namespace, *row)
    lines = plane.kubectl("get", "ftj", "-n", namespace).splitlines()
    assert lines[0].split() == [
        "NAME",
        "PHASE",
        "STAGE",
        "EPOCH",
        "PROGRESS",
        "ETA",
        "BEST",
        "WORKERS",
        "AGE",
    ]
    assert max(map(len, lines)) <= WIDTH, lines
    running = next(line for line in lines if line.startswith("flowers-b0"))
    assert running.split()[1:-1] == [
        "Running",
        "2/2",
        "finetune",
        "4/10",
        "61%",
        "14m",
        "val_acc=0.943",
        "4/4",
    ]
    wide = plane.kubectl("get", "ftj", "-n", namespace, "-o", "wide").splitlines()
    assert wide[0].split()[8:] == ["BACKBONE", "GPUS", "RESTARTS", "GOODPUT", "REASON", "MODEL", "AGE"]
    failed = next(line for line in wide if line.startswith("wide-vgg"))
    assert f"VGG16              2x1    1          0.31      {REASON}" in failed


def show(api: Api, namespace: str, name: str, backbone: str, phase: str, *columns: str) -> None:
    api.create("finetunejobs", namespace, a_job(name, **{"model.backbone": backbone}))
    summary = dict(zip(("stage", "epoch", "progress", "eta", "best", "workers"), columns, strict=True))
    status: dict[str, Any] = {"phase": phase, "summary": summary | {"gpus": "2x1"}}
    status |= {"workers": {"restarts": 1}, "accounting": {"goodput": "0.31"}}
    if phase == "Failed":
        status["summary"]["reason"] = REASON
    if phase == "Complete":
        status["artifacts"] = {"modelURI": f"s3://models/{name}/model/1"}
    api.patch("finetunejobs", namespace, name, {"status": status}, subresource="status")


def test_every_base_of_the_mutants_is_stored_as_it_is_read(plane: ControlPlane, namespace: str) -> None:
    for name, (document, _) in mutant_bases.jobs().items():
        named = document | {"metadata": {"name": name}}
        same(plane.api.create("finetunejobs", namespace, named), yaml_loader.parse_job(named, name))
