"""Faults that take minutes: lived through while other tests run, and told by tests of their own later."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from control_plane_commands import Options
from fault_rig import Rig, fault_rig
from faulted import faulted, over, told
from proxy_faults import Refusal

TOLD_BY = "test_long_faults.py"
OUTAGE = 120.0
MINUTE = 60.0


def _etcd_restarted(breakable: Rig) -> None:
    plane = breakable.plane
    with faulted(breakable) as fault:
        plane.restart_etcd()
        back = time.monotonic()
        fault.change_once_possible()
        told("etcd restarted", fault.until_caught_up(back))


def _api_server_down(breakable: Rig) -> None:
    plane = breakable.plane
    with faulted(breakable) as fault:
        late = fault.job("late", {"activeDeadlineSeconds": 60}).until_phase("Running")
        plane.stop_api()
        over(OUTAGE)
        assert fault.operator.running
        assert late.phase == "Running"
        plane.start_api()
        back = time.monotonic()
        # They would wait for up to half a minute before they ask again, and so does kwok.
        for other in (plane.controller_manager, plane.scheduler):
            other.kill()
            other.start()
        fault.change_once_possible()
        told("API server down 2 minutes", fault.until_acting(back))
        fault.until_changed()
        fault.until_caught_up(time.monotonic())


def _no_permission(rig: Rig) -> None:
    with faulted(rig) as fault:
        fault.proxy.refusal = Refusal(403, "Forbidden")
        fault.proxy.fail_watches(403, "Forbidden")
        fault.change()
        over(MINUTE)
        asked = len([each for each in fault.proxy.exchanges if each.code == 403])
        fault.proxy.refusal = None
        told(f"403 for a minute ({asked} requests refused)", fault.until_caught_up(time.monotonic()))
        assert 4 <= asked <= 300


@pytest.fixture(scope="session")
def long_faults(rig: Rig) -> Iterator[dict[str, Future[None]]]:
    """How each went, by name. Nodes stay Ready in the outage: kwok would not make their pods ready again."""
    options = Options(manager_flags=["--node-monitor-grace-period=1h"])
    # One thread a plane: one fault of it after the other.
    with (
        fault_rig(options) as breakable,
        ThreadPoolExecutor(1, thread_name_prefix="outages") as outages,
        ThreadPoolExecutor(1, thread_name_prefix="refusals") as refusals,
    ):
        yield {
            "etcd is restarted": outages.submit(_etcd_restarted, breakable),
            "the API server is down for two minutes": outages.submit(_api_server_down, breakable),
            "no permission for a minute": refusals.submit(_no_permission, rig),
        }


@pytest.fixture(scope="session", autouse=True)
def begin_long_faults(request: pytest.FixtureRequest) -> None:
    """They begin with the first test of a run that is going to ask how they went."""
    if any(item.path.name == TOLD_BY for item in request.session.items):
        request.getfixturevalue("long_faults")
