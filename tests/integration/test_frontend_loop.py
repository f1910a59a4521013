"""What the operator's two libraries must be able to do, proven on a real API server."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import pytest

import coroutines
import jobs
from cluster_jobs import ON_A_CLUSTER
from control_plane import ControlPlane
from finetune_operator import api_paths
from finetune_operator.api_errors import Conflict, Denied, NotFound
from finetune_operator.cluster import Cluster, Limits, login
from finetune_operator.frontend import FrontEnd
from finetune_operator.settings import Settings
from small_api import until

pytestmark = pytest.mark.usefixtures("crd")
RUNS = 20


@asynccontextmanager
async def connected(kubeconfig: Path, **limits: Any) -> AsyncIterator[Cluster]:
    cluster = Cluster(login(kubeconfig), Limits(**limits))
    await cluster.open()
    try:
        yield cluster
    finally:
        await cluster.close()


def document(name: str = "flowers") -> dict[str, Any]:
    found = jobs.document(ON_A_CLUSTER)
    found["metadata"] = {"name": name}
    return found


async def run_once(front_end: FrontEnd, while_running: Callable[[], Any]) -> None:
    task = asyncio.create_task(front_end.run())
    try:
        await while_running()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _open_files(plane: ControlPlane) -> int:
    """Event loops and connections to this API server; tests that go on beside this one open and close others."""
    port = f":{urlsplit(plane.url).port:04X}"
    rows = [row.split() for row in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[2].endswith(port)}
    links = []
    for file in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            links.append(str(file.readlink()))
    return sum(link in sockets or "eventpoll" in link for link in links)


@coroutines.run
async def test_kopf_runs_again_and_again_in_one_process(plane: ControlPlane, namespace: str) -> None:
    async with connected(plane.kubeconfig) as cluster:
        path = api_paths.FINETUNEJOB.path(namespace)
        await cluster.create(path, document())
        heard: list[tuple[str, str]] = []
        settings = Settings.model_validate({"namespaces": [namespace]})
        front_end = FrontEnd(
            cluster, settings, lambda kind, body: heard.append((kind, body["metadata"]["name"]))
        )
        stops, files, tasks = [], [], len(asyncio.all_tasks())

        async def hear() -> None:
            await until(lambda: ("", "flowers") in heard, 60)

        for _ in range(RUNS):
            heard.clear()
            await run_once(front_end, hear)
            began = monotonic()
            await until(lambda: not [one for one in threading.enumerate() if one.name == "front-end"], 60)
            stops.append(monotonic() - began)
            files.append(_open_files(plane))
        # Not the longest, which is the machine's as well.
        assert sorted(stops)[RUNS // 2] < 1
        assert max(files) - min(files) <= 2
        assert len(asyncio.all_tasks()) == tasks
        body = await cluster.get(f"{path}/flowers")
        assert "annotations" not in body["metadata"]
        assert "finalizers" not in body["metadata"]
        assert body.get("status") is None


@coroutines.run
async def test_it_tells_what_is_made_changed_and_deleted(plane: ControlPlane, namespace: str) -> None:
    async with connected(plane.kubeconfig) as cluster:
        path = api_paths.FINETUNEJOB.path(namespace)
        heard: list[tuple[str, str]] = []
        settings = Settings.model_validate({"namespaces": [namespace]})
        front_end = FrontEnd(
            cluster, settings, lambda kind, body: heard.append((kind, body["metadata"]["name"]))
        )
        await cluster.create(path, document("before"))

        async def live() -> None:
            await until(lambda: ("", "before") in heard, 60)
            uid = (await cluster.create(path, document("after")))["metadata"]["uid"]
            await until(lambda: ("ADDED", "after") in heard, 60)
            await cluster.patch(f"{path}/after", {"spec": {"suspend": True}})
            await until(lambda: ("MODIFIED", "after") in heard, 60)
            await cluster.delete(f"{path}/after", uid)
            await until(lambda: ("DELETED", "after") in heard, 60)

        await run_once(front_end, live)


@coroutines.run
async def test_it_ends_by_itself_when_it_may_not_watch(plane: ControlPlane, namespace: str) -> None:
    settings = Settings.model_validate({"namespaces": [namespace]})
    async with connected(plane.user("nobody", [])) as nobody:
        with pytest.raises(Exception, match=r"(?i)forbidden|403"):
            await asyncio.wait_for(FrontEnd(nobody, settings, lambda *_: None).run(), 60)


@coroutines.run
async def test_a_status_is_written_over_the_version_it_was_made_from_and_no_other(
    plane: ControlPlane, namespace: str
) -> None:
    async with connected(plane.kubeconfig) as cluster:
        path = api_paths.FINETUNEJOB.path(namespace)
        made = await cluster.create(path, document())
        status = api_paths.FINETUNEJOB.path(namespace, "flowers", "status")
        version = {"resourceVersion": made["metadata"]["resourceVersion"]}
        written = await cluster.patch(status, {"metadata": version, "status": {"phase": "Starting"}})
        assert written["status"]["phase"] == "Starting"
        assert written["metadata"]["generation"] == made["metadata"]["generation"]
        with pytest.raises(Conflict) as raised:
            await cluster.patch(status, {"metadata": version, "status": {"phase": "Running"}})
        assert not raised.value.exists
        nulls = {"metadata": {"uid": made["metadata"]["uid"]}, "status": {"phase": "Running", "jobUID": None}}
        assert (await cluster.patch(status, nulls))["status"]["phase"] == "Running"


@coroutines.run
async def test_a_namesake_that_came_after_is_not_patched(plane: ControlPlane, namespace: str) -> None:
    async with connected(plane.kubeconfig) as cluster:
        await cluster.create(api_paths.FINETUNEJOB.path(namespace), document())
        config = {"metadata": {"name": "flowers"}, "data": {}}
        await cluster.create(api_paths.CONFIG_MAP.path(namespace), config)
        for api in (api_paths.FINETUNEJOB, api_paths.CONFIG_MAP):
            other = {"metadata": {"uid": "of-one-before", "labels": {"a": "b"}}}
            with pytest.raises(Conflict, match="uid"):
                await cluster.patch(api.path(namespace, "flowers"), other)


@coroutines.run
async def test_errors_of_a_real_server(plane: ControlPlane, namespace: str) -> None:
    async with connected(plane.kubeconfig) as cluster:
        path = api_paths.FINETUNEJOB.path(namespace)
        made = await cluster.create(path, document())
        with pytest.raises(Conflict) as raised:
            await cluster.create(path, document())
        assert raised.value.exists
        with pytest.raises(NotFound):
            await cluster.get(f"{path}/nobody")
        with pytest.raises(Conflict, match="UID"):
            await cluster.delete(f"{path}/flowers", "another")
        wrong = document("wrong")
        wrong["spec"]["workers"] = -1
        with pytest.raises(Denied, match="workers"):
            await cluster.create(path, wrong)
        async with connected(plane.user("nobody", [])) as nobody:
            with pytest.raises(Denied, match="cannot get"):
                await nobody.get(f"{path}/flowers")
        await cluster.delete(f"{path}/flowers", made["metadata"]["uid"])


@coroutines.run
async def test_a_list_comes_in_pages_and_a_watch_goes_on_from_it(plane: ControlPlane, namespace: str) -> None:
    async with connected(plane.kubeconfig, page=2) as cluster:
        path = api_paths.FINETUNEJOB.path(namespace)
        for number in range(5):
            await cluster.create(path, document(f"job-{number}"))
        pages = [page async for page in cluster.list(path)]
        assert [len(page["items"]) for page in pages] == [2, 2, 1]
        assert len({page["metadata"]["resourceVersion"] for page in pages}) == 1
        watch = cluster.watch(path, pages[-1]["metadata"]["resourceVersion"])
        await cluster.create(path, document("late"))
        event = await asyncio.wait_for(anext(watch), 60)
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "late")
        await watch.aclose()
