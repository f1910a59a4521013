"""A secret that comes late, and one that never comes."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune_api.contract import CONTRACT_VERSION, Env
from finetune_api.errors import BadConfiguration
from finetune_supervisor import credentials, job
from finetune_supervisor.settings import Settings
from gangs import Gang
from waiting import eventually

MakeGang = Callable[..., Gang]
BUCKETS = {"data": {"train": "gs://bucket/images"}, "output": {"uri": "az://models/a"}}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "PATIENCE_SECONDS", 0.0)


def complaint(folder: Path, spec: dict[str, object], **names: str) -> BadConfiguration | None:
    """What is missing in the folder `keys` for a job with `spec`."""
    (folder / "keys").mkdir(exist_ok=True)
    document = {"apiVersion": "finetune.dev/v1alpha1", "kind": "FineTuneJob", "metadata": {"name": "flowers"}}
    spec = {"model": {"backbone": "MobileNetV2"}, "data": {"train": "s3://b/i"}, **spec}
    identity = {"namespace": "team-a", "name": "flowers", "runId": "1", "contractVersion": CONTRACT_VERSION}
    (folder / "job.json").write_text(json.dumps({**identity, "job": {**document, "spec": spec}}))
    environment = {
        Env.JOB: str(folder / "job.json"),
        Env.SCRATCH: "/s",
        Env.CREDENTIALS: str(folder / "keys"),
    }
    settings = Settings.read({**environment, **names})
    try:
        asyncio.run(
            credentials.arrive(settings, job.read(settings.job), asyncio.Event(), lambda problem: None)
        )
    except BadConfiguration as error:
        return error
    return None


@pytest.mark.parametrize(
    ("spec", "there", "missing"),
    [
        ({"output": {"uri": "s3://b/m"}}, [], "accessKeyId or AWS_ACCESS_KEY_ID"),
        (
            {"output": {"uri": "s3://b/m"}},
            ["AWS_ACCESS_KEY_ID"],
            "secretAccessKey or AWS_SECRET_ACCESS_KEY",
        ),
        ({"output": {"uri": "s3://b/m"}}, ["accessKeyId", "AWS_SECRET_ACCESS_KEY"], None),
        (BUCKETS, ["azureAccount", "sas"], "gcs.json"),
        (BUCKETS, ["gcs.json", "azureAccount"], "azureKey or AZURE_STORAGE_ACCOUNT_KEY or sas"),
        (BUCKETS, ["gcs.json", "azureAccount", "sas"], None),
        (BUCKETS, ["gcs.json", "AZURE_STORAGE_ACCOUNT_NAME", "azureKey"], None),
        ({"data": {"train": "/images"}, "output": {"uri": "/models"}}, [], None),
    ],
)
def test_a_missing_key_is_named_with_its_secret_and_namespace(
    tmp_path: Path, spec: dict[str, object], there: list[str], missing: str | None
) -> None:
    (tmp_path / "keys").mkdir()
    for key in there:
        (tmp_path / "keys" / key).write_text("x")
    found = complaint(tmp_path, spec, **{Env.SECRET: "s3-keys"})
    if missing is None:
        assert found is None
    else:
        assert found is not None
        assert (found.reason, found.exit_code) == ("SecretMissing", 78)
        assert f"secret s3-keys of namespace team-a is missing, or has no key {missing}" in str(found)


def test_a_missing_certificate_is_named_with_its_config_map(tmp_path: Path) -> None:
    spec: dict[str, object] = {"output": {"uri": "s3://b/m"}}
    found = complaint(tmp_path, spec, **{Env.CA: "our-ca"})
    assert found is not None
    assert (found.reason, found.exit_code) == ("ConfigMapMissing", 78)
    assert "ConfigMap our-ca of namespace team-a is missing, or has no key ca.crt" in str(found)
    (tmp_path / "keys" / "ca.crt").write_text("x")
    assert complaint(tmp_path, spec, **{Env.CA: "our-ca"}) is None


def test_a_folder_that_is_no_secret_is_left_alone(tmp_path: Path) -> None:
    assert complaint(tmp_path, {"output": {"uri": "s3://b/m"}}) is None


def waiting(gang: Gang) -> Gang:
    """A supervisor whose secret is not there yet."""
    keys = gang.folder / "keys"
    keys.mkdir()
    gang.start(0, **{Env.CREDENTIALS: str(keys), Env.SECRET: "s3-keys"})
    eventually(lambda: gang.get(0, "/ready") == "ok\n")
    eventually(lambda: gang.progress().report.reason == "SecretMissing")
    return gang


STORED: dict[str, object] = {
    "output": {"uri": "s3://bucket/models"},
    "storage": {"endpoint": "http://127.0.0.1:1"},
}


def test_a_secret_that_comes_late_is_waited_for(gang: MakeGang) -> None:
    """Ready all the while: a pod that is not would be replaced by some queues."""
    run = waiting(gang(1, spec=STORED))
    assert "secret s3-keys of namespace default" in str(run.report(0).message)
    assert run.report(0).exit_code is None
    for key in ("accessKeyId", "secretAccessKey"):
        (run.folder / "keys" / key).write_text("x")
    eventually(lambda: run.progress().report.reason is None)
    eventually(lambda: "obstore" in Path(f"/proc/{run.processes[0].pid}/maps").read_text())


def test_told_to_stop_while_it_waits_it_leaves(gang: MakeGang) -> None:
    run = waiting(gang(1, spec=STORED))
    run.processes[0].send_signal(signal.SIGTERM)
    assert run.exit_codes() == [143]
