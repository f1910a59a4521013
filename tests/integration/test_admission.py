"""Who may create FineTuneJobs and nothing else gets nowhere further: with the chart's policies, and without them."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import addressed_supervisors
import admission
import escalation_requests
import escalations
import operated
import refusals
from admission import refusal
from api_client import Access, Api, Body
from cluster_jobs import Cluster
from cluster_view import ClusterView
from control_plane import ControlPlane
from escalations import Escalation, Guard
from finetune_api import yaml_loader
from finetune_api.contract import ExitCode
from finetune_api.names import object_name
from finetune_operator.settings import Settings
from operated import HOME, QUICK
from operator_process import start

TABLE = escalations.all_of_them()
AUTHOR = "author"
MAY_CREATE = [{"apiGroups": ["finetune.dev"], "resources": ["finetunejobs"], "verbs": ["create"]}]
LISTS = {
    "secrets": {"*": ["s3-*"]},
    "configMaps": {"*": ["our-ca"]},
    "serviceAccounts": {"*": ["trainer"]},
    "priorityClasses": {"*": ["batch"]},
    "images": {"*": ["finetune-trainer:*"]},
}
HOSTS = ["minio.storage.svc", "proxy.example", ".amazonaws.com"]
ALLOWED: dict[str, Any] = {
    "storage.secretName": "s3-credentials",
    "storage.caConfigMap": "our-ca",
    "storage.endpoint": "http://minio.storage.svc:9000",
    "serviceAccountName": "trainer",
    "scheduling.priorityClassName": "batch",
    "image": "finetune-trainer:1.2",
    "env": [
        {"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"},
        {"name": "NO_PROXY", "value": "169.254.169.254"},
    ],
}
"""What the lists, and the rights of `trusted`, allow."""


def job(changes: Body, metadata: Body | None = None, name: str = "flowers") -> Body:
    """A job of one small worker."""
    small = {"resources.limits": {"cpu": "100m", "memory": "256Mi"}}
    document = refusals.good(name, small | changes)
    return {**document, "metadata": {**document["metadata"], **(metadata or {})}}


def post(api: Api, namespace: str, body: Body, **query: str) -> Body:
    """As kubectl does: a field that nobody knows is an error."""
    return api.create("finetunejobs", namespace, body, **({"fieldValidation": "Strict"} | query))


@pytest.fixture(scope="module")
def guarded(plane: ControlPlane, crd: None) -> Iterator[str]:
    """A namespace with the policy for authors."""
    name = plane.namespace()
    values = {
        "watch": {"namespaces": [name]},
        "config": {"references": LISTS},
        "admission": {"requester": {"enabled": True, "hosts": HOSTS}},
    }

    def act() -> None:
        post(plane.api, name, job({"image": "evil/trainer:1"}), dryRun="All")

    with admission.policies(plane, HOME, values, act) as bodies:
        assert admission.complaints(plane, bodies) == []
        yield name
    plane.api.delete("namespaces", None, name)


@pytest.fixture(scope="module")
def author(plane: ControlPlane, guarded: str) -> Iterator[Api]:
    """May create FineTuneJobs there and nothing else."""
    api = Api(Access.read(plane.user(AUTHOR, MAY_CREATE, [guarded])))
    yield api
    api.close()


def test_a_plain_job_passes_the_policies(author: Api, guarded: str) -> None:
    post(author, guarded, job({}), dryRun="All")


def test_every_escalation_is_refused_at_admission(plane: ControlPlane, author: Api, guarded: str) -> None:
    said = {one: refusal(lambda: post(author, guarded, job(one.spec, one.metadata))) for one in TABLE}  # noqa: B023
    assert [str(one) for one, words in said.items() if not words] == []
    assert [str(one) for one, words in said.items() if not _said_by(one.guard, words)] == []
    assert plane.api.list("finetunejobs", guarded) == []
    assert len(TABLE) >= 60
    print(f"\n{len(TABLE)} escalations by FineTuneJob, {len(TABLE)} refused at admission: {_counts(TABLE)}")


def _said_by(guard: Guard, words: str) -> bool:
    phrase = {Guard.FIELD: "unknown field", Guard.RULE: "is invalid"}.get(guard, "ValidatingAdmissionPolicy")
    return phrase in words


def _counts(table: list[Escalation]) -> str:
    return ", ".join(
        f"{count} {guard.name.lower()}" for guard, count in Counter(e.guard for e in table).items()
    )


def test_no_other_request_is_within_reach(author: Api, guarded: str) -> None:
    said = {
        name: refusal(lambda: escalation_requests.ask(author, name, guarded))  # noqa: B023
        for name in escalation_requests.REQUESTS
    }
    assert [name for name, words in said.items() if not words.startswith("403 Forbidden")] == []
    print(f"\n{len(said)} other requests, {len(said)} refused for want of rights")


RIGHTS: dict[str, tuple[Body, Body]] = {
    "secrets": ({"storage.secretName": "s3-credentials"}, {"apiGroups": [""], "verbs": ["get"]}),
    "configmaps": ({"storage.caConfigMap": "our-ca"}, {"apiGroups": [""], "verbs": ["get"]}),
    "serviceaccounts": ({"serviceAccountName": "trainer"}, {"apiGroups": [""], "verbs": ["impersonate"]}),
    "persistentvolumeclaims": (
        {"data.volumeClaimName": "images", "data.train": "a"},
        {"apiGroups": [""], "verbs": ["use"]},
    ),
}
"""By resource: a job that names one, and the right that it takes."""


@pytest.mark.parametrize("resource", RIGHTS)
def test_a_name_needs_the_author_s_own_right_to_it(
    plane: ControlPlane, author: Api, guarded: str, resource: str
) -> None:
    changes, rule = RIGHTS[resource]
    document = job(changes)
    assert "you may n" in refusal(lambda: post(author, guarded, document, dryRun="All"))
    named = {**rule, "resources": [resource], "resourceNames": [next(iter(changes.values()))]}
    api = Api(Access.read(plane.user(f"with-{resource}", [*MAY_CREATE, named], [guarded])))
    assert refusal(lambda: post(api, guarded, document, dryRun="All")) == ""
    api.close()


def test_a_priority_class_needs_a_right_in_the_whole_cluster(
    plane: ControlPlane, author: Api, guarded: str
) -> None:
    document = job({"scheduling.priorityClassName": "batch"})
    assert "may not use PriorityClass batch" in refusal(lambda: post(author, guarded, document, dryRun="All"))
    right = {"apiGroups": ["scheduling.k8s.io"], "resources": ["priorityclasses"], "verbs": ["use"]}
    api = Api(Access.read(plane.user("with-priority", [right, *MAY_CREATE])))
    assert refusal(lambda: post(api, guarded, document, dryRun="All")) == ""
    api.close()


def test_an_administrator_s_job_that_keeps_to_the_lists_passes(plane: ControlPlane, guarded: str) -> None:
    post(plane.api, guarded, job(ALLOWED), dryRun="All")
    claims = {"data.volumeClaimName": "images", "data.train": "a"}
    post(plane.api, guarded, job(claims), dryRun="All")


@pytest.mark.parametrize("one", [e for e in TABLE if e.guard is Guard.OPERATOR], ids=str)
def test_lists_hold_for_administrators_too(plane: ControlPlane, guarded: str, one: Escalation) -> None:
    words = refusal(lambda: post(plane.api, guarded, job(one.spec), dryRun="All"))
    # Claims have no list: who may update one may use it.
    assert ("ValidatingAdmissionPolicy" in words) is not any("volumeClaimName" in path for path in one.spec)


# --- without the policies -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare(plane: ControlPlane, crd: None) -> Iterator[Cluster]:
    """A cluster without policies, with an operator that has the same lists."""
    namespace = plane.namespace()
    config = {**QUICK, "namespaces": [namespace], "references": LISTS, "lease": {"name": "bare"}}
    user = operated.user(plane, "bare-operator", Settings.model_validate(config), namespace)
    with ClusterView(operated.door(plane)) as view, start(user, config, {"POD_NAMESPACE": HOME}):
        yield Cluster(plane, view, None, [namespace])
    plane.api.delete("namespaces", None, namespace)


def test_without_policies_no_unknown_field_and_no_broken_rule_is_taken(bare: Cluster) -> None:
    (namespace,), api = bare.namespaces, bare.plane.api
    for one in TABLE:
        if one.guard in (Guard.FIELD, Guard.RULE):
            words = refusal(lambda: post(api, namespace, job(one.spec, one.metadata), dryRun="All"))  # noqa: B023
            assert _said_by(one.guard, words), (str(one), words)


def test_a_field_that_a_careless_client_gets_past_is_not_stored(bare: Cluster) -> None:
    (namespace,), api = bare.namespaces, bare.plane.api
    for one in TABLE:
        if one.guard is Guard.FIELD:
            stored = post(api, namespace, job(one.spec), dryRun="All", fieldValidation="Ignore")
            # Strict: it raises for any field that it does not know.
            yaml_loader.parse_job(stored, str(one))


def test_without_policies_the_operator_makes_nothing_of_names_that_are_not_listed(bare: Cluster) -> None:
    (namespace,) = bare.namespaces
    table = {f"unlisted-{number}": one for number, one in enumerate(_guarded_by(Guard.OPERATOR))}
    for name, one in table.items():
        post(bare.plane.api, namespace, job(one.spec, name=name))
    for name, one in table.items():
        ended = bare.plane.api.until("finetunejobs", namespace, name, _has_failed, 60.0)
        # Claims are not built yet, so the operator takes none at all.
        reason = "NotBuilt" if any("volumeClaimName" in path for path in one.spec) else "ReferenceRefused"
        assert ended["status"]["lastFailure"]["reason"] == reason, str(one)
        for kind in ("jobs", "configmaps", "services"):
            assert bare.plane.api.find(kind, namespace, object_name(name, 1)) is None, (str(one), kind)
    print(f"\n{len(table)} escalations by name, {len(table)} refused by the operator")


def test_without_policies_the_trainer_goes_to_no_closed_address(bare: Cluster, tmp_path: Path) -> None:
    """The pods' own Job and job.json, and the real supervisor, which ends before anything is sent."""
    (namespace,), api = bare.namespaces, bare.plane.api
    fine = Escalation(
        "storage inside the cluster", Guard.TRAINER, {"storage.endpoint": ALLOWED["storage.endpoint"]}
    )
    table = {f"address-{number}": one for number, one in enumerate([*_guarded_by(Guard.TRAINER), fine])}
    for name, one in table.items():
        post(api, namespace, job(one.spec, name=name))
    pods = []
    for name in table:
        made = api.until("jobs", namespace, object_name(name, 1), bool, 60.0)
        pods.append((made, api.get("configmaps", namespace, object_name(name, 1))))
    *reports, of_fine = addressed_supervisors.end(tmp_path, pods)
    refused = {
        str(one): (report.exit_code, report.reason)
        for one, report in zip(table.values(), reports, strict=False)
    }
    assert set(refused.values()) == {(ExitCode.DENIED, "AddressClosed")}, refused
    # The same way with a good address: only then credentials are looked for.
    assert of_fine.reason == "CredentialsMissing"
    print(f"\n{len(refused)} escalations by address, {len(refused)} refused by the trainer with exit 77")


def _guarded_by(guard: Guard) -> list[Escalation]:
    return [one for one in TABLE if one.guard is guard]


def _has_failed(body: Body) -> bool:
    return bool(body.get("status", {}).get("phase") == "Failed")
