"""Credentials are in nothing that a training leaves behind: results, run folder, logs, reports, pages, errors."""

import secrets
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import canaries
import local_runs
import s3 as s3_server
from finetune_api.contract import Env
from finetune_api.errors import FineTuneError
from finetune_store.storage import StorageOptions, open_store
from gangs import REAL, Gang
from waiting import eventually

s3 = s3_server.s3
PAGES = ("/progress", "/metrics")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3_server.S3]:
    """Takes the canaries for its keys."""
    monkeypatch.setattr(s3_server, "ACCESS_KEY", canaries.KEYS["accessKeyId"])
    monkeypatch.setattr(s3_server, "SECRET_KEY", canaries.KEYS["secretAccessKey"])
    (tmp_path / "server").mkdir()
    with s3_server.serve(tmp_path / "server") as running:
        yield running


@pytest.mark.slow
def test_a_training_on_object_storage_leaves_no_credential_behind(
    tmp_path: Path, server: s3_server.S3
) -> None:
    keys = canaries.write(
        tmp_path / "keys", "accessKeyId", "secretAccessKey", "gcs.json", "azureAccount", "azureKey"
    )
    for file in local_runs.write_images(tmp_path / "source").rglob("*.png"):
        server.store("images").upload(file, file.relative_to(tmp_path / "source/images").as_posix())
    spec: dict[str, object] = {
        "globalBatchSize": 4,
        "model": {"backbone": "MobileNetV2", "imageSize": 32, "weights": "none", "alpha": 0.35},
        "data": {"train": f"s3://{s3_server.BUCKET}/images", "validation": {"split": 0.25}},
        "output": {"uri": f"s3://{s3_server.BUCKET}/models"},
        "storage": {"endpoint": server.endpoint, "region": "us-east-1", "secretName": "s3-credentials"},
    }
    (tmp_path / "gang").mkdir()
    gang = Gang(tmp_path / "gang", workers=2, epochs=2, spec=spec, module=REAL)
    ours = {
        Env.CREDENTIALS.value: str(keys),
        Env.SECRET.value: "s3-credentials",
        Env.TOKEN.value: canaries.TOKEN,
    }
    texts: dict[str, str] = {}
    try:
        gang.start(**ours)
        gang.reaches(1, within=120)
        for index in range(2):
            for page in PAGES:
                texts[f"{index}{page}"] = eventually(partial(gang.get, index, page))
        assert gang.exit_codes(300) == [0, 0], gang.log(0)
    finally:
        gang.stop()
    texts |= dict(canaries.files(gang.folder))
    texts |= dict(canaries.files(server.folder))
    assert canaries.found(texts, canaries.values()) == []
    names = " ".join(texts)
    wanted = (
        "saved_model.pb",
        "metrics.csv",
        "README.md",
        "manifest.json",
        "termination-1",
        "worker-0.log",
        ".run/",
    )
    assert [one for one in wanted if one not in names] == []
    assert all(texts[f"{index}{page}"] for index in range(2) for page in PAGES)
    print(f"\n{len(texts)} files and pages of a training, {sum(map(len, texts.values())):,} bytes, 0 hits")


@pytest.mark.parametrize(
    ("uri", "names"),
    [
        ("s3://bucket/x", ("accessKeyId", "secretAccessKey")),
        ("s3://bucket/x", ("accessKeyId", "secretAccessKey", "sessionToken")),
        ("gs://bucket/x", ("gcs.json",)),
        ("az://bucket/x", ("azureAccount", "azureKey")),
        ("az://bucket/x", ("azureAccount", "sas")),
    ],
)
def test_no_error_of_a_storage_tells_a_credential(
    tmp_path: Path, uri: str, names: tuple[str, ...], s3: s3_server.S3
) -> None:
    """Each of these keys is wrong, or for a server of another kind."""
    options = StorageOptions(s3.endpoint, "us-east-1", patience=0.5)
    store = open_store(uri, options, canaries.write(tmp_path / secrets.token_hex(4), *names))
    said = []
    for act in (lambda: store.get("y"), lambda: store.put("y", b""), lambda: list(store.list())):
        try:
            act()
        except FineTuneError as error:
            said += [str(error), repr(error), "".join(traceback.format_exception(error))]
    assert said
    assert canaries.found({str(number): text for number, text in enumerate(said)}, canaries.values()) == []
