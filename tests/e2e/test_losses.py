"""One run on two nodes that loses about everything a run can lose, and publishes in the end."""

import math
from collections.abc import Iterator

import pytest

import node_install
import node_memory
from node_cluster import NodeCluster
from node_jobs import Loss, NodeJob

LIMIT_SECONDS = 45.0
MORE_PODS = 6
EPOCHS = 18


@pytest.fixture(scope="module")
def run(installed: NodeCluster) -> Iterator[NodeJob]:
    """A long run of the example."""
    namespace = node_install.make_job_namespace(installed)
    changes = {"checkpoint": {"interval": "3s"}, "maxRestarts": 10}
    with NodeJob(installed, namespace, changes) as job:
        job.document["spec"]["stages"][1]["epochs"] = EPOCHS
        yield job.apply()
    installed.plane.api.delete("namespaces", None, namespace)


@pytest.fixture(scope="module")
def pods_lost() -> list[Loss]:
    """Losses after which a new pod had to come."""
    return []


def test_training_process_of_a_worker_killed(run: NodeJob) -> None:
    run.until_settled()
    run.lose("training process of worker 1 killed", lambda: run.kill(run.trainer(1)))


def test_container_killed(run: NodeJob, pods_lost: list[Loss]) -> None:
    run.until_settled()
    pods_lost.append(run.lose("container of worker 1 killed", lambda: run.kill(run.supervisor(1))))


def test_memory_limit_hit_by_the_training_process(run: NodeJob) -> None:
    run.until_settled()
    run.lose("training process of worker 1 out of memory", lambda: _exhaust(run, 1, run.trainer(1)))
    (told,) = [line for line in run.logs.lines if line.worker == 1 and "OutOfMemory" in line.text]
    print(told.text)
    assert "Fix: lower globalBatchSize" in told.text
    # Healed in place, so no pod tells of it.
    _told_with_a_hint(run, "training process")


def test_memory_limit_hit_by_the_whole_container(run: NodeJob, pods_lost: list[Loss]) -> None:
    run.until_settled()
    loss = run.lose("container of worker 1 out of memory", lambda: _exhaust(run, 1, run.supervisor(1)))
    pods_lost.append(loss)
    _told_with_a_hint(run, "was killed for lack of memory")


def test_chief_deleted_loses_no_step(run: NodeJob, pods_lost: list[Loss]) -> None:
    run.until_settled()
    pods_lost.append(_delete(run, 0))
    assert pods_lost[-1].repeated == 0


def test_evicted_through_the_api(run: NodeJob, pods_lost: list[Loss]) -> None:
    run.until_settled()
    name = run.pod(1)["metadata"]["name"]
    evict = run.cluster.plane.api.evict
    pods_lost.append(run.lose("worker 1 evicted", lambda: evict(run.namespace, name)))
    assert pods_lost[-1].repeated == 0


def test_new_steps_come_soon_after_a_lost_pod(run: NodeJob, pods_lost: list[Loss]) -> None:
    for number in range(MORE_PODS):
        run.until_settled()
        pods_lost.append(_delete(run, number % 2))
    seconds = sorted(loss.seconds for loss in pods_lost)
    assert len(seconds) >= 10
    p95 = seconds[math.ceil(0.95 * len(seconds)) - 1]
    print(
        f"{len(seconds)} pods lost: median {seconds[len(seconds) // 2]:.1f} s, p95 {p95:.1f} s to a new step"
    )
    assert p95 <= LIMIT_SECONDS


def test_that_run_is_complete_in_the_end(run: NodeJob) -> None:
    status = run.until_complete()
    print(f"{status['workers']['restarts']} restarts, {status['bestMetric']}")
    assert (run.results() / "latest.json").exists()


def _told_with_a_hint(run: NodeJob, words: str) -> None:
    def newest() -> dict[str, object] | None:
        found: dict[str, object] = run.status.get("lastFailure") or {}
        return found if words in str(found.get("message")) else None

    failure = run.until(newest, "last failure in the status")
    print(failure)
    assert failure["reason"] == "OutOfMemory"
    assert failure["worker"] == 1
    assert "globalBatchSize" in str(failure["hint"])


def _delete(run: NodeJob, worker: int) -> Loss:
    name = run.pod(worker)["metadata"]["name"]
    return run.lose(
        f"pod of worker {worker} deleted", lambda: run.kubectl("delete", "pod", name, "--wait=false")
    )


def _exhaust(run: NodeJob, worker: int, victim: int) -> None:
    pod = run.pod(worker)
    home = run.cluster.machine_of(pod).home
    node_memory.exhaust(home.network.cgroup(home.index), pod["metadata"]["uid"], victim)
