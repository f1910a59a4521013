"""What is known of the cluster, in memory: stores filled by informers, and what the API does not hold."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any

from finetune_api import names
from finetune_api.contract import MANAGER, Label
from finetune_operator import api_paths, views
from finetune_operator.api_paths import Api
from finetune_operator.discovery import Served
from finetune_operator.informer import Source
from finetune_operator.observed import (
    ChildView,
    EventView,
    JobView,
    NodeView,
    Observed,
    PodView,
    Rejection,
    Resource,
    Sample,
    WorkloadView,
)
from finetune_operator.settings import Settings
from finetune_operator.situation import says_published
from finetune_operator.store import Body, Store

Key = tuple[str, str]
"""Namespace and name of a FineTuneJob."""

OURS = f"{Label.MANAGED_BY}={MANAGER}"
UNSEEN_SECONDS = 10.0
"""How long an object is believed that no informer keeps up to date."""
BUSY = frozenset({"Running", "Restarting", "Exporting"})


@dataclass
class Memory:
    """About one FineTuneJob, by its uid: what only this process knows and may forget."""

    sample: Sample | None = None
    poll_failing_since: datetime | None = None
    events: tuple[EventView, ...] | None = None
    events_time: datetime | None = None
    unseen: dict[str, tuple[JobView | ChildView, float]] = field(default_factory=dict)
    """By kind: objects with the names of ours that no informer shows, such as somebody else's, and when they
    were read (monotonic seconds)."""
    published: PodView | None = None
    """A pod that said that the model is there, and is gone by now."""
    job_absent: bool = False
    """The API said that there is no Job; holds for one decision."""
    rejection: Rejection | None = None
    unsure: bool = False
    """A write may or may not have been done, or met a newer version: read before deciding again."""


class World:
    """Everything that `decide` is given.

    `wake` is told the keys of jobs that are new or want something new, `wake_soon` those about which
    anything else has changed: pods change many at a time.
    """

    def __init__(
        self, settings: Settings, wake: Callable[[Key], None], wake_soon: Callable[[Key], None]
    ) -> None:
        self.settings = settings
        self._wake = wake
        self._wake_soon = wake_soon
        self._memories: dict[str, Memory] = {}
        self.phases: Counter[tuple[str, str]] = Counter()
        """FineTuneJobs by namespace and phase."""
        self.served = Served()
        """What of gang schedulers the cluster was found to have."""
        self.resources: Store[Resource] = Store(
            self._read,
            {
                "key": lambda one: (one.namespace, one.name),
                "uid": lambda one: one.uid,
                "objects": lambda one: (one.namespace, object_name(one)),
            },
            self._resource_changed,
        )
        by_name: dict[str, Callable[[JobView | ChildView], Key]] = {
            "name": lambda one: (one.namespace, one.name)
        }
        self.jobs: Store[JobView] = Store(
            views.job, {**by_name, "uid": lambda one: one.uid}, self._owned_changed
        )
        self.children: dict[str, Store[ChildView]] = {
            api.kind: Store(views.child, by_name, self._owned_changed) for api in child_apis(settings)
        }
        self.pods: Store[PodView] = Store(
            views.pod, {"job": lambda one: one.owner_uid, "node": lambda one: one.node}, self._pod_changed
        )
        self.workloads: Store[WorkloadView] = Store(
            views.workload, {"job": lambda one: one.owner_uid}, self._of_job_changed
        )
        self.nodes: Store[NodeView] = Store(views.node, {"name": lambda one: one.name}, self._node_changed)

    def sources(self) -> list[Source]:
        """What to keep in step with the API server; FineTuneJobs come from the front-end."""
        kinds: list[tuple[Api, Store[Any]]] = [(api_paths.JOB, self.jobs), (api_paths.POD, self.pods)]
        kinds += [(api, self.children[api.kind]) for api in child_apis(self.settings)]
        found = []
        for namespace in self.settings.namespaces or [""]:
            found += [Source(api, store, namespace, OURS) for api, store in kinds]
            if self.settings.gangs.kueue.enabled:
                found.append(self._workloads(namespace))
        if self.settings.dead_nodes:
            found.append(Source(api_paths.NODE, self.nodes))
        return found

    def memory(self, uid: str) -> Memory:
        """What is remembered of the FineTuneJob with this uid; of one that is gone nothing."""
        if uid not in self.resources:
            return Memory()
        return self._memories.setdefault(uid, Memory())

    def gather(self, key: Key) -> tuple[Resource, Observed] | None:
        """The FineTuneJob and what is known about it; None when there is none."""
        resource = self.resources.one("key", key)
        if resource is None:
            return None
        memory = self.memory(resource.uid)
        where = (resource.namespace, object_name(resource))
        unseen = self._unseen(memory)
        found = self.jobs.one("name", where) or unseen.get(api_paths.JOB.kind)
        job = found if isinstance(found, JobView) else None
        pods = self._pods(job, memory)
        return resource, Observed(
            job=job,
            job_absent=memory.job_absent and job is None,
            pods=pods,
            children=self._children(where, unseen),
            workload=self.workloads.one("job", job.uid) if job else None,
            nodes={pod.node: node for pod in pods if pod.node and (node := self.nodes.one("name", pod.node))},
            events=memory.events,
            events_time=memory.events_time,
            sample=memory.sample,
            poll_failing_since=memory.poll_failing_since,
            rejection=memory.rejection,
            running_jobs=self.running,
            queues_served=self._is_served(resource),
        )

    @property
    def running(self) -> int:
        """FineTuneJobs that train, in all."""
        return sum(count for (_, phase), count in self.phases.items() if phase in BUSY)

    def store(self, kind: str) -> Store[Any] | None:
        """Where objects of a kind are kept."""
        kept: dict[str, Store[Any]] = {
            api_paths.JOB.kind: self.jobs,
            api_paths.POD.kind: self.pods,
            api_paths.FINETUNEJOB.kind: self.resources,
        }
        return kept.get(kind) or self.children.get(kind)

    def api(self, kind: str) -> Api:
        """Where objects of a kind are, as far as this cluster serves it."""
        workloads = self.served.workloads
        return workloads if kind == workloads.kind else api_paths.BY_KIND[kind]

    def take_in(self, body: Body, uid: str = "") -> None:
        """Takes in what the API server answered a write or a read with.

        An object that is kept for the FineTuneJob `uid` and that the informer's selector misses, because it
        is somebody else's or lost its labels, is remembered for a while.
        """
        kind, metadata = body["kind"], body["metadata"]
        if kind == api_paths.FINETUNEJOB.kind:
            self.resources.answer(body, new=False)
            return
        store = self.store(kind)
        if store is not None:
            store.answer(body, metadata.get("namespace", "") if self.settings.namespaces else "")
        if uid and (store is None or metadata["uid"] not in store):
            view = views.job(body) if kind == api_paths.JOB.kind else views.child(body)
            if view:
                self.memory(uid).unseen[kind] = (view, monotonic())

    def _workloads(self, namespace: str) -> Source:
        def now() -> Api:
            return self.served.workloads

        return Source(now(), self.workloads, namespace, optional=True, now=now)

    @staticmethod
    def _unseen(memory: Memory) -> dict[str, JobView | ChildView]:
        oldest = monotonic() - UNSEEN_SECONDS
        return {kind: view for kind, (view, read) in memory.unseen.items() if read > oldest}

    def _is_served(self, resource: Resource) -> bool:
        gang = resource.job.spec.scheduling.gang if resource.job else "None"
        return gang == "None" or gang in self.served.gangs

    def _pods(self, job: JobView | None, memory: Memory) -> tuple[PodView, ...]:
        pods = self.pods.by("job", job.uid) if job else []
        if job and memory.published and memory.published.owner_uid == job.uid:
            pods = [*pods, memory.published]
        return tuple(sorted(pods, key=lambda pod: (pod.index or 0, pod.created, pod.name)))

    def _children(self, where: Key, unseen: dict[str, JobView | ChildView]) -> dict[str, ChildView]:
        others = {kind: one for kind, one in unseen.items() if isinstance(one, ChildView)}
        known = {kind: store.one("name", where) for kind, store in self.children.items()}
        return others | {kind: one for kind, one in known.items() if one}

    def _read(self, body: Body) -> Resource:
        return views.read(body, self.resources.one("uid", body["metadata"]["uid"]))

    def _resource_changed(self, old: Resource | None, new: Resource | None) -> None:
        for one, step in ((old, -1), (new, 1)):
            if one:
                self._count(one, step)
        some = new or old
        assert some is not None
        if new is None:
            self._memories.pop(some.uid, None)
        is_new = old is None or new is None or old.generation != new.generation
        (self._wake if is_new else self._wake_soon)((some.namespace, some.name))

    def _count(self, resource: Resource, step: int) -> None:
        kind = resource.namespace, resource.status.phase
        self.phases[kind] += step
        if not self.phases[kind]:
            del self.phases[kind]

    def _owned_changed(self, old: JobView | ChildView | None, new: JobView | ChildView | None) -> None:
        for one in (old, new):
            if one is None:
                continue
            by_owner = self.resources.one("uid", one.owner_uid)
            if resource := by_owner or self.resources.one("objects", (one.namespace, one.name)):
                kind = one.kind if isinstance(one, ChildView) else api_paths.JOB.kind
                # What was read of it some time ago says less than this.
                self.memory(resource.uid).unseen.pop(kind, None)
                self._wake_soon((resource.namespace, resource.name))

    def _of_job_changed(self, old: PodView | WorkloadView | None, new: PodView | WorkloadView | None) -> None:
        for uid in {one.owner_uid for one in (old, new) if one}:
            if job := self.jobs.one("uid", uid):
                self._owned_changed(None, job)

    def _pod_changed(self, old: PodView | None, new: PodView | None) -> None:
        self._of_job_changed(old, new)
        job = self.jobs.one("uid", old.owner_uid) if old and new is None and says_published(old) else None
        # The Job controller removes a pod moments after its end: what it said last is not to be missed.
        if job and self.resources.one("uid", job.owner_uid):
            self.memory(job.owner_uid).published = old

    def _node_changed(self, old: NodeView | None, new: NodeView | None) -> None:
        for name in {one.name for one in (old, new) if one}:
            for pod in self.pods.by("node", name):
                self._of_job_changed(None, pod)


def child_apis(settings: Settings) -> list[Api]:
    """What each FineTuneJob has besides its Job."""
    apis = [api_paths.SERVICE, api_paths.CONFIG_MAP]
    if settings.network_policy.enabled:
        apis.append(api_paths.NETWORK_POLICY)
    return apis


def object_name(resource: Resource) -> str:
    """Name of the FineTuneJob's Service, Job and so on."""
    return names.object_name(resource.name, resource.job.spec.workers if resource.job else 1)
