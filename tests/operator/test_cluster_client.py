"""The API client: what it sends, and what it makes of answers that no real server gives on demand."""

import asyncio
import json
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
from aiohttp import web

import coroutines
from finetune_operator.api_calls import Call
from finetune_operator.api_errors import ApiError, Conflict, Denied, Gone, NotFound, Unavailable, error_of
from finetune_operator.api_paths import EVENT, FINETUNEJOB, JOB, NODE, POD, of
from finetune_operator.cluster import Cluster, ConfigurationError, Limits, login
from finetune_operator.lease import LeaseLost
from small_api import FAST, small_api

PATHS = {
    "/api/v1/pods": POD.path(),
    "/api/v1/namespaces/ns/pods/a": POD.path("ns", "a"),
    "/api/v1/namespaces/ns/events": EVENT.path("ns"),
    "/apis/batch/v1/namespaces/ns/jobs/a": JOB.path("ns", "a"),
    "/apis/finetune.dev/v1alpha1/namespaces/ns/finetunejobs/a/status": FINETUNEJOB.path("ns", "a", "status"),
    "/api/v1/nodes/n": NODE.path("ns", "n"),
    "/api/v1/namespaces/..%2F..%2Fns/pods/a%3Fb": POD.path("../../ns", "a?b"),
    "/apis/scheduling.volcano.sh/v1beta1/namespaces/ns/podgroups": of(
        {"apiVersion": "scheduling.volcano.sh/v1beta1", "kind": "PodGroup"}
    ).path("ns"),
}


@pytest.mark.parametrize("path", PATHS)
def test_paths_are_those_of_kubernetes(path: str) -> None:
    assert PATHS[path] == path


ANSWERS: dict[int, type[ApiError]] = {
    400: Denied,
    401: Unavailable,
    403: Denied,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Denied,
    429: Unavailable,
    500: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


@pytest.mark.parametrize("code", ANSWERS)
@coroutines.run
async def test_an_answer_is_the_error_that_says_what_to_do(code: int) -> None:
    async with small_api() as (api, cluster):
        api.fail(code)
        with pytest.raises(ANSWERS[code], match=f"injected {code}") as raised:
            await cluster.get("/x")
        assert raised.value.code == code


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b'{"message": null}', b"\xff\xfe" * 5000])
def test_any_body_makes_an_error_of_bounded_length(body: bytes) -> None:
    error = error_of(500, body, "soon")
    assert isinstance(error, Unavailable)
    assert error.retry_after == 1.0
    assert 0 < len(str(error)) <= 2048 or not str(error)


@coroutines.run
async def test_after_429_nothing_goes_out_before_its_time() -> None:
    async with small_api(Limits(rate=1000, burst=10)) as (api, cluster):
        api.fail(429, {"Retry-After": "1"})
        began = monotonic()
        with pytest.raises(Unavailable) as raised:
            await cluster.get("/x")
        assert raised.value.retry_after == 1.0
        await asyncio.gather(*(cluster.get("/x") for _ in range(5)))
        assert monotonic() - began >= 1.0
        assert len(api.requests) == 6


@coroutines.run
async def test_the_lease_does_not_queue_behind_429() -> None:
    async with small_api(Limits(rate=1000, burst=10)) as (api, cluster):
        api.fail(429, {"Retry-After": "30"})
        with pytest.raises(Unavailable):
            await cluster.get("/x")
        async with asyncio.timeout(15):
            await cluster.get("/x", urgent=True)


BREAKS: dict[str, Callable[[web.Request], Any]] = {
    "the connection is reset": lambda request: request.transport and request.transport.abort(),
    "the answer breaks off": lambda _: web.Response(body=b"{}", headers={"Content-Length": "100"}),
    "the answer is no JSON": lambda _: web.Response(body=b"<html>"),
}


@pytest.mark.parametrize("fault", BREAKS.values(), ids=BREAKS)
@coroutines.run
async def test_no_usable_answer_may_mean_that_it_was_done(fault: Callable[[web.Request], Any]) -> None:
    async with small_api(Limits(rate=0, request=1)) as (api, cluster):
        api.faults.append(lambda request: fault(request) or web.Response(body=b""))
        with pytest.raises(Unavailable) as raised:
            await cluster.create("/x", {"a": 1})
        assert raised.value.code == 0


@coroutines.run
async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with small_api() as (_, cluster):
        pass
    await cluster.open()
    with pytest.raises(Unavailable):
        await cluster.get("/x")
    await cluster.close()


@coroutines.run
async def test_a_patch_is_a_merge_patch_and_a_delete_has_its_preconditions() -> None:
    async with small_api() as (api, cluster):
        kinds: list[str] = []
        api.faults.append(lambda request: kinds.append(request.headers["Content-Type"]))  # type: ignore[func-returns-value]
        await cluster.patch("/x", {"metadata": {"uid": "u"}, "spec": {"a": None}})
        await cluster.delete("/x", "u", grace_seconds=0)
        api.faults.append(lambda request: kinds.append(request.headers["Content-Type"]))  # type: ignore[func-returns-value]
        await cluster.patch("/x", {}, keyed=True)
        assert kinds == ["application/merge-patch+json", "application/strategic-merge-patch+json"]
        api.bodies.pop()
        assert api.bodies == [
            {"metadata": {"uid": "u"}, "spec": {"a": None}},
            {"propagationPolicy": "Background", "preconditions": {"uid": "u"}, "gracePeriodSeconds": 0},
        ]


@coroutines.run
async def test_a_write_asks_whether_it_may_at_the_moment_it_goes_out() -> None:
    async with small_api(Limits(rate=1000, burst=10)) as (api, cluster):
        may_write = True

        def guard() -> None:
            if not may_write:
                raise LeaseLost("too late")

        cluster.guard = guard
        await cluster.patch("/x", {"written": "in time"})
        api.fail(429, {"Retry-After": "1"})
        with pytest.raises(Unavailable):
            await cluster.get("/x")
        # These wait for the server's pause to end, and meanwhile the Lease is lost.
        writes = (cluster.patch("/x", {}), cluster.create("/x", {}), cluster.delete("/x", "u"))
        waiting = asyncio.gather(*writes, return_exceptions=True)
        await asyncio.sleep(0)
        may_write = False
        assert [type(one) for one in await waiting] == [LeaseLost] * 3
        await cluster.get("/x")
        await cluster.patch("/lease", {"by": "the Lease itself"}, urgent=True)
        assert api.bodies == [{"written": "in time"}, {"by": "the Lease itself"}]


@coroutines.run
async def test_every_request_is_counted_by_verb_and_code() -> None:
    calls: list[Call] = []
    async with small_api(FAST, calls.append) as (api, cluster):
        await cluster.get("/x")
        [_ async for _ in cluster.list("/x")]
        api.fail(503)
        with pytest.raises(Unavailable):
            await cluster.create("/x", {})
        await cluster.delete("/x", "u")
    assert [(call.verb, call.code) for call in calls] == [
        ("get", "200"),
        ("list", "200"),
        ("create", "503"),
        ("delete", "201"),
    ]
    assert all(0 <= call.seconds < 60 for call in calls)


@coroutines.run
async def test_the_token_goes_to_the_api_server_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    seen: list[str | None] = []
    async with small_api() as (api, _), small_api() as (elsewhere, _):
        path = tmp_path_factory.mktemp("login") / "kubeconfig"
        path.write_text(json.dumps(kubeconfig(api.url, token="secret-token")))
        api.faults.append(lambda r: seen.append(r.headers.get("Authorization")))  # type: ignore[func-returns-value]
        elsewhere.faults.append(lambda r: seen.append(r.headers.get("Authorization")))  # type: ignore[func-returns-value]
        cluster = Cluster(login(path), FAST)
        await cluster.open()
        await cluster.get("/x")
        api.faults.append(lambda _: web.Response(status=307, headers={"Location": f"{elsewhere.url}/y"}))
        await cluster.get("/x")
        await cluster.close()
    assert seen == ["Bearer secret-token", None]


@coroutines.run
async def test_a_token_that_was_replaced_is_read_again_after_401(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    seen: list[str | None] = []
    path = tmp_path_factory.mktemp("login") / "kubeconfig"
    async with small_api() as (api, _):
        path.write_text(json.dumps(kubeconfig(api.url, token="old")))
        cluster = Cluster(login(path), FAST)
        await cluster.open()
        cluster._loaded -= 60  # as if it had been read a minute ago
        path.write_text(json.dumps(kubeconfig(api.url, token="new")))
        api.fail(401)
        with pytest.raises(Unavailable):
            await cluster.get("/x")
        api.faults.append(lambda r: seen.append(r.headers.get("Authorization")))  # type: ignore[func-returns-value]
        await cluster.get("/x")
        await cluster.close()
    assert seen == ["Bearer new"]


@pytest.mark.parametrize("text", ["", "{}", "no: [yaml", '{"current-context": "x"}'])
@coroutines.run
async def test_without_credentials_it_says_so(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("login") / "kubeconfig"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="cannot connect"):
        await Cluster(login(path)).open()


def kubeconfig(server: str, token: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
