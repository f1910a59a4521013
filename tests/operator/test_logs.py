"""Logs: JSON, one object a line, and no secret in any."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from finetune_operator import logs

SECRET = "hunter2hunter2hunter2"
LEAKS = {
    "a header": f"Authorization: Bearer {SECRET}",
    "a basic header": f"authorization=Basic {SECRET}==",
    "a user in a URL": f"GET https://me:{SECRET}@host/path failed",
    "an access key": f"accessKeyId: {SECRET}",
    "a secret key in JSON": f'{{"secretAccessKey": "{SECRET}"}}',
    "a session token": f"sessionToken={SECRET}",
    "a Python dict": f"{{'azureKey': 'x', 'accountKey': '{SECRET}'}}",
    "a signed URL of S3": f"https://b.s3.amazonaws.com/k?X-Amz-Signature={SECRET}&x=1",
    "a signed URL of Azure": f"https://a.blob.core.windows.net/c?sv=1&sig={SECRET}",
    "an environment variable": f"AWS_SECRET_ACCESS_KEY={SECRET}",
    "a token of a gang": f"FINETUNE_TOKEN={SECRET}",
    "a private key": f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----",
    "half a private key": f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}",
    "a password": f"password='{SECRET}'",
}
HARMLESS = (
    "the token is missing",
    "create ConfigMap ft-flowers",
    "secret s3-credentials in namespace team-a has no key accessKeyId",
    "exceeded quota: compute, requested: pods=1, used: pods=4, limited: pods=4",
    "https://storage.example/bucket/flowers?list-type=2",
    "spec.storage.secretName: s3-credentials",
)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.set_up("info", stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def written(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("text", LEAKS.values(), ids=LEAKS)
def test_no_secret_is_logged(text: str, stream: io.StringIO) -> None:
    log = logging.getLogger("finetune_operator.test")
    log.info("said: %s", text)
    log.info("with more", extra={"detail": text})
    try:
        raise RuntimeError(text)
    except RuntimeError:
        log.exception("failed")
    assert SECRET not in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert logs.scrub(text) == text


def test_a_line_is_an_object(stream: io.StringIO) -> None:
    logging.getLogger("finetune_operator.executor").info(
        "create Job\nft-a", extra={"job": "ns/a", "odd": {1, 2}}
    )
    (line,) = written(stream)
    assert line["logger"] == "executor"
    assert line["level"] == "info"
    assert line["message"] == "create Job\nft-a"
    assert line["job"] == "ns/a"
    assert str(line["time"]).endswith("+00:00")


def test_libraries_that_chat_are_quiet(stream: io.StringIO) -> None:
    logging.getLogger("kopf.objects").info("Handler succeeded.")
    logging.getLogger("kopf._core.reactor.running").warning("OS signals are ignored")
    logging.getLogger("aiohttp.access").info("GET /")
    assert written(stream) == []


def test_a_traceback_is_part_of_its_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("finetune_operator.x").exception("it failed")
    (line,) = written(stream)
    assert "ValueError: broken" in str(line["exception"])
