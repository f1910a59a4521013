"""`finetune run` on storage and weights that are not as the job says."""

import hashlib
from pathlib import Path

import pytest

from local_runs import Ended, finetune, job, refused, write_images, write_job
from s3 import BUCKET, S3


def remote(folder: Path, server: S3, train: str, output: str) -> dict:
    document = job(folder, storage={"endpoint": server.endpoint, "region": "us-east-1"})
    document["spec"]["data"]["train"] = train
    document["spec"]["output"]["uri"] = output
    return document


def run(folder: Path, document: dict, **env: str) -> Ended:
    return finetune("run", str(write_job(folder, document)), home=folder / "home", env=env, timeout=300)


def test_a_bucket_for_the_results_that_does_not_exist(tmp_path, s3):
    images = write_images(tmp_path)
    ended = run(tmp_path, remote(tmp_path, s3, str(images), "s3://nowhere/models"), **s3.environment())
    refused(ended, tmp_path / "home", 66, "nowhere", "Fix: ")


def test_a_bucket_of_images_that_does_not_exist(tmp_path, s3):
    ended = run(
        tmp_path, remote(tmp_path, s3, "s3://nowhere/images", str(tmp_path / "models")), **s3.environment()
    )
    refused(ended, tmp_path / "home", 66, "nowhere", "Fix: ")


def test_credentials_that_are_refused(tmp_path, s3):
    images = write_images(tmp_path)
    wrong = {**s3.environment(), "AWS_SECRET_ACCESS_KEY": "somebody-else"}
    ended = run(tmp_path, remote(tmp_path, s3, str(images), f"s3://{BUCKET}/models"), **wrong)
    refused(ended, tmp_path / "home", 77, f"s3://{BUCKET}/models", "Fix: ")


def test_no_credentials_at_all(tmp_path, s3):
    images = write_images(tmp_path)
    env = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "us-east-1"}
    ended = run(tmp_path, remote(tmp_path, s3, str(images), f"s3://{BUCKET}/models"), **env)
    refused(ended, tmp_path / "home", 77, "AWS_ACCESS_KEY_ID", "Fix: set both")


# What follows is found out by the training process: a few seconds each for TensorFlow to start.


def weighed(folder: Path, weights: Path, sha256: str, backbone: str = "MobileNetV2") -> dict:
    write_images(folder)
    model = {"backbone": backbone, "weights": str(weights), "weightsSha256": sha256, "imageSize": 32}
    return job(folder, model=model)


@pytest.mark.slow
def test_weights_with_another_checksum(tmp_path):
    weights = tmp_path / "my.weights.h5"
    weights.write_bytes(b"other bytes")
    ended = run(tmp_path, weighed(tmp_path, weights, "0" * 64))
    actual = hashlib.sha256(b"other bytes").hexdigest()
    refused(ended, tmp_path / "home", 65, str(weights), actual, "0" * 64)


@pytest.mark.slow
def test_weights_of_another_architecture(tmp_path):
    import keras

    weights = tmp_path / "my.weights.h5"
    keras.applications.MobileNet(weights=None, include_top=False, input_shape=(32, 32, 3)).save_weights(
        weights
    )
    ended = run(tmp_path, weighed(tmp_path, weights, hashlib.sha256(weights.read_bytes()).hexdigest()))
    refused(ended, tmp_path / "home", 65, str(weights), "belongs to another network", "Fix: ")


@pytest.mark.slow
def test_weights_that_are_not_there(tmp_path):
    ended = run(tmp_path, weighed(tmp_path, tmp_path / "my.weights.h5", "0" * 64))
    refused(ended, tmp_path / "home", 66, str(tmp_path / "my.weights.h5"))


@pytest.mark.slow
def test_lite_weights_that_were_never_converted(tmp_path):
    write_images(tmp_path)
    document = job(tmp_path, model={"backbone": "EfficientNetLite0", "imageSize": 32})
    ended = run(tmp_path, document, KERAS_HOME=str(tmp_path / "keras"))
    refused(ended, tmp_path / "home", 66, "python -m finetune_trainer.lite_weights EfficientNetLite0")
