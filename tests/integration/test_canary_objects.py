"""Credentials are nowhere in the cluster but where they were put: not in objects, Events, logs, metrics or pages."""

import json
import urllib.request
from typing import Any

import pytest

import canaries
import operated
from api_client import Body
from cluster_jobs import Cluster
from cluster_view import ClusterView
from control_plane import ControlPlane
from fake_trainers import FakeTrainers
from finetune_api.contract import Env, ExitCode
from finetune_api.errors import Denied
from finetune_operator.settings import Settings
from operated import HOME, QUICK
from operator_process import start

SECRET = "s3-credentials"
KINDS = ("finetunejobs", "jobs", "pods", "services", "configmaps", "networkpolicies", "events")


@pytest.fixture(scope="module")
def searched(plane: ControlPlane, crd: None) -> dict[str, str]:
    """Everything that can be read of three jobs - one published, one refused by its storage, one without its
    secret - and of their operator; the gang's token under `token`."""
    namespace = plane.namespace()
    plane.api.create("secrets", namespace, {"metadata": {"name": SECRET}, "stringData": canaries.KEYS})
    config = {**QUICK, "namespaces": [namespace], "lease": {"name": "canaries"}, "logLevel": "debug"}
    user = operated.user(plane, "canary-operator", Settings.model_validate(config), namespace)
    changes: dict[str, Any] = {
        "storage.secretName": SECRET,
        "storage.endpoint": "http://minio.storage.svc:9000",
    }
    texts: dict[str, str] = {}
    with (
        ClusterView(operated.door(plane)) as view,
        start(user, config, {"POD_NAMESPACE": HOME}) as operator,
        FakeTrainers() as trainers,
    ):
        cluster = Cluster(plane, view, None, [namespace])
        job = cluster.job(changes, "published", namespace).apply().until_running()
        chief = trainers.serve(job.pod(0))
        chief.start()
        chief.step(0, 0, 5)
        texts |= _pages(job.pod(0)["status"]["podIP"])
        job.until(lambda: job.status.get("progress", {}).get("step"), "progress")
        job.annotate(job.pod(0), exit_code=0, exit_message=chief.publish())
        job.until_phase("Complete")
        denied = Denied("AccessDenied", "access to s3://bucket/models was refused (SignatureDoesNotMatch)")
        message = json.dumps({"exitCode": 77, "reason": denied.reason, "message": str(denied)})
        other = cluster.job(changes, "refused", namespace).apply().until_running()
        other.fate(0, ExitCode.DENIED, message)
        other.until_phase("Failed")
        texts["metrics of the operator"] = _get(f"{operator.url}/metrics")
        texts["log of the operator"] = "\n".join(map(json.dumps, operator.logs))
        assert operator.stop() == 0
        texts |= {
            f"{kind} {place}": json.dumps(version.body)
            for kind in KINDS
            for place in view.ever(kind, namespace)
            for version in view.history(kind, namespace, place)
        }
        texts["token"] = _token(job.job)
    texts["audit log"] = "\n".join(map(str, plane.audit(user="canary-operator")))
    plane.api.delete("namespaces", None, namespace)
    return texts


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def _pages(address: str) -> dict[str, str]:
    return {page: _get(f"http://{address}:9090{page}") for page in ("/progress", "/metrics")}


def _token(job: Body) -> str:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return next(str(one["value"]) for one in container["env"] if one["name"] == Env.TOKEN)


def test_no_credential_is_in_anything_that_the_cluster_shows(searched: dict[str, str]) -> None:
    texts = {name: text for name, text in searched.items() if name != "token"}
    assert canaries.found(texts, canaries.values()) == []
    # What is searched is there: both jobs, their pods, progress, log and metrics.
    assert all(any(name.startswith(kind) for name in texts) for kind in KINDS)
    assert '"globalStep"' in texts["/progress"]
    assert "finetune_" in texts["/metrics"]
    assert "finetune_operator_" in texts["metrics of the operator"]
    assert len(texts["log of the operator"].splitlines()) > 10
    size = sum(map(len, texts.values()))
    print(
        f"\n{len(canaries.values())} spellings of credentials, {len(texts)} texts, {size:,} characters, 0 hits"
    )


def test_the_gang_s_token_is_in_job_and_pods_alone(searched: dict[str, str]) -> None:
    """Who may read pods can read it: docs/security.md says what that is worth."""
    assert len(searched["token"]) == 64
    holders = {
        name.split()[0] for name, text in searched.items() if searched["token"] in text and name != "token"
    }
    assert holders == {"jobs", "pods"}
