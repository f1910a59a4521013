"""What a job may not ask of this operator."""

from typing import Any

import pytest

import jobs
from finetune_operator.gangs import refused_gang
from finetune_operator.references import refused_references
from finetune_operator.settings import Settings
from manifest_stories import GANGS, MINIMAL

SWITCHES = {"kueue": "kueue", "volcano": "volcano", "coscheduling": "coscheduling", "pod-group": "podGroup"}


@pytest.mark.parametrize("story", GANGS)
def test_a_gang_that_is_switched_off_is_refused_with_the_switch(story: str) -> None:
    job = jobs.job(MINIMAL | {"scheduling": GANGS[story]})
    refusal = refused_gang(job, Settings())
    assert refusal is not None
    assert f"gangs.{SWITCHES[story]}.enabled" in refusal
    on = Settings.model_validate({"gangs": {SWITCHES[story]: {"enabled": True}}})
    assert refused_gang(job, on) is None


def test_the_native_one_is_called_experimental() -> None:
    refusal = refused_gang(jobs.job(MINIMAL | {"scheduling": GANGS["pod-group"]}), Settings())
    assert "experimental" in str(refusal)


def test_no_gang_needs_no_switch() -> None:
    assert refused_gang(jobs.job(MINIMAL), Settings()) is None


@pytest.mark.parametrize(
    ("lists", "refused"),
    [
        pytest.param({}, [], id="no lists"),
        pytest.param({"team-b": []}, [], id="a list of another namespace"),
        pytest.param({"team-a": ["s3"]}, [], id="on the list"),
        pytest.param({"*": ["s3"]}, [], id="on everybody's list"),
        pytest.param({"*": ["s3"], "team-a": []}, ["allowed: none"], id="its own list comes first"),
        pytest.param(
            {"*": ["gcs", "az"]},
            ["s3 may not be used in namespace team-a; allowed: gcs, az"],
            id="not listed",
        ),
    ],
)
def test_secrets_are_those_of_the_list(lists: dict[str, list[str]], refused: list[str]) -> None:
    job = jobs.job(MINIMAL | {"storage": {"secretName": "s3"}})
    settings = Settings.model_validate({"references": {"secrets": lists}})
    found = refused_references(job, "team-a", settings)
    assert len(found) == len(refused)
    assert all(
        part in whole and "spec.storage.secretName" in whole
        for part, whole in zip(refused, found, strict=True)
    )


def test_service_accounts_have_a_list_of_their_own() -> None:
    changes: dict[str, Any] = {"storage": {"secretName": "s3"}, "serviceAccountName": "admin"}
    settings = Settings.model_validate({"references": {"serviceAccounts": {"*": ["trainer"]}}})
    (found,) = refused_references(jobs.job(MINIMAL | changes), "team-a", settings)
    assert "spec.serviceAccountName: admin" in found


def test_a_job_that_names_nothing_uses_nothing() -> None:
    settings = Settings.model_validate({"references": {"secrets": {"*": []}, "serviceAccounts": {"*": []}}})
    assert refused_references(jobs.job(MINIMAL), "team-a", settings) == []
