"""A storage whose certificate is signed by nobody whom the system knows."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import s3
from certificates import Authority
from finetune_api.errors import Denied, FineTuneError
from finetune_store.storage import StorageOptions, Store, open_store
from s3 import BUCKET, S3


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def guarded(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A server that speaks TLS."""
    with s3.serve(
        tmp_path_factory.mktemp("s3"), authority.issue("storage", addresses=["127.0.0.1"])
    ) as server:
        yield server


def store(guarded: S3, folder: Path) -> Store:
    options = StorageOptions(guarded.endpoint, region="us-east-1", patience=1)
    return open_store(f"s3://{BUCKET}/tls", options, folder)


def test_ca_crt_among_the_credentials_is_trusted(guarded: S3, authority: Authority, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    shutil.copytree(guarded.credentials, keys)
    with pytest.raises(FineTuneError):
        store(guarded, keys).put("x", b"1")
    shutil.copy(authority.certificate, keys / "ca.crt")
    store(guarded, keys).put("x", b"1")
    assert store(guarded, keys).get("x") == b"1"


def test_alone_it_leaves_the_keys_to_the_environment(
    guarded: S3, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in guarded.environment():
        monkeypatch.delenv(name, raising=False)
    shutil.copy(authority.certificate, tmp_path / "ca.crt")
    with pytest.raises(Denied, match="AWS_ACCESS_KEY_ID"):
        store(guarded, tmp_path).put("y", b"1")
    for name, value in guarded.environment().items():
        monkeypatch.setenv(name, value)
    store(guarded, tmp_path).put("y", b"2")
    assert store(guarded, tmp_path).get("y") == b"2"
