"""The outer loop, in this process: what it does before it can work, and that it always lets go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

import coroutines
from finetune_operator import operator as outer
from finetune_operator.clock import ServerClock
from finetune_operator.cluster import Cluster, ConfigurationError, login
from finetune_operator.main import main
from finetune_operator.metrics import Metrics
from finetune_operator.operator import NotInstalled, Operator
from finetune_operator.settings import Settings
from small_api import SmallApi, serve, until

SETTINGS = Settings.model_validate({"http": {"host": "127.0.0.1", "port": 0}, "lease": {"enabled": False}})


class Bare(SmallApi):
    """An API server that knows no FineTuneJobs, or nothing at all yet."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        return web.json_response({"code": self.code, "message": "bare"}, status=self.code)


class Pauses:
    """A short one, and then one that nobody sits out."""

    def __init__(self, *_: float) -> None:
        self._pauses = iter([0.01, 3600.0])

    def next(self) -> float:
        return next(self._pauses)


@asynccontextmanager
async def running(cluster: Cluster) -> AsyncIterator[tuple[Operator, asyncio.Task[None]]]:
    operator = Operator(SETTINGS, cluster, Metrics("0"))
    task = asyncio.create_task(operator.run())
    try:
        yield operator, task
    finally:
        operator.stop()
        await asyncio.wait({task}, timeout=60)
        assert task.done()


@coroutines.run
async def test_a_cluster_without_the_definition_is_told_what_to_install() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outer, "INSTALLED_WITHIN", 0.5)
        async with serve(Bare(404)) as (api, cluster), running(cluster) as (_, task):
            with pytest.raises(NotInstalled, match="install the CustomResourceDefinition"):
                await asyncio.wait_for(task, 60)
            assert set(api.requests) == {"/apis/finetune.dev/v1alpha1"}


@pytest.mark.parametrize("code", [500, 503, 403, 429])
@coroutines.run
async def test_an_api_server_that_is_not_well_yet_is_waited_for(code: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outer, "INSTALLED_WITHIN", 0.2)
        patch.setattr(outer, "Backoff", Pauses)
        async with serve(Bare(code)) as (api, cluster), running(cluster) as (operator, task):
            await until(lambda: len(api.requests) >= 2)
            assert not task.done()
            operator.stop()
            await asyncio.wait_for(task, 60)


@coroutines.run
async def test_without_credentials_it_ends() -> None:
    async with running(Cluster(login(None))) as (_, task):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KUBECONFIG", "/nowhere")
            with pytest.raises(ConfigurationError):
                await asyncio.wait_for(task, 60)


def test_wrong_settings_are_named_and_nothing_starts(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text("workerz: 3\n")
    assert main(["--config", str(path)], {}) == 78
    assert "did you mean workers?" in capsys.readouterr().err


def test_the_time_is_that_of_the_api_server() -> None:
    clock = ServerClock()
    before = clock.now()
    clock.heard("Sun, 06 Nov 2044 08:49:37 GMT")
    assert (clock.now().year, clock.now().minute) == (2044, 49)
    clock.heard("Sun, 06 Nov 1994 08:49:37 GMT")  # asked a moment ago: not again so soon
    assert clock.now().year == 2044
    assert before.year < 2044


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sun, 99 Nov 2044 08:49:37 GMT"])
def test_a_date_that_is_none_changes_nothing(date: str | None) -> None:
    clock = ServerClock()
    before = clock.now()
    clock.heard(date)
    assert abs((clock.now() - before).total_seconds()) < 60
