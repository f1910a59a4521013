"""Whatever happens while the operator is down: soon after its return all is as it has to be, and nothing made twice."""

import time

from cluster_jobs import ClusterJob
from fault_rig import Rig
from faulted import Faulted, faulted

BACK_WITHIN = 10.0


def test_everything_happens_while_the_operator_is_down(rig: Rig) -> None:
    with faulted(rig) as world:
        for name, spec in {"late": {}, "brief": {"ttlSecondsAfterFinished": 0}, "swept": {}}.items():
            world.job(name, spec).until_phase("Running")
        before = {name: job.job["metadata"]["uid"] for name, job in world.jobs.items()}
        world.kill()
        writes = len(world.proxy.writes())
        world.change()
        world.jobs["late"].change(activeDeadlineSeconds=1)
        for name in ("brief", "swept"):
            world.jobs[name].publish()
            world.jobs[name].until(lambda name=name: _ended(world.jobs[name]), f"end of the Job of {name}")
        _sweep(world, world.jobs["swept"])
        world.until_changed()
        assert len(world.proxy.writes()) == writes
        world.start()
        seconds = world.until_caught_up(time.monotonic(), BACK_WITHIN)
        after = {name: job.job.get("metadata", {}).get("uid") for name, job in world.jobs.items()}
        assert {
            name: uid for name, uid in after.items() if name in before and uid not in (before[name], None)
        } == {}
        assert world.jobs["swept"].phase == "Complete"
    print(f"operator back after everything had happened: {seconds:.1f} s")


def _ended(job: ClusterJob) -> bool:
    return any(one["type"] == "Complete" for one in job.job.get("status", {}).get("conditions", []))


def _sweep(world: Faulted, job: ClusterJob) -> None:
    """Somebody clears away the pods of a Job that is over."""
    for pod in job.pods():
        world.rig.plane.api.delete("pods", world.namespace, pod["metadata"]["name"])
    job.until(lambda: not job.pods(), "no pods")
