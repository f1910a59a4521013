"""This project on a cluster of real nodes, the way its users install it: images, chart, and a namespace to work in."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from built_tools import ROOT, built
from node_cluster import STORE_URL, NodeCluster
from node_store import Account

CHART = ROOT / "charts/finetune-operator"
RELEASE = "finetune"
HOME = "finetune-system"
"""Namespace of the operator."""
CACHE = ROOT / ".cache/e2e"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
ACCOUNT = Account("digits-access", "digits-secret-key")
_BACKBONE = "EfficientNetLite0"
_WEIGHTS = f"{_BACKBONE.lower()}_notop.weights.h5"


@dataclass(frozen=True)
class Images:
    """References as pods use them."""

    operator: str
    trainer: str


@contextlib.contextmanager
def images_on_their_way() -> Iterator[Future[Images]]:
    """Built while the block makes nodes for them: either waits for network and disk half of its time."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(_build)


def _build() -> Images:
    """From this checkout; the trainer's has the weights of the examples in it, as its nodes can fetch none."""
    operator = _script("tools/images/build.sh", "operator")
    trainer = _script("tools/images/build.sh", "trainer")
    weighted = f"digits-{trainer.removeprefix('finetune-')}"
    _script("tools/demo-cluster/weights.sh", trainer, weighted, str(_weights()))
    return Images(operator, weighted)


def load(cluster: NodeCluster, found: Images) -> None:
    """Onto all nodes, and nothing is left but there."""
    for reference in (found.operator, found.trainer):
        archive = _save(reference, cluster.folder)
        cluster.load(archive)
        archive.unlink()


def install(cluster: NodeCluster, found: Images, changes: dict[str, Any] | None = None) -> None:
    """`helm install` of the chart in this checkout; returns when the operator is ready."""
    values = cluster.folder / "values.yaml"
    values.write_text(yaml.safe_dump({**_values(found), **(changes or {})}))
    arguments = ["install", RELEASE, str(CHART), "--namespace", HOME, "--create-namespace"]
    print(helm(cluster, *arguments, "--values", str(values), "--wait", "--timeout", "3m"))


def helm(cluster: NodeCluster, *arguments: str) -> str:
    """What Helm prints."""
    env = {**os.environ, "HELM_CACHE_HOME": str(cluster.folder / "helm")}
    command = [f"{built('helm')}/helm", f"--kubeconfig={cluster.plane.kubeconfig}", *arguments]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(cluster.plane.kubectl("get", "pods,events", "-A", check=False))
    assert done.returncode == 0, f"helm {arguments[0]}: {done.stdout}"
    return done.stdout


def upload_digits(cluster: NodeCluster) -> int:
    """The images of the example into the bucket of the example; how many."""
    script = ROOT / "examples/digits/make_data.py"
    folder = cluster.store.bucket("digits") / "images"
    subprocess.run([sys.executable, str(script), str(folder)], check=True, stdout=subprocess.DEVNULL)
    cluster.store.add(ACCOUNT)
    return sum(1 for _ in folder.glob("*/*.png"))


def make_job_namespace(cluster: NodeCluster, account: Account = ACCOUNT) -> str:
    """A namespace for jobs, with Pod Security at `restricted` and the storage secret of the example."""
    namespace = cluster.plane.namespace("team", RESTRICTED)
    give_keys(cluster, namespace, account)
    return namespace


def give_keys(cluster: NodeCluster, namespace: str, account: Account) -> None:
    """Make or change the storage secret."""
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s3-credentials"},
        "stringData": {"accessKeyId": account.access, "secretAccessKey": account.secret},
    }
    cluster.plane.api.apply("secrets", namespace, body)


def _values(found: Images) -> dict[str, Any]:
    operator, trainer = (reference.split(":") for reference in (found.operator, found.trainer))
    return {
        "image": {"repository": operator[0], "tag": operator[1]},
        "imagePullPolicy": "Never",
        "trainer": {"images": {"cpu": {"repository": trainer[0], "tag": trainer[1]}}},
        "config": {
            "trainer": {
                "imagePullPolicy": "Never",
                "kerasHome": "/opt/keras",
                "volumes": {"scratch": "2Gi"},
            },
            "progressIntervalSeconds": 2.0,
        },
        "tests": {"job": _test_job()},
    }


def _test_job() -> dict[str, Any]:
    """What `helm test` runs: real images, into the store and out of it."""
    storage = {"secretName": "s3-credentials", "endpoint": STORE_URL, "region": "us-east-1"}
    return {
        "train": "s3://digits/few",
        "output": "s3://digits/smoke",
        "secretName": "s3-credentials",
        "spec": {"storage": storage, "resources": {"limits": {"cpu": "1", "memory": "2Gi"}}},
    }


def _weights() -> Path:
    """The converted ImageNet weights, kept between runs."""
    file = CACHE / _WEIGHTS
    if not file.exists():
        command = [sys.executable, "-m", "finetune_trainer.lite_weights", _BACKBONE, "--output", str(file)]
        subprocess.run(command, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    return file


def _save(reference: str, folder: Path) -> Path:
    archive = folder / f"{reference.replace(':', '-')}.tar"
    with archive.open("wb") as output:
        subprocess.run([ROOT / "tools/images/save.sh", reference], check=True, stdout=output)
    return archive


def _script(name: str, *arguments: str) -> str:
    """The last line that a script of the repository prints."""
    done = subprocess.run([ROOT / name, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip().splitlines()[-1]


def warnings_of(cluster: NodeCluster, namespace: str, job: str) -> str:
    """What Kubernetes says to the person who would create this Job by hand: Pod Security warns only them."""
    found = cluster.plane.api.get("jobs", namespace, job)
    spec = {key: found["spec"][key] for key in ("template", "completions", "parallelism", "completionMode")}
    for key in (
        "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-name",
        "controller-uid",
        "job-name",
    ):
        spec["template"]["metadata"]["labels"].pop(key, None)
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": f"{job}-again"}, "spec": spec}
    file = cluster.folder / f"{namespace}.json"
    file.write_text(json.dumps(body))
    return cluster.plane.kubectl("create", "--dry-run=server", "-n", namespace, "-f", str(file))
