"""The operator under the chart's policy about it: it does all its work, and a thief of its token next to nothing."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest

import admission
import gang_crds
import helm
import operated
from admission import is_refused, refusal
from api_client import Access, Api, Body, path
from audit_log import AuditEvent
from cluster_jobs import Cluster, ClusterJob
from cluster_view import ClusterView
from control_plane import ControlPlane
from fake_trainers import FakeTrainers
from finetune_operator.settings import Settings
from operated import HOME, QUICK
from operator_process import Operator, start
from untrue_jobs import CHANGES
from waiting import eventually

USER = f"system:serviceaccount:{HOME}:{helm.RELEASE}"
LISTS = {"secrets": {"*": ["s3-*"]}, "serviceAccounts": {"*": ["trainer"]}, "images": {"*": ["ours/*"]}}


@dataclass(frozen=True)
class Guarded:
    """A cluster whose operator is under the policies, and its token in other hands."""

    cluster: Cluster
    operator: Operator
    thief: Api
    mark: int
    """Where its part of the audit log begins."""

    @property
    def plane(self) -> ControlPlane:
        return self.cluster.plane


@pytest.fixture(scope="module")
def guarded(plane: ControlPlane, crd: None) -> Iterator[Guarded]:
    gang_crds.install(plane)
    namespaces = [plane.namespace(), plane.namespace()]
    # `watch.namespaces` of the chart is what a Role would be given for; here rights are given everywhere, so that
    # the policies are all that stands in the way.
    config: dict[str, Any] = {**QUICK, "namespaces": namespaces, "references": LISTS}
    config["gangs"] = {"kueue": {"enabled": True}, "coscheduling": {"enabled": True}}
    config["trainer"] = {"images": {"cpu": "finetune-trainer:cpu", "gpu": "finetune-trainer:gpu"}}
    kubeconfig = operated.user(plane, USER, Settings.model_validate(config))
    thief = Api(Access.read(kubeconfig), "thief")
    values = {
        "watch": {"namespaces": namespaces},
        "config": {"references": LISTS},
        "trainer": {"images": {"cpu": _image("cpu"), "gpu": _image("gpu")}},
        "admission": {"operator": {"enabled": True}},
    }

    foreign = _foreign(namespaces[0])

    def said() -> dict[str, str]:
        return {
            kind: refusal(lambda: thief.create(kind, namespaces[0], body, dryRun="All"))  # noqa: B023
            for kind, body in foreign.items()
        }

    def act() -> None:
        thief.create("services", namespaces[0], foreign["services"], dryRun="All")

    with admission.policies(plane, HOME, values, act) as bodies:
        assert admission.complaints(plane, bodies) == []
        eventually(
            lambda: all("ValidatingAdmissionPolicy" in one for one in said().values()),
            what=lambda: str(said()),
        )
        mark = plane.audit_mark()
        with (
            ClusterView(operated.door(plane)) as view,
            start(kubeconfig, config, {"POD_NAMESPACE": HOME}) as operator,
        ):
            yield Guarded(Cluster(plane, view, None, namespaces), operator, thief, mark)
    thief.close()
    for namespace in namespaces:
        plane.api.delete("namespaces", None, namespace)


def _image(device: str) -> Body:
    return {"repository": "finetune-trainer", "tag": device}


def _foreign(namespace: str) -> dict[str, Body]:
    """What belongs to no FineTuneJob, by resource; one for each policy that is about making something."""
    pod = {"containers": [{"name": "a", "image": "a"}], "restartPolicy": "Never"}
    about = {"kind": "Pod", "name": "a", "namespace": namespace}
    return {
        "services": {"metadata": {"name": "a"}, "spec": {"clusterIP": "None"}},
        "jobs": {"metadata": {"name": "a"}, "spec": {"template": {"spec": pod}}},
        "events": {"metadata": {"name": "a"}, "involvedObject": about, "reason": "A", "message": "a"},
    }


def test_a_whole_life_passes_the_policies(guarded: Guarded) -> None:
    cluster, (namespace, _) = guarded.cluster, guarded.cluster.namespaces
    job = cluster.job({"ttlSecondsAfterFinished": 0}, namespace=namespace).apply().until_running()
    old = job.kill_by_force(2)
    job.until(lambda: job.worker_runs(2, unlike=old) and job.phase == "Running", "new worker 2")
    with FakeTrainers() as trainers:
        chief = trainers.serve(job.pod(0))
        chief.start()
        chief.step(0, 0, 5)
        chief.saved("checkpoint-1", 5)
        job.until(lambda: not job.losses(2), "forgiven loss")
    _meddle(guarded, job)
    job.change(suspend=True)
    job.until_phase("Suspended")
    job.change(suspend=False)
    job.until_running()
    job.publish()
    job.until_gone()
    failed = cluster.job({"activeDeadlineSeconds": 1}, "late", namespace).apply()
    failed.until_phase("Failed")
    assert _refused(guarded) == []
    writes = sum(1 for event in guarded.plane.audit(guarded.mark, USER, writes=True) if not _thief(event))
    print(f"\n{writes} writes of the operator under its policies, none refused")


def test_groups_and_queues_pass_the_policies(guarded: Guarded) -> None:
    cluster, (namespace, other) = guarded.cluster, guarded.cluster.namespaces
    grouped = cluster.job({"scheduling.gang": "Coscheduling"}, "grouped", namespace).apply()
    grouped.until(lambda: grouped.job, "Job")
    assert guarded.plane.api.find("podgroups", namespace, grouped.object)
    queued = cluster.job(
        {"scheduling.gang": "Kueue", "scheduling.queueName": "a"}, "queued", namespace
    ).apply()
    queued.until(lambda: queued.job, "Job")
    workload = gang_crds.workload(queued)
    name = workload["metadata"]["name"]
    guarded.plane.api.create("workloads", namespace, workload)
    queued.change(suspend=True)
    guarded.plane.api.until("workloads", namespace, name, lambda body: body["spec"]["active"] is False)
    assert _refused(guarded) == []
    foreign = {**workload, "metadata": {"name": "a"}}
    guarded.plane.api.create("workloads", other, foreign)
    off = {"spec": {"active": False}}
    assert is_refused(lambda: guarded.thief.patch("workloads", other, "a", off))
    group = {"apiVersion": gang_crds.PODGROUPS, "kind": "PodGroup", "metadata": {"name": "a"}}
    assert is_refused(lambda: guarded.thief.create("podgroups", other, group))


def _refused(guarded: Guarded) -> list[AuditEvent]:
    """What the operator itself was not let do."""
    events = guarded.plane.audit(guarded.mark, USER)
    return [event for event in events if event.code in (403, 422) and not _thief(event)]


def _thief(event: AuditEvent) -> bool:
    return str(event.user_agent) == "thief"


def _meddle(guarded: Guarded, job: ClusterJob) -> None:
    """Somebody changes what is the operator's; its account may put it right, labels too, and does."""
    api, label = guarded.plane.api, "app.kubernetes.io/managed-by"
    for kind in ("services", "networkpolicies", "jobs"):
        api.patch(kind, job.namespace, job.object, {"metadata": {"labels": {label: None}}})
        back = {"metadata": {"labels": {label: "finetune-operator"}}}
        guarded.thief.patch(kind, job.namespace, job.object, back)
    api.patch("networkpolicies", job.namespace, job.object, {"spec": {"ingress": []}})
    api.until("networkpolicies", job.namespace, job.object, lambda body: body["spec"].get("ingress"), 60.0)


def test_a_stolen_token_makes_no_job_that_is_not_a_trainer(guarded: Guarded) -> None:
    # In the other namespace nobody reconciles what the thief makes: there is no FineTuneJob of that uid.
    first, second = guarded.cluster.namespaces
    job = (
        guarded.cluster.job({"workers": 1, "storage.secretName": "s3-a"}, "model", first)
        .apply()
        .until_running()
    )
    real = {"apiVersion": "batch/v1", "kind": "Job", **deepcopy(job.job)}
    template = _made_again(real)
    thief = guarded.thief
    assert refusal(lambda: thief.create("jobs", second, {**template}, dryRun="All")) == ""
    said = {}
    for name, change in CHANGES.items():
        body = deepcopy(template)
        change(body)
        said[name] = refusal(lambda: thief.create("jobs", second, body, dryRun="All"))  # noqa: B023
    assert {name: words for name, words in said.items() if "ValidatingAdmissionPolicy" not in words} == {}
    for namespace in ("kube-system", HOME):
        assert is_refused(lambda: thief.create("jobs", namespace, deepcopy(template), dryRun="All"))  # noqa: B023
    print(f"\n{len(CHANGES) + 2} Jobs that are no trainer's, all refused")


def _made_again(job: Body) -> Body:
    """The Job as its maker wrote it, under another name."""
    metadata = {key: job["metadata"][key] for key in ("labels", "annotations", "ownerReferences")}
    spec = {key: value for key, value in job["spec"].items() if key not in ("selector", "manualSelector")}
    template = spec["template"]
    added = ("batch.kubernetes.io/", "controller-uid", "job-name")
    labels = template["metadata"]["labels"]
    template["metadata"]["labels"] = {k: v for k, v in labels.items() if not k.startswith(added)}
    metadata["annotations"] = {k: v for k, v in metadata["annotations"].items() if not k.startswith(added[0])}
    return {**job, "metadata": {**metadata, "name": "ft-again"}, "spec": spec, "status": {}}


def test_a_stolen_token_touches_nothing_of_others(guarded: Guarded) -> None:
    namespace, plane, thief = guarded.cluster.namespaces[1], guarded.plane, guarded.thief
    job = guarded.cluster.job({"workers": 1}, "victim", guarded.cluster.namespaces[0]).apply().until_running()
    for kind, body in _foreign(namespace).items():
        plane.api.create(kind, namespace, body)
    plane.api.create("configmaps", namespace, {"metadata": {"name": "a"}})
    pod = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    plane.api.create("pods", namespace, pod)
    mine = job.pod(0)["metadata"]["name"]
    note = {"metadata": {"annotations": {"a": "b"}}}
    tries: dict[str, Callable[[], Body]] = {
        "annotation of a pod": lambda: thief.patch("pods", namespace, "a", note),
        "label that makes a pod its own": lambda: thief.patch(
            "pods", namespace, "a", {"metadata": {"labels": {"app.kubernetes.io/managed-by": "finetune-operator"}}}
        ),
        "end of a pod": lambda: thief.patch("pods", namespace, "a", {"status": {"phase": "Failed"}}, "status"),
        "a pod": lambda: thief.delete("pods", namespace, "a"),
        "a Job": lambda: thief.patch("jobs", namespace, "a", {"spec": {"suspend": True}}),
        "a Service": lambda: thief.patch("services", namespace, "a", note),
        "a ConfigMap": lambda: thief.create("configmaps", namespace, {"metadata": {"name": "b"}, "data": {"a": "b"}}),
        "annotation of a worker": lambda: thief.patch("pods", job.namespace, mine, note),
        "label of a worker": lambda: thief.patch("pods", job.namespace, mine, {"metadata": {"labels": {"a": "b"}}}),
        "image of a worker": lambda: thief.patch(
            "pods", job.namespace, mine,
            {"spec": {"containers": [{"name": "trainer", "image": "evil"}]}}, "",
            "application/strategic-merge-patch+json",
        ),
        "success of a worker": lambda: thief.patch(
            "pods", job.namespace, mine, {"status": {"phase": "Succeeded"}}, "status"
        ),
        "address of a Service": lambda: thief.patch(
            "services", job.namespace, job.object, {"spec": {"externalIPs": ["203.0.113.1"]}}
        ),
        "pods of a Service": lambda: thief.patch(
            "services", job.namespace, job.object,
            {"spec": {"selector": {"finetune.dev/job-uid": None, "app": "payments"}}},
        ),
        "pods of a NetworkPolicy": lambda: thief.patch(
            "networkpolicies", job.namespace, job.object, {"spec": {"podSelector": {"matchLabels": None}}}
        ),
        "owner of a Job": lambda: thief.patch(
            "jobs", job.namespace, job.object, {"metadata": {"ownerReferences": None}}
        ),
        "a FineTuneJob that runs": lambda: thief.delete("finetunejobs", job.namespace, job.name),
        "a Lease": lambda: thief.create("leases", HOME, {"metadata": {"name": "another"}}),
        "an Event about a node": lambda: thief.create(
            "events", HOME,
            {"metadata": {"name": "a"}, "involvedObject": {"kind": "Node", "name": "fake-0", "namespace": HOME}},
        ),
    }  # fmt: skip
    said = {name: refusal(act) for name, act in tries.items()}
    assert {name: words for name, words in said.items() if "ValidatingAdmissionPolicy" not in words} == {}
    for kind, verb in (("secrets", "GET"), ("serviceaccounts", "POST"), ("pods", "POST")):
        assert "403 Forbidden" in refusal(lambda: thief.request(verb, path(kind, namespace), {}))  # noqa: B023
    print(f"\n{len(tries)} tries at what is not its own, all refused")
