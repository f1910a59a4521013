"""Why pods are missing is said in Events only: the Warnings about a Job and its pods."""

from time import monotonic

from finetune_operator import api_paths, views
from finetune_operator.cluster import Cluster
from finetune_operator.observed import EventView, Observed

FRESH = 2.0
"""Seconds for which one LIST of a namespace serves all its jobs."""
MOST_PAGES = 10


class EventList:
    """One LIST of a namespace's Warnings serves every job there that asks at about the same time."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._listed: dict[str, tuple[float, tuple[EventView, ...]]] = {}

    async def about(self, namespace: str, observed: Observed) -> tuple[EventView, ...]:
        """Warnings about the Job and its pods, also about pods that are gone."""
        job = observed.job.name if observed.job else ""
        names = {pod.name for pod in observed.pods}
        return tuple(
            event
            for event in await self._warnings(namespace)
            if (event.kind == "Job" and event.name == job)
            or (event.kind == "Pod" and (event.name in names or event.name.startswith(f"{job}-")))
        )

    async def _warnings(self, namespace: str) -> tuple[EventView, ...]:
        time, events = self._listed.get(namespace, (0.0, ()))
        if monotonic() - time > FRESH:
            events = await self._list(namespace)
            self._listed = {name: one for name, one in self._listed.items() if monotonic() - one[0] < FRESH}
            self._listed[namespace] = (monotonic(), events)
        return events

    async def _list(self, namespace: str) -> tuple[EventView, ...]:
        found: list[EventView] = []
        pages = 0
        async for page in self._cluster.list(api_paths.EVENT.path(namespace), fieldSelector="type=Warning"):
            found += [view for body in page.get("items") or () if (view := views.event(body))]
            pages += 1
            if pages == MOST_PAGES:
                break
        return tuple(found)
