"""Where each kind lives in the API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from finetune_api import contract


@dataclass(frozen=True)
class Api:
    """One kind of object."""

    version: str
    """apiVersion, such as batch/v1."""
    kind: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """The URL path of one object, or of the collection when `name` is None; None namespace: all."""
        root = f"/apis/{self.version}" if "/" in self.version else f"/api/{self.version}"
        parts = [root]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts += [self.plural]
        parts += [quote(part, safe="") for part in (name, subresource) if part]
        return "/".join(parts)


FINETUNEJOB = Api(contract.API_VERSION, contract.KIND, "finetunejobs")
JOB = Api("batch/v1", "Job", "jobs")
POD = Api("v1", "Pod", "pods")
SERVICE = Api("v1", "Service", "services")
CONFIG_MAP = Api("v1", "ConfigMap", "configmaps")
NETWORK_POLICY = Api("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
POD_DISRUPTION_BUDGET = Api("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
NODE = Api("v1", "Node", "nodes", namespaced=False)
EVENT = Api("v1", "Event", "events")
LEASE = Api("coordination.k8s.io/v1", "Lease", "leases")
WORKLOADS = tuple(
    Api(f"kueue.x-k8s.io/{version}", "Workload", "workloads") for version in ("v1beta2", "v1beta1")
)
"""Of Kueue, newest first: which of them there is depends on its release; `discovery` finds out."""

BY_KIND = {
    api.kind: api
    for api in (FINETUNEJOB, JOB, POD, SERVICE, CONFIG_MAP, NETWORK_POLICY, POD_DISRUPTION_BUDGET)
}


def of(manifest: Mapping[str, Any]) -> Api:
    """The API of a manifest, by its kind and apiVersion."""
    known = BY_KIND.get(manifest["kind"])
    if known and known.version == manifest["apiVersion"]:
        return known
    # PodGroup, which has several owners. Its plural is regular, as that of every kind made of CRDs here.
    return Api(manifest["apiVersion"], manifest["kind"], manifest["kind"].lower() + "s")
