"""What the chart renders, for every file of values that comes with it."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import helm
from built_tools import ROOT, built
from helm import CHART, NAMESPACE, PRESETS
from openapi_schemas import LOCATION

# Kinds of other projects; the tests of monitoring look at them.
NOT_OF_KUBERNETES = "ServiceMonitor,PodMonitor,PrometheusRule"
every_preset = pytest.mark.parametrize("preset", PRESETS)


def test_the_generated_files_are_what_the_code_makes() -> None:
    command = [sys.executable, "-m", "tools.chart", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_versions_are_those_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (version, version)
    images = yaml.safe_load(chart["annotations"]["artifacthub.io/images"])
    assert {image["image"].partition(":")[2].partition("-")[0] for image in images} == {version}


@every_preset
def test_a_preset_passes_the_strict_linter(preset: str) -> None:
    said = helm.run(["lint", "--strict", str(CHART), f"--kube-version={helm.KUBERNETES}"], PRESETS[preset])
    assert "1 chart(s) linted, 0 chart(s) failed" in said


@every_preset
def test_a_preset_is_valid_kubernetes(preset: str, schemas: Path) -> None:
    command = [
        f"{built('kubeconform')}/kubeconform",
        "-strict",
        "-summary",
        f"-skip={NOT_OF_KUBERNETES}",
        f"-schema-location={schemas}/{LOCATION}",
    ]
    text = helm.template(PRESETS[preset])
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.findall(r"Valid: (\d+)", done.stdout)[0]) >= 3


def test_the_validity_is_really_checked(schemas: Path) -> None:
    command = [f"{built('kubeconform')}/kubeconform", "-strict", f"-schema-location={schemas}/{LOCATION}"]
    text = helm.template().replace("enableServiceLinks: false", "enableServicelinks: false")
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 1
    assert "enableServicelinks" in done.stdout


@every_preset
def test_every_image_of_a_preset_has_a_tag_that_means_one_thing(preset: str) -> None:
    rendered = helm.render(PRESETS[preset])
    images = [one["image"] for spec in helm.pod_specs(rendered) for one in spec["containers"]]
    images += rendered.settings["trainer"]["images"].values()
    assert len(images) >= 3
    for image in images:
        assert re.fullmatch(r"[\w./-]+:\d[\w.-]+(@sha256:[0-9a-f]{64})?", image), image


@every_preset
def test_every_object_of_a_preset_is_labelled_and_in_its_place(preset: str) -> None:
    rendered = helm.render(PRESETS[preset])
    watched = rendered.settings["namespaces"]
    for one in rendered.objects:
        metadata = one["metadata"]
        name = f"{one['kind']} {metadata['name']}"
        if not name.endswith("-notice"):
            labels = metadata["labels"]
            assert labels["app.kubernetes.io/name"] == "finetune-operator", name
            assert labels["app.kubernetes.io/instance"] == helm.RELEASE, name
            assert labels["helm.sh/chart"].startswith("finetune-operator-"), name
        assert metadata.get("namespace") in {None, NAMESPACE, *watched}, name


@every_preset
def test_every_container_of_a_preset_is_restricted_and_bounded(preset: str) -> None:
    for spec in helm.pod_specs(helm.render(PRESETS[preset])):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("finetune-operator", "finetune-operator"),
        ("tuning", "tuning-finetune-operator"),
        ("team.a", "team-a-finetune-operator"),
        ("1st", "ft-1st-finetune-operator"),
        ("a" * 53, "a" * 50),
    ],
)
def test_any_name_of_a_release_makes_good_names(release: str, name: str) -> None:
    rendered = helm.render(release=release)
    assert rendered.one("Deployment")["metadata"]["name"] == name
    for one in rendered.objects:
        longest = 63 if one["kind"] in ("Service", "Deployment", "Pod") else 253
        assert len(one["metadata"]["name"]) <= longest
        assert re.fullmatch(r"[a-z]([a-z0-9.-]*[a-z0-9])?", one["metadata"]["name"])


def test_one_replica_is_replaced_and_more_are_rolled() -> None:
    single, several, none = (helm.render({"replicas": number}) for number in (1, 2, 0))
    strategies = [one.one("Deployment")["spec"]["strategy"]["type"] for one in (single, several, none)]
    assert strategies == ["Recreate", "RollingUpdate", "Recreate"]
    assert [len(one.all("PodDisruptionBudget")) for one in (single, several, none)] == [0, 1, 0]


def test_a_changed_setting_restarts_the_operator_and_nothing_else_does() -> None:
    def mark(values: helm.Values) -> str:
        template = helm.render(values).one("Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/config"])

    assert mark({}) == mark({"service": {"annotations": {"a": "b"}}})
    assert mark({}) != mark({"config": {"workers": 8}})


def test_the_definition_is_kept_unless_told_otherwise() -> None:
    def annotations(values: helm.Values) -> object:
        return helm.render(values).one("CustomResourceDefinition")["metadata"].get("annotations")

    assert annotations({}) == {"helm.sh/resource-policy": "keep"}
    assert annotations({"crds": {"keep": False}}) is None
    assert not helm.render({"crds": {"install": False}}).all("CustomResourceDefinition")


def test_the_definition_is_the_one_that_the_models_make() -> None:
    made = yaml.safe_load((ROOT / "operator/crds/finetunejobs.finetune.dev.yaml").read_text())
    assert helm.render().one("CustomResourceDefinition")["spec"] == made["spec"]


def test_trainers_get_accounts_without_tokens_where_jobs_run() -> None:
    accounts = {"create": True, "annotations": {"example.com/role": "r"}}
    values = {"watch": {"namespaces": ["team-a", "team-b"]}, "trainer": {"serviceAccounts": accounts}}
    found = [
        one for one in helm.render(values).all("ServiceAccount") if "test" not in one["metadata"]["name"]
    ]
    trainers = [one for one in found if one["metadata"]["name"] == "finetune-trainer"]
    assert [one["metadata"]["namespace"] for one in trainers] == ["team-a", "team-b"]
    assert all(one["automountServiceAccountToken"] is False for one in found)
    with pytest.raises(helm.Refused, match=r"needs watch\.namespaces"):
        helm.render({"trainer": {"serviceAccounts": {"create": True}}})


def test_plain_manifests_are_the_chart_with_a_namespace() -> None:
    done = subprocess.run([ROOT / "tools/chart/manifests.sh"], capture_output=True, text=True, check=True)
    found = [one for one in yaml.safe_load_all(done.stdout) if one]
    assert found[0]["kind"] == "Namespace"
    hooks = [one for one in found if "helm.sh/hook" in one["metadata"].get("annotations", {})]
    assert not hooks
    assert {"Deployment", "CustomResourceDefinition", "ClusterRole"} <= {one["kind"] for one in found}
