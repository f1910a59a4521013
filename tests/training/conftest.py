"""What whole trainings share: real images and real ImageNet weights, made once a session."""

import os
from pathlib import Path

import pytest

import trainings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def keras_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """KERAS_HOME with the converted EfficientNetLite0 weights; in the environment of every process started."""
    from finetune_trainer import lite_weights

    home = tmp_path_factory.mktemp("keras-home")
    os.environ["KERAS_HOME"] = str(home)
    file = home / "models" / lite_weights.converted_file("EfficientNetLite0").name
    assert lite_weights.main(["EfficientNetLite0", "--output", str(file)]) == 0
    return home


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 handwritten digits."""
    return trainings.write_digits(tmp_path_factory.mktemp("digits") / "images", 300)
