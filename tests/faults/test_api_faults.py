"""The API server answers badly or not at all: the operator is back at work soon after, as the same process, and nothing
that happened meanwhile is lost. The faults run side by side, each with an operator of its own.
"""

import time
from collections import defaultdict
from itertools import pairwise

from fault_rig import NO_LEASE, Rig
from faulted import faulted, over, told
from proxy_faults import Exchange, Refusal
from stories import Stories

story = Stories("rig")
telling = story.fixture()
RETRY_AFTER = 3
SILENCE = 5.0
IMPATIENT = {**NO_LEASE, "client": {"timeoutSeconds": 3.0}, "timings": {"watchSilenceSeconds": SILENCE}}
"""As shipped 30 s and 90 s, since the API server says something each minute."""


@story
def test_a_watch_that_is_too_old_loses_nothing(rig: Rig) -> None:
    with faulted(rig) as fault:
        fault.proxy.hold_watches()
        fault.change()
        fault.until_changed()
        assert fault.proxy.fail_watches(410, "Expired") >= 4
        told("watch 410", fault.until_caught_up(time.monotonic()))


@story
def test_errors_in_the_stream_lose_nothing(rig: Rig) -> None:
    with faulted(rig) as fault:
        fault.proxy.hold_watches()
        fault.change()
        for _ in range(3):
            fault.until_watching()
            assert fault.proxy.fail_watches(500, "InternalError")
        told("500 in the stream", fault.until_caught_up(time.monotonic()))


@story
def test_retry_after_is_obeyed(rig: Rig) -> None:
    with faulted(rig) as fault:
        fault.proxy.refusal = Refusal(429, "TooManyRequests", RETRY_AFTER)
        fault.proxy.fail_watches(429, "TooManyRequests")
        fault.change()
        over(3 * RETRY_AFTER)
        fault.proxy.refusal = None
        told("429 with Retry-After", fault.until_caught_up(time.monotonic()))
        refused = [each for each in fault.proxy.exchanges if each.code == 429]
        assert len(refused) > 3
        waited = asked_again(fault.proxy.exchanges)
        assert {what: seconds for what, seconds in waited.items() if seconds < RETRY_AFTER} == {}


@story
def test_connections_are_refused(rig: Rig) -> None:
    with faulted(rig) as fault:
        fault.proxy.refuse()
        fault.change()
        over(20)
        fault.proxy.accept()
        told("connection refused", fault.until_caught_up(time.monotonic()))


@story
def test_half_open_connections_are_found_out(rig: Rig) -> None:
    with faulted(rig, IMPATIENT) as fault:
        fault.proxy.half_open()
        began = time.monotonic()
        fault.change()
        # Spare connections of the front-end are tried one after the other: they are dead too.
        told("half-open connections", fault.until_caught_up(began, within=6 * SILENCE))


def asked_again(exchanges: list[Exchange]) -> dict[tuple[str, str], float]:
    """Seconds from a 429 to the next try of the same, the shortest of each; events, which many POST to, apart."""
    asked: dict[tuple[str, str], list[Exchange]] = defaultdict(list)
    for each in exchanges:
        if not each.path.endswith("/events"):
            asked[each.method, each.path].append(each)
    return {
        what: min(later.started - earlier.ended for earlier, later in pairwise(tries) if earlier.code == 429)
        for what, tries in asked.items()
        if any(each.code == 429 for each in tries[:-1])
    }
