"""Rules that every file of the repository keeps."""

import re
from pathlib import Path

import pytest

MAX_LINES = 300
WRITTEN_BY_HAND = {".py", ".sh", ".go", ".md", ".yaml", ".yml"}
GENERATED = re.compile(
    r"^(operator/crds/|operator/rbac.yaml|docs/reference/|benchmarks/results/|tests/operator/golden/"
    r"|charts/finetune-operator/(values\.yaml|README\.md|templates/crd\.yaml))"
)

# A lock or a script that names where packages were fetched from works on one network only. Written so that
# this file does not hold them itself.
ELSEWHERE = {
    "a package registry's host": r"pypi[.]org|pythonhosted[.]org|proxy[.]golang[.]org|registry[.]npmjs[.]org",
    "an option that names an index": r"^--(extra-)?index-url|^--(find-links|trusted-host)",
    "an absolute path of somebody's machine": r"(?<![\w.}])/(?:work|home/\w|Users/\w|root)/",
    "a mark of an unsolved merge": r"^(<{7}|>{7}) ",
}


def test_no_file_written_by_hand_is_longer_than_300_lines(texts: dict[str, str]) -> None:
    long = {
        name: text.count("\n")
        for name, text in texts.items()
        if Path(name).suffix in WRITTEN_BY_HAND and not GENERATED.match(name) and text.count("\n") > MAX_LINES
    }
    assert not long


@pytest.mark.parametrize("what", ELSEWHERE)
def test_no_file_holds(what: str, texts: dict[str, str]) -> None:
    pattern = re.compile(ELSEWHERE[what], re.MULTILINE)
    found = {name: match[0] for name, text in texts.items() if (match := pattern.search(text))}
    assert not found


def test_folders_that_would_shadow_the_standard_library_are_not_packages(root: Path) -> None:
    folders = [root / "operator", root / "trainer_image", *(root / "tests").rglob("*")]
    assert [folder for folder in folders if (folder / "__init__.py").exists()] == []


def test_every_target_of_the_makefile_is_explained(texts: dict[str, str]) -> None:
    declared = re.findall(r"^\.PHONY: (.+)$", texts["Makefile"], re.MULTILINE)
    explained = re.findall(r"^([a-z0-9-]+):.*## ", texts["Makefile"], re.MULTILINE)
    assert explained == declared
