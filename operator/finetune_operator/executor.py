"""Carries out what was decided: actions in order, then the status, then Events."""

import logging
from typing import Any

from finetune_api.v1alpha1 import FineTuneJobStatus
from finetune_operator import api_paths, bodies, views
from finetune_operator.api_errors import Conflict, Denied, NotFound, Unavailable
from finetune_operator.cluster import Cluster
from finetune_operator.observed import Rejection, Resource
from finetune_operator.plan import Action, Create, Delete, Patch, Plan
from finetune_operator.recorder import Recorder
from finetune_operator.world import World

log = logging.getLogger(__name__)


class NameTaken(Exception):
    """An object that the FineTuneJob needs is there and belongs to somebody else; decide again."""


class Refused(Exception):
    """The API server refuses an action."""

    def __init__(self, kind: str, error: Denied) -> None:
        super().__init__(f"{kind}: {error}")
        self.rejection = Rejection(kind, str(error), error.code)


class Executor:
    """The only one that changes FineTuneJobs and what belongs to them."""

    def __init__(self, cluster: Cluster, world: World, recorder: Recorder) -> None:
        self._cluster = cluster
        self._world = world
        self._recorder = recorder

    async def carry_out(self, resource: Resource, plan: Plan) -> FineTuneJobStatus | None:
        """Does it all, or raises at the first write that fails; returns the status it wrote.

        Raises ApiError, LeaseLost, NameTaken.
        """
        for action in plan.actions:
            await self._act(resource, action)
        if plan.status is not None:
            try:
                await self._write_status(resource, plan.status)
            except Denied:
                # Stored before there was a rule that it breaks: Events are all that can be said about it.
                await self._tell(resource, plan)
                raise
        await self._tell(resource, plan)
        return plan.status

    async def _tell(self, resource: Resource, plan: Plan) -> None:
        for note in plan.notes:
            await self._recorder.record(resource, note)

    async def _act(self, resource: Resource, action: Action) -> None:
        log.info(_told(action), extra={"job": f"{resource.namespace}/{resource.name}"})
        try:
            match action:
                case Create():
                    await self._create(resource, action)
                case Patch():
                    await self._patch(resource, action)
                case Delete():
                    await self._delete(resource, action)
        except Denied as error:
            raise Refused(_kind(action), error) from error

    async def _create(self, resource: Resource, action: Create) -> None:
        api = api_paths.of(action.manifest)
        name = action.manifest["metadata"]["name"]
        try:
            found = await self._cluster.create(api.path(resource.namespace), action.manifest)
        except Conflict as error:
            if not error.exists:
                raise
            found = await self._cluster.get(api.path(resource.namespace, name))
        except Unavailable:
            found = await self._after_lost_answer(api.path(resource.namespace, name))
        found = {"kind": api.kind, "apiVersion": api.version, **found}
        self._world.take_in(found, resource.uid)
        if bodies.controller(bodies.mapping(found, "metadata"))[0] != resource.uid:
            raise NameTaken(f"{api.kind} {name} belongs to somebody else")

    async def _after_lost_answer(self, path: str) -> dict[str, Any]:
        """The object, if it was made although nobody said so; else the error that there was."""
        try:
            return await self._cluster.get(path)
        except NotFound as error:
            raise Unavailable("the object was not made") from error

    async def _patch(self, resource: Resource, action: Patch) -> None:
        api = self._world.api(action.kind)
        path = api.path(resource.namespace, action.name, action.subresource)
        metadata = {**action.body.get("metadata", {}), "uid": action.uid}
        found = await self._cluster.patch(path, {**action.body, "metadata": metadata}, keyed=action.keyed)
        self._world.take_in({"kind": api.kind, "apiVersion": api.version, **found})

    async def _delete(self, resource: Resource, action: Delete) -> None:
        path = self._world.api(action.kind).path(resource.namespace, action.name)
        try:
            await self._cluster.delete(path, action.uid, action.grace_seconds)
        except NotFound:
            # What was wanted; the watch will say so as well, if it has not yet.
            if store := self._world.store(action.kind):
                store.drop(action.uid)

    async def _write_status(self, resource: Resource, status: FineTuneJobStatus) -> None:
        wanted = status_patch(status)
        body = {
            "metadata": {"uid": resource.uid, "resourceVersion": resource.resource_version},
            "status": wanted,
        }
        path = api_paths.FINETUNEJOB.path(resource.namespace, resource.name, "status")
        try:
            found = await self._cluster.patch(path, body)
        except Unavailable as error:
            found = await self._cluster.get(api_paths.FINETUNEJOB.path(resource.namespace, resource.name))
            self._world.take_in(found)
            if views.read(found).status != status:
                raise error
        self._world.take_in(found)


def status_patch(status: FineTuneJobStatus) -> dict[str, Any]:
    """The status as a merge patch that replaces the whole: null for each field that has no value.

    Lists are replaced as they are, so what has no value in their items is left out.
    """
    patch: dict[str, Any] = _merge(status.model_dump(mode="json", by_alias=True))
    return patch


def _merge(value: Any, in_list: bool = False) -> Any:
    if isinstance(value, dict):
        return {key: _merge(one, in_list) for key, one in value.items() if not (in_list and one is None)}
    return [_merge(one, True) for one in value] if isinstance(value, list) else value


def _kind(action: Action) -> str:
    return str(action.manifest["kind"]) if isinstance(action, Create) else action.kind


def _told(action: Action) -> str:
    match action:
        case Create():
            return f"create {action.manifest['kind']} {action.manifest['metadata']['name']}"
        case Patch():
            return f"patch {action.kind} {action.name} {action.subresource}".rstrip()
        case Delete():
            return f"delete {action.kind} {action.name}"
