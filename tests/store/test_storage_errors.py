"""What goes wrong with a storage ends in the right exit code and a message that says what to do."""

import errno
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import best_of
from finetune_api.errors import BadConfiguration, Denied, FineTuneError, MissingInput, TryAgain
from finetune_store import credentials as credentials_module
from finetune_store import local_files, storage_errors
from finetune_store.object_store import ObjectStore
from finetune_store.storage import StorageOptions, Store, open_store
from s3 import BUCKET, S3, SECRET_KEY, write_credentials

ROOT = "s3://bucket/prefix"


def answer(status: int, code: str = "") -> str:
    body = f"<Error><Code>{code}</Code><AWSAccessKeyId>AKIAEXAMPLE</AWSAccessKeyId></Error>" if code else ""
    return f"Generic S3 error: … - Server returned non-2xx status code: {status} …: {body}"


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (FileNotFoundError(answer(404, "NoSuchKey")), MissingInput, "FileNotFound"),
        (FileNotFoundError(answer(404, "NoSuchBucket")), MissingInput, "BucketNotFound"),
        (ValueError(answer(404, "ContainerNotFound")), MissingInput, "BucketNotFound"),
        (ValueError("The specified bucket does not exist."), MissingInput, "BucketNotFound"),
        (ValueError(answer(403, "SignatureDoesNotMatch")), Denied, "AccessDenied"),
        (ValueError(answer(403, "AccessDenied")), Denied, "AccessDenied"),
        (ValueError(answer(400, "ExpiredToken")), Denied, "AccessDenied"),
        (ValueError(answer(401)), Denied, "AccessDenied"),
        (FileNotFoundError(answer(404, "XAdminUserNotFound")), Denied, "AccessDenied"),
        (ValueError("PUT http://169.254.169.254/latest/api/token timed out"), Denied, "CredentialsMissing"),
        (ValueError("Error performing token request: …"), Denied, "CredentialsMissing"),
        (ValueError("Generic AwsLcCryptoProvider error: ReadPem"), BadConfiguration, "CredentialsUnreadable"),
        (ValueError(answer(403, "RequestTimeTooSkewed")), BadConfiguration, "ClockSkew"),
        (ValueError(answer(301, "PermanentRedirect")), BadConfiguration, "WrongRegion"),
        (ValueError(answer(400, "AuthorizationHeaderMalformed")), BadConfiguration, "WrongRegion"),
        (ValueError(answer(503, "SlowDown")), TryAgain, "StorageUnavailable"),
        (ValueError("HTTP error: error sending request"), TryAgain, "StorageUnavailable"),
        (ValueError("something new"), TryAgain, "StorageUnavailable"),
    ],
)
def test_errors_of_object_storage(error: Exception, kind: type[FineTuneError], reason: str) -> None:
    problem = storage_errors.translate(error, f"{ROOT}/key", ROOT)
    assert (type(problem), problem.reason) == (kind, reason)
    assert ROOT in str(problem)
    assert "AKIAEXAMPLE" not in str(problem)


@pytest.mark.parametrize(
    ("number", "kind", "reason"),
    [
        (errno.EACCES, Denied, "NotWritable"),
        (errno.EROFS, Denied, "NotWritable"),
        (errno.ENOTDIR, Denied, "NotWritable"),
        (errno.ENOSPC, BadConfiguration, "DiskFull"),
        (errno.EDQUOT, BadConfiguration, "DiskFull"),
        (errno.EIO, TryAgain, "StorageUnavailable"),
    ],
)
def test_errors_of_writing_local_files(number: int, kind: type[FineTuneError], reason: str) -> None:
    with pytest.raises(kind) as raised, local_files.writing("/data/x"):
        raise OSError(number, "why")
    assert raised.value.reason == reason


def test_a_missing_bucket_is_missing_input_whatever_is_asked_of_it(s3: S3) -> None:
    store = open_store("s3://nobody-made-this/x", StorageOptions(s3.endpoint), s3.credentials)
    for ask in asks(store):
        with pytest.raises(MissingInput, match="s3://nobody-made-this/x") as raised:
            ask()
        assert raised.value.reason == "BucketNotFound"
        assert raised.value.exit_code == 66


@pytest.mark.parametrize(("access_key", "secret_key"), [("test-access", "wrong"), ("nobody", SECRET_KEY)])
def test_refused_credentials_are_denied_at_once(
    s3: S3, tmp_path: Path, access_key: str, secret_key: str
) -> None:
    write_credentials(tmp_path / "keys", access_key, secret_key)
    store = open_store(f"s3://{BUCKET}/x", StorageOptions(s3.endpoint), tmp_path / "keys")
    for ask in asks(store):
        begin = time.monotonic()
        with pytest.raises(Denied, match="was refused") as raised:
            ask()
        assert raised.value.exit_code == 77
        assert secret_key not in str(raised.value)
        assert raised.value.__cause__ is None, "the storage's own text must not get into a log"
        assert time.monotonic() - begin < 5


def asks(store: Store) -> tuple[Callable[[], object], ...]:
    return (
        lambda: store.get("x"),
        lambda: store.find("x"),
        lambda: store.put("x", b""),
        lambda: store.create("x", b""),
        lambda: list(store.list()),
        lambda: store.check_writable("x"),
    )


def test_no_credentials_at_all_is_said_at_once(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_environment(monkeypatch)
    store = open_store(f"s3://{BUCKET}/x", StorageOptions(s3.endpoint))
    with pytest.raises(Denied, match="AWS_ACCESS_KEY_ID") as raised:
        store.get("x")
    assert raised.value.reason == "CredentialsMissing"


def test_credentials_and_endpoint_from_the_environment(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_environment(monkeypatch)
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    store = open_store(f"s3://{BUCKET}/environment")
    store.put("x", b"1")
    assert s3.store("environment").get("x") == b"1"


def forget_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_ENDPOINT_URL",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ):
        monkeypatch.delenv(name, raising=False)


def test_the_folder_counts_and_not_a_token_of_the_environment(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "belongs to other keys")
    s3.store("token").put("x", b"1")
    assert s3.store("token").get("x") == b"1"


def test_credentials_that_are_replaced_are_seen(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    write_credentials(keys, "test-access", SECRET_KEY)
    store = open_store(f"s3://{BUCKET}/rotation", StorageOptions(s3.endpoint), keys)
    store.put("x", b"1")
    write_credentials(keys, "test-access", "not this one")
    assert store.get("x") == b"1", "what worked a moment ago is not read again for each request"
    monkeypatch.setattr(credentials_module, "REFRESH_SECONDS", 0.0)
    with pytest.raises(Denied):
        store.get("x")
    write_credentials(keys, "test-access", SECRET_KEY)
    monkeypatch.undo()
    assert store.get("x") == b"1", "a refusal makes it look at once"


def test_an_incomplete_secret_is_a_configuration_error_that_names_the_key(s3: S3, tmp_path: Path) -> None:
    (tmp_path / "accessKeyId").write_text("a")
    store = open_store(f"s3://{BUCKET}/x", StorageOptions(s3.endpoint), tmp_path)
    with pytest.raises(BadConfiguration, match="`secretAccessKey`"):
        store.get("x")


@pytest.mark.parametrize(("uri", "key"), [("gs://bucket", "gcs.json"), ("az://container", "azureAccount")])
def test_other_clouds_name_their_key_too(tmp_path: Path, uri: str, key: str) -> None:
    with pytest.raises(BadConfiguration, match=key):
        open_store(uri, None, tmp_path).get("x")


def test_other_clouds_report_unusable_keys(tmp_path: Path) -> None:
    (tmp_path / "gcs.json").write_text(
        '{"client_email": "a", "private_key": "no key", "private_key_id": "x"}'
    )
    with pytest.raises(BadConfiguration, match="cannot be used"):
        open_store("gs://bucket", None, tmp_path).get("x")


def test_a_server_that_is_away_is_waited_for_as_long_as_patience_lasts() -> None:
    for times in best_of.some(5, under=5):
        times.append(seconds_of_patience(1.0))
        assert times[-1] > 0.5


def seconds_of_patience(patience: float) -> float:
    """How long a server that is away is waited for."""
    store = ObjectStore("s3://bucket/x", StorageOptions("http://127.0.0.1:1", patience=patience), None)
    begin = time.monotonic()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "a")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "b")
        with pytest.raises(TryAgain, match="no connection") as raised:
            store.get("x")
    assert raised.value.exit_code == 75
    return time.monotonic() - begin


@pytest.mark.parametrize("place", ["/proc/nowhere/x", "/dev/null/x"])
def test_a_local_folder_that_cannot_be_made_is_denied(place: str) -> None:
    with pytest.raises(Denied, match="cannot be written") as raised:
        open_store(place).check_writable(".run")
    assert raised.value.exit_code == 77


def test_a_local_path_below_a_file_is_denied(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Denied, match="cannot be written"):
        open_store(str(tmp_path / "file")).put("a/b", b"")
