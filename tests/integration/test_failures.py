"""Losses that heal and failures that end a job, each with its reason. Lost pods are replaced after a second here."""

from typing import Any

import fake_nodes
import node_pools
import operated
from cluster_jobs import PUBLISHED, Cluster, ClusterJob, report
from cluster_view import Body
from stories import Stories

story = Stories("cluster")
telling = story.fixture()
cluster = operated.with_settings()


def _replaced(job: ClusterJob, index: int, old: str) -> None:
    """Worker `index` runs in a new pod, the others in their old ones, and nothing was counted."""
    job.until(lambda: job.worker_runs(index, unlike=old), f"new worker {index}")
    job.until(lambda: job.all_run() and job.phase in ("Starting", "Running"), "whole gang")
    assert job.job["status"].get("failedIndexes", "") == ""
    assert job.condition("Failed")["status"] == "False"


def _survivors(job: ClusterJob, but: int) -> list[str]:
    return [job.uid(index) for index in range(job.workers) if index != but]


def _counted(job: ClusterJob, index: int) -> int:
    """How many failures of a worker the Job controller counts against its budget."""
    return int(
        job.pod(index)["metadata"]["annotations"].get("batch.kubernetes.io/job-index-failure-count", 0)
    )


@story
def test_an_evicted_worker_is_replaced_alone_and_not_counted(cluster: Cluster) -> None:
    job = cluster.start()
    old, others = job.uid(2), _survivors(job, but=2)
    cluster.plane.api.evict(job.namespace, job.pod(2)["metadata"]["name"])
    _replaced(job, 2, old)
    assert _survivors(job, but=2) == others
    assert _counted(job, 2) == 0


@story
def test_a_deleted_worker_is_replaced_alone_and_not_counted(cluster: Cluster) -> None:
    job = cluster.start()
    others = _survivors(job, but=1)
    _replaced(job, 1, job.kill(1))
    assert _survivors(job, but=1) == others
    assert _counted(job, 1) == 0


@story
def test_a_force_deleted_worker_is_replaced(cluster: Cluster) -> None:
    """Kubernetes alone leaves the index without a pod for ever: the pod was not terminal when it went."""
    job = cluster.start()
    name = job.pod(3)["metadata"]["name"]
    _replaced(job, 3, job.kill_by_force(3))
    last = cluster.view.history("pods", job.namespace, name)[-1].body["status"]
    assert last["phase"] == "Failed"
    known = {one["type"] for one in last["conditions"]}
    assert {"DisruptionTarget", "PodScheduled", "Ready"} <= known, "what else was known stays"


@story
def test_the_chief_is_replaced_like_any_other_worker(cluster: Cluster) -> None:
    job = cluster.start()
    _replaced(job, 0, job.kill(0))
    job.publish()
    job.until_phase("Complete")


@story
def test_a_worker_on_a_node_that_is_gone_is_replaced(cluster: Cluster) -> None:
    """Its kubelet never says that the pod ended: the operator declares it, deadNodeTimeoutSeconds later."""
    job = cluster.start({"deadNodeTimeoutSeconds": 2, **node_pools.add(cluster.plane, "gone", 5)})
    old = job.uid(1)
    fake_nodes.lose(cluster.plane.api, job.pod(1)["spec"]["nodeName"])
    job.kill(1, gracePeriodSeconds=1)
    _replaced(job, 1, old)


def _fails(cluster: Cluster, exit_code: int, message: str = "", reason: str = "") -> ClusterJob:
    """A job whose worker 1 leaves with `exit_code`; it has failed with `reason`, and no pod was replaced."""
    job = cluster.start()
    old = job.fate(1, exit_code, message)
    job.until_phase("Failed")
    assert job.failure["reason"] == job.condition("Failed")["reason"] == reason
    assert job.failure["worker"] == 1
    assert job.failure["exitCode"] == exit_code
    assert job.worker_runs(1, unlike=old) is None
    assert len(cluster.view.ever("pods", job.namespace)) == 4
    return job


@story
def test_a_bad_job_fails_at_once_with_the_supervisors_reason(cluster: Cluster) -> None:
    said = report(
        64, reason="UnknownLayer", message="stages[0].unfreeze.fromLayer: no layer blok4 in MobileNetV2."
    )
    job = _fails(cluster, 64, said, "UnknownLayer")
    assert "no layer blok4" in job.failure["message"]
    assert "no layer blok4" in job.status["summary"]["reason"]


@story
def test_a_run_that_gave_up_fails_at_once_with_the_supervisors_reason(cluster: Cluster) -> None:
    said = report(
        69, reason="NonFiniteLoss", message="The loss was not finite three times. Fix: a lower learningRate."
    )
    job = _fails(cluster, 69, said, "NonFiniteLoss")
    assert "learningRate" in job.failure["message"] + job.failure.get("hint", "")


@story
def test_a_permanent_exit_without_a_report_fails_at_once_with_the_codes_own_reason(cluster: Cluster) -> None:
    job = cluster.start()
    job.fate(2, 78)
    job.until_phase("Failed")
    assert job.failure["exitCode"] == 78
    assert job.failure["reason"]


@story
def test_a_worker_that_crashes_just_before_the_publish_does_not_fail_the_job(cluster: Cluster) -> None:
    job = cluster.start()
    job.fate(2, 70)
    job.publish()
    job.until_phase("Complete")
    assert job.condition("Failed")["status"] == "False"


@story
def test_a_permanent_exit_just_before_the_publish_does_not_undo_it(cluster: Cluster) -> None:
    """The Job fails for the worker's code; the manifest that the chief names is committed all the same."""
    job = cluster.start()
    # The chief is told to stop, publishes in its grace and leaves with 0.
    job.annotate(job.pod(0), term_code=0, exit_message=report(0, result=PUBLISHED), term_after="300ms")
    job.fate(2, 69, report(69, reason="ConflictingVersion", message="Another run took the version."))
    job.until_phase("Complete", "Failed")
    assert job.phase == "Complete"


@story
def test_supervisors_that_crash_six_times_fail_the_job(cluster: Cluster) -> None:
    job = cluster.start()
    assert job.end_again_and_again(1, 70) == 6
    assert job.failure["worker"] == 1
    assert job.failure["exitCode"] == 70
    job.until(lambda: not job.running_pods(), "end of the other pods")


@story
def test_out_of_memory_of_the_whole_container_is_called_so(cluster: Cluster) -> None:
    """As a kubelet writes it on cgroup v2: 137, OOMKilled, whatever the last report said."""
    job = cluster.start()
    pod = job.pod(1)
    terminated = {
        "exitCode": 137,
        "reason": "OOMKilled",
        "message": report(0, phase="Step", stageName="head"),
    }
    _end(job, pod, terminated)
    job.until(lambda: job.failure, "failure")
    assert job.failure["reason"] == "OutOfMemory"
    assert job.failure["worker"] == 1
    assert "memory" in job.failure["hint"]
    job.until(lambda: job.worker_runs(1, unlike=pod["metadata"]["uid"]), "new worker 1")


@story
def test_out_of_memory_of_the_training_process_has_the_same_reason(cluster: Cluster) -> None:
    job = cluster.start()
    job.fate(2, 69, report(69, reason="OutOfMemory", message="Killed twice at step 41 of stage head."))
    job.until_phase("Failed")
    assert job.failure["reason"] == "OutOfMemory"
    assert "memory" in job.failure["hint"]


@story
def test_the_first_failure_wins_not_the_peers_it_took_down(cluster: Cluster) -> None:
    job = cluster.start()
    for peer in (0, 1, 2):
        job.fate(peer, 75, report(75, reason="PeerLost", message="worker 3 is away."), after="400ms")
    # Last, since its end takes the others' pods away; they may well end before it, as in a real gang.
    job.fate(3, 65, report(65, reason="BadImage", message="tulips/7.jpg cannot be decoded."), after="400ms")
    job.until_phase("Failed")
    assert job.failure["reason"] == "BadImage"
    assert job.failure["worker"] == 3


@story
def test_a_peer_that_left_because_another_is_away_is_replaced_and_not_counted(cluster: Cluster) -> None:
    job = cluster.start()
    old = job.fate(1, 75, report(75, reason="PeerLost", message="worker 3 is away."))
    _replaced(job, 1, old)


@story
def test_a_worker_whose_disk_is_full_fails_the_job_for_good(cluster: Cluster) -> None:
    """The kubelet evicts for storage without a DisruptionTarget; the next pod would fill its disk too."""
    job = cluster.start()
    pod = job.pod(1)
    message = 'Usage of EmptyDir volume "cache" exceeds the limit "20Gi".'
    job.write_status(pod, {"phase": "Failed", "reason": "Evicted", "message": message})
    job.until_phase("Failed")
    assert job.failure["reason"] == "StorageExceeded"
    assert "20Gi" in job.failure["message"]


def _end(job: ClusterJob, pod: Body, terminated: dict[str, Any]) -> None:
    """Ends a pod's container as a kubelet would write it."""
    stamps = {key: pod["status"]["startTime"] for key in ("startedAt", "finishedAt")}
    container = pod["status"]["containerStatuses"][0] | {
        "ready": False,
        "started": False,
        "state": {"terminated": terminated | stamps},
    }
    status = {"phase": "Failed", "containerStatuses": [container]}
    job.write_status(pod, status)
