"""Two operators and one Lease: whoever holds it acts, alone, also when the holder is frozen and comes back.

The Lease is renewed and lost three times as fast as by default, and the freeze is as much shorter.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from api_proxy import ApiProxy
from cluster_jobs import Cluster, ClusterJob, report
from fault_rig import Rig
from proxy_faults import Crash, Exchange
from stories import Stories
from waiting import eventually

story = Stories("rig")
telling = story.fixture()
FASTER = 3.0
"""Not more: a holder that a busy machine keeps from renewing for so long would lose the Lease by itself."""
LEASE = {
    "enabled": True,
    "durationSeconds": 15 / FASTER,
    "renewSeconds": 10 / FASTER,
    "retrySeconds": 2 / FASTER,
}
FREEZE = 60.0 / FASTER
"""Four times the Lease's duration."""
REST = 2.0
"""Seconds without a write, after which none is still to come from what was done before."""


class Pair:
    """Two operators in one namespace, each behind a proxy; `leader` is the one that acts."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.namespace = rig, rig.plane.namespace()
        self.proxies = [rig.proxy() for _ in range(2)]
        self.operators = [rig.start(self.namespace, proxy, {"lease": LEASE}, False) for proxy in self.proxies]
        self.first = self.job("first").until_phase("Running")
        self.leader = next(number for number, proxy in enumerate(self.proxies) if proxy.writes())
        self.proxies[self.leader].until_at_rest(REST)

    def job(self, name: str) -> ClusterJob:
        cluster = Cluster(self.rig.plane, self.rig.view, self.operators[0])
        return cluster.job({"workers": 2}, name, self.namespace).apply()

    def close(self) -> None:
        for proxy, operator in zip(self.proxies, self.operators, strict=True):
            operator.thaw()
            operator.kill()
            proxy.close()

    def turns(self) -> list[tuple[int, float, float]]:
        """Who wrote from when until when, in order; a write that was refused is none."""
        served = [
            (each.started, each.ended, number)
            for number, proxy in enumerate(self.proxies)
            for each in proxy.writes()
            if 200 <= each.served < 300
        ]
        turns: list[tuple[int, float, float]] = []
        for started, ended, number in sorted(served):
            if turns and turns[-1][0] == number:
                started = turns.pop()[1]
            turns.append((number, started, ended))
        return turns


@contextmanager
def pair(rig: Rig) -> Iterator[Pair]:
    operators = Pair(rig)
    try:
        yield operators
    finally:
        operators.close()


@story
def test_a_leader_that_was_frozen_finds_another_in_its_place(rig: Rig) -> None:
    with pair(rig) as two:
        failing = two.job("failing").until_phase("Running")
        frozen, heir = two.proxies[two.leader], two.proxies[1 - two.leader]
        frozen.until_at_rest(REST)
        assert heir.writes() == []
        two.operators[two.leader].freeze()
        stopped = time.monotonic()
        two.first.publish()
        failing.fate(1, 64, report(64, reason="BadJob", message="the job cannot work"))
        two.first.until_phase("Complete")
        failing.until_phase("Failed")
        taken = heir.writes()[0].started - stopped
        _last(stopped + FREEZE)
        two.operators[two.leader].thaw()
        two.job("second").until_phase("Running")
        assert [who for who, *_ in two.turns()] == [two.leader, 1 - two.leader]
        assert max(each.started for each in frozen.writes()) < stopped
        two.operators[1 - two.leader].kill()
        two.job("third").until_phase("Running")
        assert [who for who, *_ in two.turns()] == [two.leader, 1 - two.leader, two.leader]
        assert final(two.first, "Complete")
        assert final(failing, "Failed")
    print(
        f"another operator acted {taken:.1f} s after the leader froze, of a Lease of {LEASE['durationSeconds']} s"
    )


@story
def test_a_status_that_was_under_way_when_the_leader_froze_is_refused(rig: Rig) -> None:
    with pair(rig) as two:
        frozen = two.proxies[two.leader]
        frozen.crash = Crash(len(frozen.writes()) + 1, "frozen")
        two.first.fate(1, 70, report(70, reason="Internal", message="the supervisor broke"))
        assert frozen.struck.wait(60)
        two.first.until_phase("Running")
        two.first.publish()
        two.first.until_phase("Complete")
        late = _wake(two, frozen)
        assert (late.method, late.path.endswith("/status"), late.served) == ("PATCH", True, 409)
        two.job("second").until_phase("Running")
        assert final(two.first, "Complete")
        assert [who for who, *_ in two.turns()] == [two.leader, 1 - two.leader]


@story
def test_an_object_that_was_under_way_when_the_leader_froze_is_not_made_twice(rig: Rig) -> None:
    with pair(rig) as two:
        frozen = two.proxies[two.leader]
        frozen.crash = Crash(len(frozen.writes()) + 1, "frozen")
        second = two.job("second").until_phase("Running")
        late = _wake(two, frozen)
        assert (late.method, late.served) == ("POST", 409)
        second.publish()
        second.until_phase("Complete")
        assert [who for who, *_ in two.turns()] == [two.leader, 1 - two.leader]


def final(job: ClusterJob, phase: str) -> bool:
    """Whether the job is in this phase and was never out of it again."""
    return job.phases[-1] == phase and job.phases.count(phase) == 1


def _wake(two: Pair, frozen: ApiProxy) -> Exchange:
    """The request that was under way, once it was served."""
    late = frozen.writes()[-1]
    _last(late.started + FREEZE)
    frozen.wake()
    eventually(lambda: late.served)
    return late


def _last(moment: float) -> None:
    """The freeze lasts until then."""
    time.sleep(max(0.0, moment - time.monotonic()))
