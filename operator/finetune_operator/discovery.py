"""Which gang schedulers a cluster has: whether the API server serves what each of them brings along."""

from dataclasses import dataclass

from finetune_operator import api_paths
from finetune_operator.api_errors import NotFound
from finetune_operator.api_paths import Api
from finetune_operator.cluster import Cluster
from finetune_operator.knobs import Gangs

GROUPS = {
    "Kueue": "kueue.x-k8s.io",
    "Volcano": "scheduling.volcano.sh",
    "Coscheduling": "scheduling.x-k8s.io",
}
POD_GROUP = "scheduling.k8s.io/v1beta1"
"""The group is served everywhere, for its PriorityClasses."""


@dataclass(frozen=True)
class Served:
    """What was found."""

    gangs: frozenset[str] = frozenset()
    """Values of spec.scheduling.gang that can work."""
    workloads: Api = api_paths.WORKLOADS[-1]
    """The version of Kueue's Workloads to use: the newest that is served and known here."""


async def discover(cluster: Cluster, gangs: Gangs) -> Served:
    """What the API server serves now. Raises ApiError."""
    groups = {group["name"] for group in (await cluster.get("/apis"))["groups"]}
    found = {gang for gang, group in GROUPS.items() if group in groups}
    if gangs.pod_group.enabled and await _serves(cluster, POD_GROUP, "podgroups"):
        found.add("PodGroup")
    workloads = Served.workloads
    if gangs.kueue.enabled and "Kueue" in found:
        workloads = await _newest(cluster, api_paths.WORKLOADS)
    return Served(frozenset(found), workloads)


async def _newest(cluster: Cluster, versions: tuple[Api, ...]) -> Api:
    for api in versions[:-1]:
        if await _serves(cluster, api.version, api.plural):
            return api
    return versions[-1]


async def _serves(cluster: Cluster, version: str, plural: str) -> bool:
    """Whether a version of a group has this kind: other kinds of the group may have other versions."""
    try:
        resources = (await cluster.get(f"/apis/{version}"))["resources"]
    except NotFound:
        return False
    return plural in {one["name"] for one in resources}
