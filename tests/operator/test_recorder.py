"""Events: one object for one fact, also across restarts, and never a storm."""

import string
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

import coroutines
from finetune_api.v1alpha1 import FineTuneJobStatus
from finetune_operator.observed import Resource
from finetune_operator.plan import Note
from finetune_operator.recorder import QUIET, Recorder, event_name
from small_api import SmallApi, serve

NAME = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"


def resource(name: str = "flowers", uid: str = "u-1") -> Resource:
    now = datetime.now(UTC)
    return Resource("ns", name, uid, 1, now, False, "1", None, None, FineTuneJobStatus())


def note(message: str = "all 4 workers are up", reason: str = "WorkersReady") -> Note:
    return Note("Normal", reason, message)


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


class Events(SmallApi):
    """Events by name, as a real server keeps them."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, dict[str, Any]] = {}
        self.writes: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        if self.faults and (answer := self.faults.pop(0)(request)):
            return answer
        if request.method == "GET":
            wanted = request.query["fieldSelector"].removeprefix("metadata.name=")
            return web.json_response(
                {"metadata": {}, "items": [one for name, one in self.kept.items() if name == wanted]}
            )
        sent = await request.json()
        name = sent["metadata"]["name"] if request.method == "POST" else request.path.rpartition("/")[2]
        self.writes.append(request.method)
        if request.method == "POST" and name in self.kept:
            return web.json_response({"code": 409, "reason": "AlreadyExists"}, status=409)
        if request.method == "PATCH" and name not in self.kept:
            return web.json_response({"code": 404}, status=404)
        self.kept[name] = self.kept.get(name, {}) | sent
        return web.json_response(self.kept[name], status=201)

    @property
    def counts(self) -> list[int]:
        return [event["count"] for event in self.kept.values()]


@coroutines.run
async def test_an_event_says_who_what_and_by_whom() -> None:
    async with serve(Events()) as (events, cluster):
        await Recorder(cluster, "operator-1").record(
            resource(), note("it is up\nand password=hunter22 is hidden")
        )
        (event,) = events.kept.values()
        assert event["involvedObject"]["uid"] == "u-1"
        assert event["involvedObject"]["kind"] == "FineTuneJob"
        assert event["source"] == {"component": "finetune-operator"}
        assert event["message"] == "it is up and password=*** is hidden"


@coroutines.run
async def test_a_fact_that_comes_back_is_counted_once_in_a_while() -> None:
    async with serve(Events()) as (events, cluster):
        clock = Clock()
        recorder = Recorder(cluster, clock=clock)
        for _ in range(10):
            await recorder.record(resource(), note())
        assert events.writes == ["POST"]
        clock.time += QUIET + 1
        await recorder.record(resource(), note())
        assert (events.writes, events.counts) == (["POST", "PATCH"], [2])


@coroutines.run
async def test_after_a_restart_the_same_fact_is_the_same_event() -> None:
    async with serve(Events()) as (events, cluster):
        for _ in range(3):
            await Recorder(cluster).record(resource(), note())
        assert events.counts == [3]
        await Recorder(cluster).record(resource(uid="u-2"), note())
        assert sorted(events.counts) == [1, 3]


@coroutines.run
async def test_messages_that_differ_each_time_are_no_storm() -> None:
    async with serve(Events()) as (events, cluster):
        clock = Clock()
        recorder = Recorder(cluster, clock=clock)
        for number in range(100):
            await recorder.record(resource(), note(f"0/{number} nodes are available"))
        assert len(events.kept) == 10
        await recorder.record(resource(), note(reason="Other"))
        await recorder.record(resource(uid="u-2"), note())
        assert len(events.kept) == 12
        clock.time += QUIET + 1
        await recorder.record(resource(), note("again"))
        assert len(events.kept) == 13


@coroutines.run
async def test_an_event_that_expired_is_made_anew_the_time_after() -> None:
    async with serve(Events()) as (events, cluster):
        clock = Clock()
        recorder = Recorder(cluster, clock=clock)
        await recorder.record(resource(), note())
        events.kept.clear()
        for _ in range(2):
            clock.time += QUIET + 1
            await recorder.record(resource(), note())
        assert events.counts == [1]


@pytest.mark.parametrize("code", [403, 404, 500])
@coroutines.run
async def test_what_cannot_be_recorded_stops_nothing(code: int) -> None:
    async with serve(Events()) as (events, cluster):
        events.fail(code)
        recorder = Recorder(cluster)
        await recorder.record(resource(), note())
        assert not events.kept
        await recorder.record(resource(), note())
        assert events.counts == [1]


@given(st.text(string.ascii_lowercase + string.digits + ".-", min_size=1, max_size=253), st.text(), st.text())
def test_names_are_valid_and_follow_from_what_is_said(name: str, reason: str, message: str) -> None:
    job = resource(name.strip(".-") or "x")
    found = event_name(job, reason, message)
    assert len(found) <= 253
    assert found == event_name(job, reason, message)
    assert found != event_name(job, reason, message + "x")
    assert found != event_name(resource(job.name, "u-2"), reason, message)
