"""The operator gets the rights that its settings need: not one less, not one more, and nowhere else."""

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import helm
import rights
from finetune_operator import rbac
from finetune_operator.settings import Settings
from helm import NAMESPACE, Rendered

NAMES = ("networkPolicy", "deadNodes", "kueue", "coscheduling", "podGroup")
COMBINATIONS = [dict(zip(NAMES, choice, strict=True)) for choice in product([True, False], repeat=len(NAMES))]
OPERATOR = {"kind": "ServiceAccount", "name": helm.RELEASE, "namespace": NAMESPACE}


def _config(switches: dict[str, bool]) -> dict[str, Any]:
    gangs = {name: {"enabled": switches[name]} for name in ("kueue", "coscheduling", "podGroup")}
    policy = {"enabled": switches["networkPolicy"]}
    return {"deadNodes": switches["deadNodes"], "networkPolicy": policy, "gangs": gangs}


def _rendered(values: list[dict[str, Any]]) -> list[Rendered]:
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(lambda one: helm.render(one, "--no-hooks"), values))


def _granted(rendered: Rendered, kind: str, namespace: str | None = None) -> set[rights.Right]:
    """By roles of this kind that are bound to the operator there."""
    bound = {
        binding["roleRef"]["name"]
        for binding in rendered.all(f"{kind}Binding")
        if binding["metadata"].get("namespace") == namespace and binding["subjects"] == [OPERATOR]
    }
    roles = [one for one in rendered.all(kind) if one["metadata"].get("namespace") == namespace]
    return rights.granted(
        rule for role in roles if role["metadata"]["name"] in bound for rule in role["rules"]
    )


def test_everywhere_the_rights_are_those_of_the_code_for_every_choice_of_features() -> None:
    configs = [_config(switches) for switches in COMBINATIONS]
    for config, rendered in zip(configs, _rendered([{"config": one} for one in configs]), strict=True):
        wanted = rights.granted(rbac.rules(Settings.model_validate(config)))
        assert _granted(rendered, "ClusterRole") == wanted, config
        assert _granted(rendered, "Role", NAMESPACE) == rights.granted(rbac.LEASE), config


def test_in_namespaces_only_nodes_are_looked_at_in_the_whole_cluster() -> None:
    configs = [_config(switches) for switches in COMBINATIONS[::3]]
    watch = {"namespaces": ["team-a", "team-b"]}
    values = [{"config": one, "watch": watch, "rbac": {"aggregateRoles": False}} for one in configs]
    for config, rendered in zip(configs, _rendered(values), strict=True):
        wanted = rights.granted(rbac.rules(Settings.model_validate(config)))
        nodes = {right for right in wanted if right[1] == "nodes"}
        assert _granted(rendered, "ClusterRole") == nodes, config
        assert len(rendered.all("ClusterRole")) == len(rendered.all("ClusterRoleBinding")) == bool(nodes)
        for namespace in watch["namespaces"]:
            assert _granted(rendered, "Role", namespace) == wanted - nodes, config


def test_without_a_lease_there_is_no_right_to_one() -> None:
    rendered = helm.render({"config": {"lease": {"enabled": False}}}, "--no-hooks")
    assert not rendered.all("Role")


def test_a_switch_that_is_taken_back_has_the_operators_own_default() -> None:
    values = {"config": {"deadNodes": None, "networkPolicy": {"enabled": None}}}
    assert _granted(helm.render(values), "ClusterRole") == rights.granted(rbac.rules(Settings()))


def test_who_brings_their_own_account_or_rights_gets_none() -> None:
    own = helm.render({"serviceAccount": {"create": False, "name": "mine"}}, "--no-hooks")
    assert not own.all("ServiceAccount")
    assert own.one("Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "mine"
    subjects = [one["subjects"] for one in own.all("ClusterRoleBinding")]
    assert subjects == [[{"kind": "ServiceAccount", "name": "mine", "namespace": NAMESPACE}]]
    bare = helm.render({"rbac": {"create": False, "aggregateRoles": False}}, "--no-hooks")
    assert not [one for one in bare.objects if "Role" in one["kind"]]


def test_viewers_view_and_editors_edit_and_nobody_writes_the_status() -> None:
    roles = helm.render().all("ClusterRole")
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    by_role = {
        name: rights.granted(
            rule for one in roles if one["metadata"]["labels"].get(prefix + name) for rule in one["rules"]
        )
        for name in ("view", "edit", "admin")
    }
    resources = ("finetunejobs", "finetunejobs/status")
    reads = {("finetune.dev", what, verb) for what in resources for verb in ("get", "list", "watch")}
    writes = {
        ("finetune.dev", "finetunejobs", verb)
        for verb in ("create", "update", "patch", "delete", "deletecollection")
    }
    assert by_role == {"view": reads, "edit": reads | writes, "admin": reads | writes}
