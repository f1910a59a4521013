"""What the operator may do."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_operator import rbac
from finetune_operator.settings import Settings

COMMITTED = Path(__file__).parents[2] / "operator" / "rbac.yaml"
FLAGS: dict[str, dict[str, Any]] = {
    "networkpolicies": {"networkPolicy": {"enabled": True}},
    "nodes": {"deadNodes": True},
    "workloads": {"gangs": {"kueue": {"enabled": True}}},
    "podgroups": {"gangs": {"coscheduling": {"enabled": True}}},
}
OFF: dict[str, Any] = {"networkPolicy": {"enabled": False}, "deadNodes": False}


def resources(settings: Settings) -> set[str]:
    return {resource for rule in rbac.rules(settings) for resource in rule["resources"]}


def test_the_committed_roles_are_what_the_code_makes() -> None:
    assert COMMITTED.read_text() == rbac.written()


@pytest.mark.parametrize("resource", FLAGS)
def test_each_flag_adds_its_own_rights_only(resource: str) -> None:
    without = resources(Settings.model_validate(OFF))
    added = resources(Settings.model_validate(OFF | FLAGS[resource])) - without
    assert added == ({"nodes", "pods/status"} if resource == "nodes" else {resource})


def test_all_roles_together_are_all_flags_together() -> None:
    gangs = {name: {"enabled": True} for name in ("kueue", "volcano", "coscheduling", "podGroup")}
    everything = rbac.rules(Settings.model_validate({"gangs": gangs}))
    found = [
        rule
        for role in yaml.safe_load_all(rbac.written())
        if role["kind"] == "ClusterRole"
        for rule in role["rules"]
    ]
    assert found == everything


def test_it_never_reaches_further_than_its_jobs() -> None:
    forbidden = {
        "secrets",
        "pods/exec",
        "pods/log",
        "serviceaccounts",
        "roles",
        "clusterroles",
        "rolebindings",
        "*",
    }
    for role, rule in product(yaml.safe_load_all(rbac.written()), forbidden):
        assert all(rule not in part["resources"] + part["verbs"] for part in role["rules"])


def test_the_status_is_all_of_a_finetunejob_that_it_writes() -> None:
    verbs = {
        resource: set(rule["verbs"])
        for rule in rbac.rules(Settings())
        for resource in rule["resources"]
        if rule["apiGroups"] == ["finetune.dev"]
    }
    assert verbs == {
        "finetunejobs": {"get", "list", "watch", "delete"},
        "finetunejobs/status": {"patch"},
        "finetunejobs/finalizers": {"update"},
    }
