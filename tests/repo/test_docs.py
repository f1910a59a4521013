"""What the documents say is true."""

import re
from pathlib import Path

import pytest
import yaml

from finetune_api import not_built, schedule, yaml_loader

ROOT = Path(__file__).parents[2]
ADR_HEADINGS = ["Context", "Decision", "Consequences"]
ADR_MAX_LINES = 60
JOB_LINES = 12


def _check(job: Path) -> None:
    parsed = yaml_loader.read_job(job)
    not_built.refuse_unbuilt(parsed)
    schedule.resolve(parsed)


def _example_jobs() -> list[Path]:
    return [p for p in (ROOT / "examples").rglob("*.yaml") if "FineTuneJob" in p.read_text()]


def test_the_job_in_the_readme_runs_as_it_stands(texts: dict[str, str], tmp_path: Path) -> None:
    found = re.search(r"```yaml\n(.*?)```", texts["README.md"], re.DOTALL)
    assert found is not None
    assert found[1].count("\n") <= JOB_LINES
    job = tmp_path / "job.yaml"
    job.write_text(found[1])
    _check(job)


@pytest.mark.parametrize("job", _example_jobs(), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_example_runs_as_it_stands(job: Path) -> None:
    _check(job)


def test_there_is_an_example_and_every_yaml_file_parses(texts: dict[str, str]) -> None:
    assert _example_jobs()
    for name, text in texts.items():
        if Path(name).suffix in (".yaml", ".yml") and "/templates/" not in name:
            assert list(yaml.safe_load_all(text)), name


def test_commands_in_the_documents_exist(texts: dict[str, str]) -> None:
    documents = "".join(text for name, text in texts.items() if name.endswith(".md"))
    named = set(re.findall(r"(?:`|^)make ([a-z][a-z0-9-]*)", documents, re.MULTILINE))
    targets = set(re.findall(r"^([a-z0-9-]+):", texts["Makefile"], re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def test_links_between_documents_lead_somewhere(texts: dict[str, str]) -> None:
    broken = [
        (name, target)
        for name, text in texts.items()
        if name.endswith(".md")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
        if not (ROOT / name).parent.joinpath(target).exists()
    ]
    assert not broken


def test_paths_in_contributing_exist(texts: dict[str, str]) -> None:
    named = re.findall(r"`((?:finetune_\w+)/[\w/]+\.py)`", texts["CONTRIBUTING.md"])
    tops = (ROOT / "operator", ROOT / "trainer_image")
    missing = [name for name in named if not any((top / name).exists() for top in tops)]
    assert named
    assert not missing


def test_decision_records_are_numbered_and_have_their_four_parts(texts: dict[str, str]) -> None:
    records = {name: text for name, text in texts.items() if name.startswith("docs/adr/")}
    numbers = [int(Path(name).name[:4]) for name in sorted(records)]
    assert numbers == list(range(1, len(records) + 1))
    for name, text in records.items():
        number = int(Path(name).name[:4])
        assert text.startswith(f"# {number}. "), name
        assert re.search(r"^Status: (accepted|superseded by \d+)$", text, re.MULTILINE), name
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ADR_HEADINGS, name
        assert text.count("\n") <= ADR_MAX_LINES, name
