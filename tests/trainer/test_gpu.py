"""What is done about GPUs, on a machine that has none: libraries and devices are pretended."""

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import tensorflow as tf

from finetune_api.errors import BadConfiguration
from finetune_trainer import gpu, gpu_libraries


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /dev with two NVIDIA GPUs, and a TensorFlow built for them that sees none."""
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def test_gpus_that_cannot_be_used_are_refused(devices: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"GPUs are here \(2\).*Fix: see why") as raised:
        gpu.require_usable(devices)
    assert raised.value.reason == "GpuUnusable"


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_gpus_that_are_hidden_are_not_missed(
    devices: Path, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    gpu.require_usable(devices)


def test_tensorflow_for_processors_needs_no_gpu(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: False)
    gpu.require_usable(devices)


def test_a_machine_without_gpus_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: True)
    gpu.require_usable(tmp_path)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `nvidia` of installed packages."""
    spec = ModuleSpec("nvidia", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", {"nvidia": spec}.get)
    return tmp_path


def test_the_library_that_tensorflow_does_not_find_is_opened(packages: Path) -> None:
    library = packages / "cusolver" / "lib" / "libcusolver.so.11"
    library.parent.mkdir(parents=True)
    library.touch()
    opened: list[str] = []
    assert gpu_libraries.open_missing(opened.append) == [library]
    assert opened == [str(library)]


def test_a_library_that_does_not_open_is_left_to_tensorflow(packages: Path) -> None:
    library = packages / "cusolver" / "lib" / "libcusolver.so.11"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"not a library")
    assert gpu_libraries.open_missing() == []


def test_without_nvidias_packages_nothing_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert gpu_libraries.open_missing() == []
