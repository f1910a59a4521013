"""CRDs of queues and gang schedulers, cut down to their names: what is in the objects is not checked."""

from collections.abc import Sequence

import api_client
from api_client import Body
from cluster_jobs import ClusterJob
from control_plane import ControlPlane
from waiting import eventually

WORKLOADS = "kueue.x-k8s.io/v1beta1"
NEW_WORKLOADS = "kueue.x-k8s.io/v1beta2"
PODGROUPS = "scheduling.x-k8s.io/v1alpha1"
_VOLCANO = "scheduling.volcano.sh/v1beta1"
_KINDS = {
    "queues": ("Queue", _VOLCANO),
    "workloads": ("Workload", WORKLOADS),
    "podgroups": ("PodGroup", PODGROUPS),
}


def install(plane: ControlPlane, *also: str) -> None:
    """The API server serves them when this returns; Workloads in `also` more versions."""
    for plural, (kind, where) in _KINDS.items():
        api_client.ROOTS[plural] = f"/apis/{where}"
        name = f"{plural}.{where.partition('/')[0]}"
        versions = (where, *(also if plural == "workloads" else ()))
        plane.api.apply("customresourcedefinitions", None, _crd(name, plural, kind, versions))
        plane.api.until("customresourcedefinitions", None, name, api_client.has_condition("Established"))
    for version in (WORKLOADS, NEW_WORKLOADS):
        _until_served(plane, version, "workloads", wanted=version in (WORKLOADS, *also))


def install_new_kueue(plane: ControlPlane) -> None:
    """The same with both versions of Workloads, as later releases of Kueue have them."""
    install(plane, NEW_WORKLOADS)


def _until_served(plane: ControlPlane, version: str, plural: str, *, wanted: bool) -> None:
    """Discovery lags behind the CRD's own condition."""

    def served() -> bool:
        try:
            resources = plane.api.request("GET", f"/apis/{version}")["resources"]
        except api_client.ApiError:
            return False
        return plural in {one["name"] for one in resources}

    eventually(lambda: served() is wanted, 30.0, lambda: f"{plural} in {version}")


def workload(job: ClusterJob) -> Body:
    """The Workload that Kueue makes of a job's suspended Job."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job.object, "uid": job.job["metadata"]["uid"]}
    return {
        "apiVersion": WORKLOADS,
        "kind": "Workload",
        "metadata": {"name": f"job-{job.object}", "ownerReferences": [{**owner, "controller": True}]},
        "spec": {"active": True, "queueName": "team-a"},
    }


def _crd(name: str, plural: str, kind: str, versions: Sequence[str]) -> Body:
    """The first version is stored; conversion changes nothing but the version."""
    group = versions[0].partition("/")[0]
    served = [
        {
            "name": version.partition("/")[2],
            "served": True,
            "storage": version == versions[0],
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            "subresources": {"status": {}},
        }
        for version in versions
    ]
    names = {"plural": plural, "kind": kind, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": served},
    }
