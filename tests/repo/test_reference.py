"""docs/reference is what the code makes, and every reason in the code can be looked up."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from finetune_api.v1alpha1 import FineTuneJobSpec, Stage
from finetune_api.v1alpha1.schema import field_name

TROUBLE = "docs/troubleshooting.md"


def _tool(root: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "tools.docs", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def reasons(root: Path) -> set[str]:
    return set(_tool(root, "reasons").split())


def test_the_reference_is_what_the_code_makes(root: Path) -> None:
    _tool(root, "--check")


def test_every_reason_in_the_code_is_in_troubleshooting_and_no_other(
    texts: dict[str, str], reasons: set[str]
) -> None:
    explained = re.findall(r'^\| <a id="(\w+)"></a>`\1` \|', texts[TROUBLE], re.MULTILINE)
    assert sorted(explained) == sorted(reasons)


def test_reasons_are_found_however_they_are_given(reasons: set[str]) -> None:
    """One for each way of writing it: a change of the code that hides reasons is seen here."""
    assert reasons >= {
        "OneClass",  # the first argument of an error
        "NameConflict",  # of a Failure
        "InvalidSpec",  # a fallback
        "Evicted",  # in a table of tuples
        "Crashed",  # the default of a look-up in one; returned by a function
        "OutOfMemory",  # a constant
        "ForceDeleted",  # one branch of a choice
        "SecretMissing",  # handed on by a function
        "QuotaExceeded",  # in a pattern
        "ChiefUnreachable",  # in a condition
        "Hung",  # in a dictionary
        "Restarting",  # a phase
    }


def test_each_reason_has_words_about_what_happened_and_what_to_do(texts: dict[str, str]) -> None:
    rows = re.findall(r'^\| <a id="\w+"></a>(.+) \|$', texts[TROUBLE], re.MULTILINE)
    for row in rows:
        _, happened, do = row.split(" | ")
        assert happened.endswith("."), row
        assert do.endswith("."), row


def test_every_field_of_a_job_and_of_a_stage_can_be_linked(texts: dict[str, str]) -> None:
    page = texts["docs/reference/finetunejob.md"]
    for path, model in (("spec", FineTuneJobSpec), ("spec.stages", Stage)):
        for name in model.model_fields:
            assert f'<a id="{path}.{field_name(name)}"></a>' in page
