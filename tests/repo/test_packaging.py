"""Version, locks and what is imported by whom."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = {
    "dev": ["trainer-cpu", "cli", "demo", "dev", "bench"],
    "operator": ["operator"],
    "trainer-cpu": ["trainer-cpu"],
    "trainer-gpu": ["trainer"],
}
HEAVY = {
    "finetune_api": "tensorflow keras numpy scipy obstore prometheus_client click rich kopf kubernetes",
    "finetune_supervisor": "tensorflow keras numpy scipy click rich kopf kubernetes",
    "finetune_cli.main": "tensorflow keras numpy scipy kopf kubernetes obstore pydantic rich",
}
IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(getattr(package, "__path__", []), sys.argv[1] + "."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(*sorted({name.partition(".")[0] for name in sys.modules} & set(sys.argv[2].split())))
"""


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def test_the_changelog_begins_with_the_version_of_the_package(root: Path, project: dict[str, Any]) -> None:
    newest = re.search(r"^## \[(.+?)\]", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == project["version"]


def test_what_is_installed_is_this_version(project: dict[str, Any]) -> None:
    assert version(project["name"]) == project["version"]


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_holds_what_pyproject_asks_for(name: str, root: Path, project: dict[str, Any]) -> None:
    pinned = _pins(root / "requirements" / f"{name}.txt")
    wanted = project["dependencies"] + [
        line for extra in LOCKS[name] for line in project["optional-dependencies"][extra]
    ]
    for requirement in map(Requirement, wanted):
        locked = pinned.get(canonicalize_name(requirement.name))
        assert locked is not None, f"{requirement} is not in the lock: run `make lock`"
        assert locked in requirement.specifier, f"{requirement} is not met by {locked}: run `make lock`"


def test_every_lock_has_the_versions_that_are_tested(root: Path) -> None:
    tested = _pins(root / "requirements" / "dev.txt")
    for name in LOCKS:
        shipped = _pins(root / "requirements" / f"{name}.txt")
        differing = {p: v for p, v in shipped.items() if tested.get(p, v) != v}
        assert not differing, name


def test_every_line_of_a_lock_has_hashes(root: Path) -> None:
    for name in LOCKS:
        text = (root / "requirements" / f"{name}.txt").read_text()
        assert not re.findall(r"^\S+==\S+$", text, re.MULTILINE), name


@pytest.mark.parametrize("package", HEAVY)
def test_imports_stay_light(package: str) -> None:
    command = [sys.executable, "-c", IMPORT_ALL, package, HEAVY[package]]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert loaded == []


def _pins(lock: Path) -> dict[str, str]:
    pins = re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", lock.read_text(), re.MULTILINE)
    return {canonicalize_name(name): pinned for name, pinned in pins}
