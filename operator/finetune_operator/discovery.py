"""Which gang schedulers a cluster has: whether the API server serves what each of them brings along."""

from finetune_operator.api_errors import NotFound
from finetune_operator.cluster import Cluster
from finetune_operator.knobs import Gangs

GROUPS = {
    "Kueue": "kueue.x-k8s.io",
    "Volcano": "scheduling.volcano.sh",
    "Coscheduling": "scheduling.x-k8s.io",
}
POD_GROUP = "scheduling.k8s.io/v1beta1"
"""The group is served everywhere, for its PriorityClasses."""


async def served_gangs(cluster: Cluster, gangs: Gangs) -> frozenset[str]:
    """Values of spec.scheduling.gang that can work. Raises ApiError."""
    groups = {group["name"] for group in (await cluster.get("/apis"))["groups"]}
    found = {gang for gang, group in GROUPS.items() if group in groups}
    if gangs.pod_group.enabled and await _has_pod_groups(cluster):
        found.add("PodGroup")
    return frozenset(found)


async def _has_pod_groups(cluster: Cluster) -> bool:
    try:
        resources = (await cluster.get(f"/apis/{POD_GROUP}"))["resources"]
    except NotFound:
        return False
    return "podgroups" in {one["name"] for one in resources}
