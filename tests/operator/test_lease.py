"""The Lease: one holder, judged by one's own monotonic clock. The server has preconditions like the real one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import coroutines
from finetune_operator import knobs
from finetune_operator.clock import boot_time
from finetune_operator.cluster import Cluster
from finetune_operator.lease import Lease, LeaseLost
from finetune_operator.metrics import Metrics
from finetune_operator.operator import Operator
from finetune_operator.settings import Settings
from small_api import SmallApi, serve, small_api, until

SETTINGS = knobs.Lease(duration_seconds=15, renew_seconds=10, retry_seconds=0.01)


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class Leases(SmallApi):
    """A server for one Lease: create once, patch only at the version it has."""

    def __init__(self) -> None:
        super().__init__()
        self.body: dict[str, Any] | None = None
        self.down = False
        self.reads = 0
        self.writes = 0

    def _refuse(self, code: int) -> web.Response:
        return web.json_response({"code": code, "reason": "x", "message": "x"}, status=code)

    async def handle(self, request: web.Request) -> web.Response:
        if self.down:
            return self._refuse(500)
        if request.method == "GET":
            self.reads += 1
            return web.json_response(self.body) if self.body else self._refuse(404)
        sent = await request.json()
        if request.method == "POST":
            if self.body:
                return self._refuse(409)
            self.body = sent
        elif self.body is None:
            return self._refuse(404)
        elif sent["metadata"]["resourceVersion"] != self.body["metadata"]["resourceVersion"]:
            return self._refuse(409)
        else:
            self.body = {**self.body, "spec": self.body["spec"] | sent["spec"]}
        self.writes += 1
        self.body["metadata"] = {"name": "finetune-operator", "resourceVersion": str(self.writes)}
        return web.json_response(self.body)


@asynccontextmanager
async def server() -> AsyncIterator[tuple[Leases, Cluster]]:
    async with serve(Leases()) as found:
        yield found


def campaign(cluster: Cluster, clock: Clock, name: str) -> Lease:
    return Lease(cluster, SETTINGS, "ns", name, clock)


async def soon(leases: Leases, *campaigns: Lease) -> int:
    """How many get the Lease in a few tries each, however long these take."""
    enough = leases.reads + 6 * len(campaigns)
    trying = [asyncio.create_task(lease.acquire()) for lease in campaigns]
    await until(lambda: leases.reads >= enough or all(task.done() for task in trying))
    won = sum(task.done() for task in trying)
    for task in trying:
        task.cancel()
    await asyncio.wait(trying)
    return won


@coroutines.run
async def test_the_first_gets_it_and_the_second_waits() -> None:
    async with server() as (leases, cluster):
        clock = Clock()
        first, second = campaign(cluster, clock, "first"), campaign(cluster, clock, "second")
        assert await soon(leases, first)
        assert not await soon(leases, second)
        assert (first.held, second.held) == (True, False)
        first.check()
        with pytest.raises(LeaseLost):
            second.check()
        assert leases.body is not None
        assert leases.body["spec"]["holderIdentity"] == first.identity


@coroutines.run
async def test_a_holder_that_does_not_renew_is_followed_when_its_time_is_over() -> None:
    async with server() as (leases, cluster):
        clock = Clock()
        first, second = campaign(cluster, clock, "first"), campaign(cluster, clock, "second")
        assert await soon(leases, first)
        assert not await soon(leases, second)
        clock.time += 14
        assert not await soon(leases, second)
        assert not first.held  # it stopped acting four seconds before anybody could follow
        clock.time += 2
        assert await soon(leases, second)
        assert leases.body is not None
        assert leases.body["spec"]["leaseTransitions"] == 1
        assert not await soon(leases, first)


@coroutines.run
async def test_a_frozen_holder_does_not_act_when_it_wakes() -> None:
    async with server() as (leases, cluster):
        clock = Clock()
        lease = campaign(cluster, clock, "first")
        cluster.guard = lease.check
        assert await soon(leases, lease)
        written = leases.writes
        clock.time += 60
        with pytest.raises(LeaseLost):
            await cluster.patch("/jobs/flowers", {})
        assert leases.writes == written


@coroutines.run
async def test_an_operator_writes_nothing_without_the_lease() -> None:
    async with server() as (leases, cluster):
        Operator(Settings(), cluster, Metrics("0"))
        with pytest.raises(LeaseLost):
            await cluster.create("/events", {})
        assert leases.writes == 0


def test_the_time_that_a_machine_sleeps_counts() -> None:
    since_boot = float(Path("/proc/uptime").read_text().split()[0])
    assert boot_time() == pytest.approx(since_boot, abs=5)


@coroutines.run
async def test_renewing_keeps_it_and_costs_one_request_each() -> None:
    async with server() as (leases, cluster):
        clock = Clock()
        lease = campaign(cluster, clock, "first")
        assert await soon(leases, lease)
        keeping = asyncio.create_task(lease.keep())
        for _ in range(3):
            clock.time += 9
            before = leases.writes
            while leases.writes < before + 2:
                await asyncio.sleep(0.005)
            assert lease.held
        assert not keeping.done()
        keeping.cancel()


@coroutines.run
async def test_it_is_lost_when_the_api_is_away_for_too_long() -> None:
    async with server() as (leases, cluster):
        clock = Clock()
        lease = campaign(cluster, clock, "first")
        assert await soon(leases, lease)
        leases.down = True
        keeping = asyncio.create_task(lease.keep())
        await asyncio.sleep(0.05)
        assert lease.held
        clock.time += 11
        await asyncio.wait_for(keeping, 60)
        leases.down = False
        assert await soon(leases, lease)  # nobody else took it: on it goes


@coroutines.run
async def test_a_released_lease_is_taken_at_once() -> None:
    async with server() as (leases, cluster):
        clock = Clock()
        first, second = campaign(cluster, clock, "first"), campaign(cluster, clock, "second")
        assert await soon(leases, first)
        await first.release()
        assert not first.held
        assert await soon(leases, second)


@coroutines.run
async def test_a_lease_deleted_by_hand_is_made_again() -> None:
    async with server() as (leases, cluster):
        clock = Clock()
        lease = campaign(cluster, clock, "first")
        assert await soon(leases, lease)
        keeping = asyncio.create_task(lease.keep())
        leases.body = None
        while leases.body is None:
            await asyncio.sleep(0.005)
        assert lease.held
        keeping.cancel()


@coroutines.run
async def test_of_many_that_start_together_one_leads() -> None:
    async with server() as (leases, cluster):
        clock = Clock()
        all_ = [campaign(cluster, clock, str(number)) for number in range(8)]
        assert await soon(leases, *all_) == 1
        assert sum(lease.held for lease in all_) == 1


@coroutines.run
async def test_without_election_it_is_always_held() -> None:
    async with small_api() as (api, cluster):
        lease = Lease(cluster, knobs.Lease(enabled=False), "ns")
        await lease.acquire()
        lease.check()
        await lease.release()
        assert api.requests == []
