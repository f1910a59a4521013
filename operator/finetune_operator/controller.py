"""The loop: a key that something happened to → gather → decide → execute → when to look again."""

import logging
from dataclasses import replace
from time import monotonic
from typing import Any, Protocol

from finetune_api.v1alpha1 import FineTuneJobStatus
from finetune_operator import api_paths, reconcile, views
from finetune_operator.api_errors import INVALID, ApiError, Conflict, NotFound, Unavailable
from finetune_operator.cluster import Cluster
from finetune_operator.event_list import EventList
from finetune_operator.executor import Executor, NameTaken, Refused
from finetune_operator.lease import LeaseLost
from finetune_operator.observed import Observed, Rejection, Resource
from finetune_operator.plan import Plan
from finetune_operator.poller import Poller
from finetune_operator.work_queue import QueueClosed, WorkQueue
from finetune_operator.world import Key, World, object_name

log = logging.getLogger(__name__)

LONGEST_PAUSE = 10.0
"""Seconds between two tries when the API server is to blame: it may be well again at any moment."""
MOST_ROUNDS = 4
"""Decisions for one key in a row, each after asking for what the one before missed."""


class Watcher(Protocol):
    """What is told of the work, for metrics."""

    def reconciled(self, seconds: float, result: str) -> None:
        """One key was handled."""

    def status_written(self, before: Resource, after: FineTuneJobStatus) -> None:
        """A status was written by this process."""


class Controller:
    """Handles one key at a time per worker; an error of one key delays that key alone."""

    def __init__(
        self,
        cluster: Cluster,
        world: World,
        queue: WorkQueue[Key],
        executor: Executor,
        poller: Poller,
        watcher: Watcher,
    ) -> None:
        self._settings = world.settings
        self._cluster = cluster
        self._world = world
        self._queue = queue
        self._executor = executor
        self._poller = poller
        self._watcher = watcher
        self._now = cluster.clock.now
        self._events = EventList(cluster)
        self._complaints: dict[Key, str] = {}

    async def worker(self) -> None:
        """Handles keys until the queue is closed. Raises LeaseLost."""
        while True:
            try:
                key = await self._queue.take()
            except QueueClosed:
                return
            began = monotonic()
            try:
                result = await self._attempt(key)
            finally:
                self._queue.done(key)
            self._watcher.reconciled(monotonic() - began, result)

    async def _attempt(self, key: Key) -> str:
        try:
            await self.handle(key)
        except LeaseLost:
            raise
        except NameTaken as error:
            log.warning("%s", error, extra=_about(key))
            self._queue.add(key)
            return "conflict"
        except Refused as error:
            self._complain(key, error, retry_seconds=round(self._queue.retry(key, 0.0, LONGEST_PAUSE), 1))
            return "refused"
        except ApiError as error:
            return self._api_error(key, error)
        except Exception as error:
            self._complain(key, error, exc_info=True)
            self._queue.retry(key)
            return "error"
        self._queue.forgive(key)
        self._complaints.pop(key, None)
        return "success"

    async def handle(self, key: Key) -> None:
        """Brings one FineTuneJob a step further; whatever that changes brings the key back."""
        found = await self._decide(key)
        if found is None:
            self._queue.add_later(key, None)
            return
        resource, observed, plan = found
        if plan.poll:
            self._poller.want(resource, observed)
        else:
            self._poller.leave(resource.uid)
        try:
            await self._carry_out(resource, plan)
        except Refused as refused:
            await self._tell(key, resource, refused.rejection)
            raise
        if self._world.memory(resource.uid).rejection and plan.actions:
            self._world.memory(resource.uid).rejection = None
            self._queue.add(key)
        again = min(
            plan.again or self._settings.timings.resync_seconds, self._settings.timings.resync_seconds
        )
        self._queue.add_later(key, again)

    async def _carry_out(self, resource: Resource, plan: Plan) -> None:
        if written := await self._executor.carry_out(resource, plan):
            self._watcher.status_written(resource, written)

    async def _tell(self, key: Key, resource: Resource, rejection: Rejection) -> None:
        """Writes into the status what the API server refused, once."""
        memory = self._world.memory(resource.uid)
        if memory.rejection == rejection:
            return
        memory.rejection = rejection
        found = self._world.gather(key)
        if found is None:
            return
        resource, observed = found
        plan = reconcile.decide(resource, observed, self._settings, self._now())
        if plan.status is not None:
            # What the plan's actions would have made is not there.
            await self._carry_out(resource, replace(plan, actions=()))

    async def _decide(self, key: Key) -> tuple[Resource, Observed, Plan] | None:
        """The plan, after reading what it asks to be read first."""
        asked: set[str] = set()
        for _ in range(MOST_ROUNDS):
            found = self._world.gather(key)
            if found is None:
                return None
            resource, observed = found
            memory = self._world.memory(resource.uid)
            if memory.unsure:
                await self._read_again(resource)
                memory.unsure = False
                continue
            plan = reconcile.decide(resource, observed, self._settings, self._now())
            memory.job_absent = False
            question = self._question(plan, asked)
            if question is None:
                return resource, observed, plan
            asked.add(question)
            await self._ask(question, resource, observed)
        return resource, observed, plan

    @staticmethod
    def _question(plan: Plan, asked: set[str]) -> str | None:
        wanted = {"job": plan.want_job, "events": plan.want_events, "check": plan.check}
        return next((name for name, is_wanted in wanted.items() if is_wanted and name not in asked), None)

    async def _ask(self, question: str, resource: Resource, observed: Observed) -> None:
        memory = self._world.memory(resource.uid)
        match question:
            case "job":
                memory.job_absent = not await self._read_job(resource)
            case "events":
                memory.events = await self._events.about(resource.namespace, observed)
                memory.events_time = self._now()
            case "check":
                await self._read(resource)

    async def _read_again(self, resource: Resource) -> None:
        if await self._read(resource):
            await self._read_job(resource)

    async def _read(self, resource: Resource) -> bool:
        """Reads the FineTuneJob itself; one that is gone goes from memory."""
        try:
            body = await self._cluster.get(api_paths.FINETUNEJOB.path(resource.namespace, resource.name))
        except NotFound:
            body = {}
        if views.read(body).uid != resource.uid:
            # A namesake that came after it will be announced by its own event.
            self._world.resources.drop(resource.uid)
            return False
        self._world.take_in(body)
        return True

    async def _read_job(self, resource: Resource) -> bool:
        path = api_paths.JOB.path(resource.namespace, object_name(resource))
        try:
            self._world.take_in(await self._cluster.get(path), resource.uid)
        except NotFound:
            return False
        return True

    def _api_error(self, key: Key, error: ApiError) -> str:
        if resource := self._world.resources.one("key", key):
            self._world.memory(resource.uid).unsure = True
        retry_after = error.retry_after if isinstance(error, Unavailable) else 0.0
        delay = self._queue.retry(key, retry_after, LONGEST_PAUSE)
        if error.code == INVALID:
            # No other answer will come before somebody changes the object, which brings the key back.
            delay = self._settings.timings.resync_seconds
            self._queue.add_later(key, delay)
        if isinstance(error, Conflict | NotFound):
            # Changed, or deleted, since it was last heard of.
            return "conflict"
        self._complain(key, error, retry_seconds=round(delay, 1))
        return "error"

    def _complain(self, key: Key, error: Exception, *, exc_info: bool = False, **more: Any) -> None:
        """Logs an error of a key once, until it has gone or is another one."""
        told = f"{type(error).__name__}: {error}"
        if self._complaints.get(key) != told:
            self._complaints[key] = told
            log.error("%s", told, exc_info=error if exc_info else None, extra=_about(key) | more)


def _about(key: Key) -> dict[str, Any]:
    return {"job": "/".join(key)}
