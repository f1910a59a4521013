"""CRDs of queues and gang schedulers, cut down to their names: what is in the objects is not checked."""

import api_client
from api_client import Body
from cluster_jobs import ClusterJob
from control_plane import ControlPlane

WORKLOADS = "kueue.x-k8s.io/v1beta1"
PODGROUPS = "scheduling.x-k8s.io/v1alpha1"
_VOLCANO = "scheduling.volcano.sh/v1beta1"
_KINDS = {
    "queues": ("Queue", _VOLCANO),
    "workloads": ("Workload", WORKLOADS),
    "podgroups": ("PodGroup", PODGROUPS),
}


def install(plane: ControlPlane) -> None:
    """The API server serves them when this returns."""
    for plural, (kind, where) in _KINDS.items():
        api_client.ROOTS[plural] = f"/apis/{where}"
        name = f"{plural}.{where.partition('/')[0]}"
        plane.api.apply("customresourcedefinitions", None, _crd(name, plural, kind, where))
        plane.api.until("customresourcedefinitions", None, name, api_client.has_condition("Established"))


def workload(job: ClusterJob) -> Body:
    """The Workload that Kueue makes of a job's suspended Job."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job.object, "uid": job.job["metadata"]["uid"]}
    return {
        "apiVersion": WORKLOADS,
        "kind": "Workload",
        "metadata": {"name": f"job-{job.object}", "ownerReferences": [{**owner, "controller": True}]},
        "spec": {"active": True, "queueName": "team-a"},
    }


def _crd(name: str, plural: str, kind: str, where: str) -> Body:
    group, _, version = where.partition("/")
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        "subresources": {"status": {}},
    }
    names = {"plural": plural, "kind": kind, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [served]},
    }
