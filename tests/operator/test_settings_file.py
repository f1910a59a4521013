"""The operator's configuration."""

from pathlib import Path

import pytest

from finetune_api.errors import BadConfiguration
from finetune_operator.settings import Settings


def read(folder: Path, text: str, **environment: str) -> Settings:
    file = folder / "operator.yaml"
    file.write_text(text)
    return Settings.read(file, environment)


def test_without_a_file_everything_has_a_default() -> None:
    settings = Settings.read(None, {"POD_NAMESPACE": "finetune-system", "POD_NAME": "operator-0"})
    assert (settings.pod_namespace, settings.pod_name) == ("finetune-system", "operator-0")
    assert (settings.lease.duration_seconds, settings.lease.renew_seconds, settings.lease.retry_seconds) == (
        15,
        10,
        2,
    )
    assert (settings.client.qps, settings.client.burst, settings.workers) == (200, 400, 16)
    assert settings.progress_interval_seconds == 15
    assert "169.254.169.254/32" in settings.network_policy.metadata_addresses
    assert not settings.gangs.kueue.enabled


def test_a_file_sets_what_it_names(tmp_path: Path) -> None:
    text = """
    namespaces: [team-a, team-b]
    lease: {durationSeconds: 11, retrySeconds: 0.5}
    trainer: {images: {gpu: "registry.example/t@sha256:00"}, resources: {memory: 1Gi}}
    gangs: {podGroup: {enabled: true}}
    networkPolicy: {egressCidrs: [10.0.0.0/8]}
    """
    settings = read(tmp_path, text)
    assert settings.namespaces == ["team-a", "team-b"]
    assert (settings.lease.duration_seconds, settings.lease.renew_seconds) == (11, 10)
    assert settings.trainer.images.gpu == "registry.example/t@sha256:00"
    assert (settings.trainer.resources.memory, settings.trainer.resources.cpu) == ("1Gi", "2")
    assert settings.gangs.pod_group.enabled
    assert settings.pod_namespace == ""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param(
            "lease: {enable: true}", "lease.enable: unknown setting; did you mean enabled", id="a typo"
        ),
        pytest.param(
            "colour: red", "colour: unknown setting; known are client, clusterDomain", id="no such thing"
        ),
        pytest.param("gangs: {kueue: {queue: a}}", "gangs.kueue.queue: unknown setting", id="deep inside"),
        pytest.param(
            "client: {qps: '5'}", "client.qps: Input should be a valid number, got '5'", id="a number as text"
        ),
        pytest.param("client: {qps: 0}", "client.qps: Input should be greater than 0", id="never a request"),
        pytest.param(
            "networkPolicy: {egressCidrs: [10.0.0.1/8]}", "10.0.0.1/8 has host bits set", id="no network"
        ),
        pytest.param("trainer: {volumes: {tmp: 1GB}}", "'1GB' is not an amount such as 512", id="no amount"),
        pytest.param(
            "lease: {renewSeconds: 20}", "renewSeconds must be shorter than durationSeconds", id="lease"
        ),
        pytest.param("[1]", "operator.yaml holds no mapping", id="a list"),
        pytest.param("a: 1\na: 2", "the key a is there twice", id="a key twice"),
        pytest.param("a: [", "is not valid YAML", id="no YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        read(tmp_path, text)
    assert complaint in str(caught.value)
    assert caught.value.reason == "BadSettings"


def test_everything_wrong_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"(?s)workers: .*colour: unknown"):
        read(tmp_path, "workers: 0\ncolour: red")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"none\.yaml cannot be read"):
        Settings.read(tmp_path / "none.yaml", {})


def test_a_token_is_one_jobs_own_and_no_other_process_can_tell() -> None:
    settings = Settings()
    assert settings.token("a") == settings.model_copy(update={"workers": 1}).token("a")
    assert settings.token("a") != settings.token("b")
    assert settings.token("a") != Settings().token("a")
    assert len(settings.token("a")) == 64
    assert settings.token("a") not in repr(settings)
