"""The images are what the operator's pods expect of them."""

import re
from pathlib import Path

import pytest

from finetune_api.contract import HTTP_PORT, RENDEZVOUS_PORT, TENSORFLOW_PORT
from finetune_operator.manifests import pod, volumes
from finetune_operator.settings import Settings


@pytest.fixture(scope="module")
def dockerfile(root: Path) -> str:
    return (root / "Dockerfile").read_text()


def _stage(dockerfile: str, name: str) -> str:
    found = re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", dockerfile, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_both_run_as_the_user_of_the_pods(dockerfile: str) -> None:
    runtime = _stage(dockerfile, "runtime")
    assert f"\nUSER {pod.USER}:{pod.USER}\n" in runtime
    assert "USER" not in _stage(dockerfile, "operator") + _stage(dockerfile, "trainer")


def test_what_pods_mount_is_there_for_those_who_run_an_image_without_one(dockerfile: str) -> None:
    runtime = _stage(dockerfile, "runtime")
    made = re.search(rf"install -d -o {pod.USER} -g {pod.USER} (.+)", runtime)
    assert made is not None
    assert set(made[1].split()) == {volumes.HOME_FOLDER, volumes.SCRATCH_FOLDER, volumes.KERAS_FOLDER}
    assert f"HOME={volumes.HOME_FOLDER} " in runtime
    assert f"KERAS_HOME={volumes.KERAS_FOLDER}\n" in _stage(dockerfile, "trainer")


def test_the_trainer_starts_the_supervisor_as_pods_do(dockerfile: str) -> None:
    trainer = _stage(dockerfile, "trainer")
    assert '"/opt/finetune/bin/python", "-m", "finetune_supervisor"]' in trainer
    assert "ENV PATH=/opt/finetune/bin:" in _stage(dockerfile, "runtime")
    assert f"EXPOSE {TENSORFLOW_PORT} {RENDEZVOUS_PORT} {HTTP_PORT}\n" in trainer


def test_the_operator_serves_where_its_image_says(dockerfile: str) -> None:
    assert f"EXPOSE {Settings().http.port}\n" in _stage(dockerfile, "operator")


def test_nothing_is_installed_but_by_hash(root: Path, dockerfile: str) -> None:
    install = (root / "tools/images/install.sh").read_text()
    commands = re.findall(r"^ +install_into (.+)$", install, re.MULTILINE)
    assert len(commands) == 2
    assert all("--require-hashes" in command or "--no-index" in command for command in commands)
    locks = re.findall(r"^COPY requirements/(\S+)", dockerfile, re.MULTILINE)
    assert locks == ["build.txt", "operator.txt", "trainer-${DEVICE}.txt"]
    assert "pip install" not in dockerfile + install


def test_what_is_copied_into_a_build_is_let_through_and_there(root: Path, dockerfile: str) -> None:
    allowed = [line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    for source in " ".join(copies).replace("${DEVICE}", "cpu").split():
        assert (root / source).exists(), source
        assert any(Path(source).match(one) or one.startswith(f"{source}/") for one in allowed), source
