"""What the API server serves of gang schedulers, and which version of it is used."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from finetune_operator import api_paths, discovery, knobs
from finetune_operator.discovery import Served
from finetune_operator.settings import Settings
from finetune_operator.world import World
from small_api import SmallApi, serve

OLD, NEW = "kueue.x-k8s.io/v1beta1", "kueue.x-k8s.io/v1beta2"
QUEUES = {"kueue": {"enabled": True}}


class Groups(SmallApi):
    """A server that knows some kinds by group and version."""

    def __init__(self, kinds: dict[str, list[str]]) -> None:
        super().__init__()
        self.kinds = kinds

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append(request.path)
        if request.path == "/apis":
            groups = {version.partition("/")[0] for version in self.kinds}
            return web.json_response({"groups": [{"name": group} for group in sorted(groups)]})
        plurals = self.kinds.get(request.path.removeprefix("/apis/"))
        if plurals is None:
            return web.json_response({"code": 404}, status=404)
        return web.json_response({"resources": [{"name": plural} for plural in plurals]})


def found(kinds: dict[str, list[str]], **gangs: Any) -> tuple[Served, list[str]]:
    """What is discovered, and the paths that were asked."""

    async def ask() -> tuple[Served, list[str]]:
        async with serve(Groups(kinds)) as (api, cluster):
            return await discovery.discover(cluster, knobs.Gangs.model_validate(gangs)), api.requests

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("kinds", "version"),
    [
        pytest.param({OLD: ["workloads"]}, OLD, id="the old one alone"),
        pytest.param({OLD: ["workloads"], NEW: ["workloads"]}, NEW, id="both"),
        pytest.param({NEW: ["workloads"]}, NEW, id="the new one alone"),
        pytest.param({OLD: ["workloads"], NEW: ["cohorts"]}, OLD, id="the new one for other kinds"),
        pytest.param({"apps/v1": []}, OLD, id="no Kueue at all"),
    ],
)
def test_workloads_are_read_in_the_newest_version_that_is_served(
    kinds: dict[str, list[str]], version: str
) -> None:
    served, _ = found(kinds, **QUEUES)
    assert served.workloads.version == version
    assert ("Kueue" in served.gangs) == any("kueue" in one for one in kinds)


def test_without_kueue_switched_on_nothing_more_is_asked() -> None:
    assert found({NEW: ["workloads"]})[1] == ["/apis"]


def test_gangs_are_known_by_their_groups_and_the_native_one_by_its_kind() -> None:
    kinds = {"scheduling.x-k8s.io/v1alpha1": ["podgroups"], discovery.POD_GROUP: ["podgroups"]}
    assert found(kinds)[0].gangs == {"Coscheduling"}
    assert found(kinds, podGroup={"enabled": True})[0].gangs == {"Coscheduling", "PodGroup"}
    classes_only = {discovery.POD_GROUP: ["priorityclasses"]}
    assert found(classes_only, podGroup={"enabled": True})[0].gangs == set()


def test_watch_and_patches_go_where_workloads_were_found() -> None:
    settings = Settings.model_validate({"gangs": QUEUES})
    world = World(settings, lambda _key: None, lambda _key: None)
    (source,) = [one for one in world.sources() if one.api.kind == "Workload"]
    assert source.now is not None
    for api in api_paths.WORKLOADS:
        world.served = Served(workloads=api)
        assert source.now() == world.api("Workload") == api
    assert world.api("Job") == api_paths.JOB
