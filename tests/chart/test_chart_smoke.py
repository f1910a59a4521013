"""`helm test`, and the program that it runs."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import helm
import operated
from cluster_jobs import Cluster, ClusterJob, report
from cluster_view import ClusterView
from control_plane import ControlPlane
from finetune_api import crd, not_built, schedule, yaml_loader
from finetune_api.contract import API_VERSION, KIND
from finetune_operator import smoke
from helm import CHART, PRESETS
from installed import CRD, QUICK, Release

WITH_DATA = {"tests": {"job": {"train": "s3://bucket/train", "output": "s3://bucket/smoke"}}}


def test_a_restricted_namespace_takes_its_pod_and_nothing_is_left(
    plane: ControlPlane, release: Release
) -> None:
    release.helm("install", str(CHART))
    plane.coming_pods(release.namespace, {"any": {"exit-code": 0}})
    said = release.helm("test", "--timeout=120s")
    assert "Phase:          Succeeded" in said
    assert "warning" not in said.lower()
    left = [
        one["metadata"]["name"]
        for kind in ("pods", "serviceaccounts", "configmaps", "roles", "rolebindings")
        for one in plane.api.list(kind, release.namespace)
    ]
    assert helm.RELEASE in left
    assert f"{helm.RELEASE}-test" not in left


def test_a_job_is_run_only_where_there_is_data() -> None:
    light, whole = (helm.render(values).one("Pod")["spec"] for values in ({}, WITH_DATA))
    arguments = [spec["containers"][0]["args"] for spec in (light, whole)]
    assert ["--run" in one for one in arguments] == [False, True]
    assert arguments[0] == arguments[1][:3]
    assert not helm.render(PRESETS["locked-down"]).all("Pod")


def test_it_works_where_jobs_may_be() -> None:
    rendered = helm.render(PRESETS["namespaced"])
    (role,) = [one for one in rendered.all("Role") if one["metadata"]["name"].endswith("-test")]
    assert role["metadata"]["namespace"] == "team-a"
    assert "--namespace=team-a" in rendered.one("Pod")["spec"]["containers"][0]["args"]


def test_its_job_can_be_run(tmp_path: Path) -> None:
    storage = {"secretName": "s3-credentials"}
    job = {**WITH_DATA["tests"]["job"], **storage, "spec": {"storage": {"region": "eu"}, "seed": 7}}
    for values in ({}, {"tests": {"job": job}}):
        document = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "smoke"}}
        file = tmp_path / "job.yaml"
        file.write_text(json.dumps({**document, "spec": _spec(helm.render(values))}))
        parsed = yaml_loader.read_job(file)
        not_built.refuse_unbuilt(parsed)
        assert len(schedule.resolve(parsed).stages) == 2
    assert parsed.spec.storage.model_dump(exclude_unset=True) == {
        "secretName": "s3-credentials",
        "region": "eu",
    }
    assert parsed.spec.seed == 7


def test_it_is_content_with_an_installation_that_works_and_names_what_does_not(
    plane: ControlPlane, release: Release, tmp_path: Path
) -> None:
    release.helm("install", str(CHART), values=WITH_DATA)
    look = _look(plane, release, tmp_path)
    with release.operator(QUICK) as operator, ClusterView(operated.door(plane)) as view:
        look.append(f"--health={operator.url}/healthz")
        light = subprocess.run(look, stdout=subprocess.PIPE, text=True)
        assert light.returncode == 0, light.stdout
        assert "knows FineTuneJobs and checks them" in light.stdout
        good, bad = (subprocess.Popen([*look, "--run"], stdout=subprocess.PIPE, text=True) for _ in range(2))
        cluster = Cluster(plane, view, operator)
        first, second = _jobs(cluster, release.namespace)
        first.publish()
        second.fate(0, 65, report(65, error={"reason": "BadData", "message": "no images"}))
        said = {process.communicate(timeout=120)[0]: process.returncode for process in (good, bad)}
        assert sorted(said.values()) == [0, 1], said
        (fine,) = [text for text, code in said.items() if code == 0]
        (wrong,) = [text for text, code in said.items() if code == 1]
        assert "the model is in s3://bucket/models/model/1" in fine
        assert f"FAILED: {release.namespace}/{second.name}: " in wrong
        first.until(lambda: not first.body, "deletion of the job that is complete")
        assert second.phase == "Failed"
        late = subprocess.run([*look, "--run", "--timeout=0"], stdout=subprocess.PIPE, text=True)
        assert late.returncode == 1
        assert "after 0 s" in late.stdout
        plane.api.delete("customresourcedefinitions", None, CRD)
        plane.api.until_gone("customresourcedefinitions", None, CRD, within=60)
        none = subprocess.run(look, stdout=subprocess.PIPE, text=True)
        assert none.returncode == 1
        assert "FAILED: the API server does not know finetunejobs" in none.stdout
        plane.apply_crd(_definition_that_checks_nothing(tmp_path))
        loose = subprocess.run(look, stdout=subprocess.PIPE, text=True)
        assert loose.returncode == 1
        assert "FAILED: the API server takes a job without workers" in loose.stdout


def test_an_operator_that_does_not_answer_is_not_healthy() -> None:
    with pytest.raises(smoke.Wrong, match=r"does not say that the operator is healthy: .*refused"):
        asyncio.run(smoke.healthy("http://127.0.0.1:1/healthz", within=0.0))


def _spec(rendered: helm.Rendered) -> dict[str, Any]:
    (found,) = [one for one in rendered.all("ConfigMap") if "spec.json" in one["data"]]
    spec: dict[str, Any] = json.loads(found["data"]["spec.json"])
    return spec


def _look(plane: ControlPlane, release: Release, folder: Path) -> list[str]:
    """The command of the test's pod, with its rights and its file."""
    hooks = folder / "hooks.yaml"
    only = ("--show-only=templates/tests/rights.yaml", f"--kube-version={helm.KUBERNETES}")
    hooks.write_text(release.helm("template", str(CHART), *only, values=WITH_DATA))
    plane.apply(hooks)
    name = f"{helm.RELEASE}-test"
    spec = folder / "spec.json"
    spec.write_text(plane.api.get("configmaps", release.namespace, name)["data"]["spec.json"])
    kubeconfig = release.kubeconfig(name)
    command = [
        sys.executable,
        "-m",
        "finetune_operator.smoke",
        f"--spec={spec}",
        f"--kubeconfig={kubeconfig}",
    ]
    return [*command, f"--namespace={release.namespace}", "--timeout=110"]


def _definition_that_checks_nothing(folder: Path) -> Path:
    definition = crd.crd()
    version = definition["spec"]["versions"][0]
    del version["selectableFields"]
    version["schema"] = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    file = folder / "loose.yaml"
    file.write_text(yaml.safe_dump(definition))
    return file


def _jobs(cluster: Cluster, namespace: str) -> list[ClusterJob]:
    """Two that run there."""
    view = cluster.view

    def two() -> list[Any]:
        found = view.all("finetunejobs", namespace)
        return found if len(found) == 2 else []

    return [ClusterJob(cluster, one).until_running() for one in view.wait(namespace, two, "two jobs")]
