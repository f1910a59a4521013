"""The whole job on object storage: images read from a real S3 server, checkpoints and the model written to it."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import local_runs
import s3 as s3_server
import trainings
from finetune_store.storage import Store
from finetune_trainer import tflite

s3 = s3_server.s3
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("keras_home")]

STAGES: list[dict[str, Any]] = [
    {"name": "head", "unfreeze": {"blocks": 0}, "epochs": 3, "optimizer": {"name": "LBFGS"}},
    {
        "name": "finetune",
        "unfreeze": {"blocks": 1},
        "epochs": 2,
        "learningRate": 0.0005,
        "optimizer": {"name": "Adam"},
    },
]


def test_from_bucket_to_bucket(digits: Path, tmp_path: Path, s3: s3_server.S3) -> None:
    images = s3.store("run/images")
    for file in digits.rglob("*.png"):
        images.upload(file, file.relative_to(digits).as_posix())
    document = trainings.job(digits, tmp_path, 2, stages=STAGES, storage={"endpoint": s3.endpoint})
    document["spec"]["data"]["train"] = images.uri()
    document["spec"]["output"] = {
        "uri": s3.store("run/models").uri(),
        "formats": [
            {"kind": "TFLite", "quantization": "Float16"},
            {"kind": "TFLite", "quantization": "Int8"},
        ],
        "maxAccuracyDrop": 0.05,
    }
    job = tmp_path / "job.yaml"
    job.write_text(yaml.safe_dump(document))

    ended = local_runs.finetune(
        "run", str(job), home=tmp_path / "home", env={**os.environ, **s3.environment()}, timeout=300
    )

    assert ended.code == 0, ended
    results = s3.store("run/models/default/digits")
    manifest = json.loads(results.get("model/1/manifest.json"))
    assert {"saved_model.pb", "variables/variables.index"} <= set(manifest["files"])
    assert all(
        results.head(f"model/1/{name}").size == facts["size"] for name, facts in manifest["files"].items()
    )
    assert json.loads(results.get("latest.json"))["version"] == 1
    assert len(results.get("metrics.csv").splitlines()) == 1 + 3 + 2
    assert manifest["metrics"]["val_accuracy"] > 0.8
    _files_for_phones(results, manifest, digits)
    again = local_runs.finetune(
        "run", str(job), home=tmp_path / "home", env={**os.environ, **s3.environment()}
    )
    assert again.code == 0, again
    assert "--new-version" in again.out + again.err


def _files_for_phones(results: Store, manifest: dict[str, Any], digits: Path) -> None:
    """What was published answers, and the manifest says how well."""
    saved, *others = manifest["formats"]
    assert saved == {"kind": "SavedModel"}
    assert [form["file"] for form in others] == ["tflite/float16.tflite", "tflite/int8.tflite"]
    assert others[1]["bytes"] < 0.6 * others[0]["bytes"]
    names = results.get("model/1/tflite/labels.txt").decode().splitlines()
    assert names == manifest["classes"]
    some = sorted(digits.rglob("*.png"))[::9]
    pixels = [np.asarray(Image.open(file)) for file in some]
    for form in others:
        print(form)
        answers = tflite.answers(results.get(f"model/1/{form['file']}"), pixels)
        right = [
            names[answer.argmax()] == file.parent.name for answer, file in zip(answers, some, strict=True)
        ]
        assert sum(right) > 0.8 * len(some)
