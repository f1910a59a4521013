"""What TFJob v1.9.4 gets wrong on the same control plane, each as a test; and what it gets right, as a bar."""

import time
from datetime import datetime

import fake_nodes
import node_pools
import operated
from cluster_jobs import CHILDREN, Cluster, report, since
from operated import Operated
from stories import Stories

story = Stories("cluster")
telling = story.fixture()
cluster = operated.with_settings()


@story
def test_the_deadline_fires_although_nothing_else_happens(cluster: Cluster) -> None:
    """TFJob: Running at 75 s with activeDeadlineSeconds 10; its delayed queue is a fake."""
    job = cluster.start({"activeDeadlineSeconds": 20})
    job.until_phase("Failed")
    made = cluster.view.history("jobs", job.namespace, job.object)
    started = next(
        one.body["status"]["startTime"] for one in made if one.body.get("status", {}).get("startTime")
    )
    # The API's own times, of whole seconds: when a test sees something depends on how busy the machine is.
    ended = datetime.fromisoformat(job.status["completionTime"])
    after = (ended - datetime.fromisoformat(started)).total_seconds()
    print(f"deadline of 20 s: Failed after {after:.0f} s")
    assert 19 <= after <= 25


@story
def test_no_pod_runs_on_after_a_failure(cluster: Cluster) -> None:
    """TFJob: all pods run on after the deadline, unless cleanPodPolicy says otherwise."""
    job = cluster.start()
    job.change(activeDeadlineSeconds=1)
    job.until_phase("Failed")
    job.until(lambda: not job.running_pods(), "end of the pods")


@story
def test_a_worker_that_is_killed_again_and_again_fails_the_job(cluster: Cluster) -> None:
    """TFJob: 40 restarts in 90 s with backoffLimit 2 and exit 137, 288 writes, no end."""
    job = cluster.start()
    assert job.end_again_and_again(1, 137) == 6
    assert job.failure["exitCode"] == 137


@story
def test_the_gang_survives_the_loss_of_a_worker(cluster: Cluster) -> None:
    """TFJob: the job fails at once, or only that pod is made again and nobody tells the others: a race."""
    job = cluster.start()
    others = [job.uid(index) for index in (0, 1, 3)]
    old = job.kill(2)
    job.until(lambda: job.worker_runs(2, unlike=old), "new worker 2")
    assert [job.uid(index) for index in (0, 1, 3)] == others
    job.publish()
    job.until_phase("Complete")
    assert "Failed" not in job.phases


@story
def test_a_survivor_that_leaves_with_an_error_of_its_own_does_not_end_the_job(cluster: Cluster) -> None:
    """TFJob: a survivor's Python error is exit 1, which it takes for permanent."""
    job = cluster.start()
    old = job.fate(1, 1)
    job.until(lambda: job.worker_runs(1, unlike=old), "new worker 1")
    job.publish()
    job.until_phase("Complete")


@story
def test_a_preempted_worker_does_not_fail_the_job(cluster: Cluster) -> None:
    """TFJob #999, #1560: preemption fails jobs."""
    job = cluster.start()
    old = job.uid(3)
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    job.write_status(job.pod(3), {"conditions": [condition]})
    job.kill(3)
    job.until(lambda: job.worker_runs(3, unlike=old), "new worker 3")
    assert "Failed" not in job.phases


@story
def test_a_node_that_is_down_does_not_hang_the_job(cluster: Cluster) -> None:
    """TFJob #2072: it waits for the pod that is stuck Terminating, for ever."""
    job = cluster.start({"deadNodeTimeoutSeconds": 1, **node_pools.add(cluster.plane, "down", 5)})
    old = job.uid(2)
    fake_nodes.lose(cluster.plane.api, job.pod(2)["spec"]["nodeName"])
    job.kill(2, gracePeriodSeconds=1)
    job.until(lambda: job.worker_runs(2, unlike=old), "new worker 2")


@story
def test_running_is_shown_before_the_end_also_of_many_short_jobs(cluster: Cluster) -> None:
    """TFJob: with 100 jobs at default flags none ever showed Running."""
    namespace = cluster.namespace()
    many = [cluster.job(name=f"short-{number}", namespace=namespace).apply() for number in range(12)]
    for job in many:
        job.until_phase("Running")
        job.publish()
    for job in many:
        job.until_phase("Complete")
        # On a busy machine the moment between the chief's end and the Job's may be long enough to be told.
        assert [one for one in job.phases if one != "Exporting"][-2:] == ["Running", "Complete"]


@story
def test_the_phase_column_is_true_after_a_resume(cluster: Cluster) -> None:
    """TFJob and TrainJob print the last condition whatever its status: Suspended while running."""
    job = cluster.start()
    job.change(suspend=True)
    job.until_phase("Suspended")
    job.change(suspend=False)
    job.until_running()
    shown = cluster.plane.kubectl("get", "ftj", job.name, "-n", job.namespace, "--no-headers")
    assert "Suspended" not in shown
    assert job.condition("Admitted")["status"] == "True"


@story
def test_a_failure_names_pod_and_reason_in_its_event(cluster: Cluster) -> None:
    """TFJob #2220, #869: events of failed jobs carry neither."""
    job = cluster.start()
    job.fate(1, 65, report(65, reason="BadImage", message="tulips/7.jpg cannot be decoded."))
    job.until_phase("Failed")
    event = job.until(lambda: job.events("Failed"), "event")[0]
    assert event["type"] == "Warning"
    assert "BadImage" in event["message"]
    assert "worker 1" in event["message"]


@story
def test_objects_and_events_do_not_grow_with_the_workers(cluster: Cluster) -> None:
    """TFJob: a pod, a Service and two Events for each worker, from one bucket of 20 writes a second."""
    namespace = cluster.namespace()
    jobs = [
        cluster.job({"workers": workers}, name=f"gang-{workers}", namespace=namespace).apply()
        for workers in (1, 16)
    ]
    for job in jobs:
        job.until_phase("Running")
        job.publish()
        job.until_phase("Complete")
        job.until(lambda job=job: job.events("Completed"), "event about the end")
    made = {kind: len(cluster.view.ever(kind, namespace)) for kind in CHILDREN if kind != "pods"}
    assert made | {"services": 2, "jobs": 2, "networkpolicies": 2} == made
    # One more or less: where the pods are quicker than the first status, nobody is told that they came to be ready.
    counted = [len(job.events()) for job in jobs]
    assert abs(counted[0] - counted[1]) <= 1


@story
def test_ttl_and_resume_are_as_prompt_as_tfjobs(cluster: Cluster) -> None:
    """TFJob does these right: 10 s of TTL in 9.1 s, suspend in 0.4 s."""
    job = cluster.start({"ttlSecondsAfterFinished": 10})
    asked = time.monotonic()
    job.change(suspend=True)
    job.until_phase("Suspended")
    print(f"suspend: {since(asked):.2f} s")
    job.until(lambda: not job.pods(), "end of the pods")
    asked = time.monotonic()
    job.change(suspend=False)
    job.until(lambda: job.phase not in ("Suspended", ""), "resume")
    print(f"resume: {since(asked):.2f} s")
    job.until_running()
    job.publish()
    job.until_gone()
    assert job.phases[-1] == "Complete"
    finished = next(
        version.body["status"]["completionTime"]
        for version in job.history
        if version.body.get("status", {}).get("completionTime")
    )
    deleted = time.time() - since(next(version.at for version in job.history if version.deleted))
    after = deleted - datetime.fromisoformat(finished).timestamp()
    print(f"ttl of 10 s: {after:.1f} s")
    # completionTime has whole seconds, cut off, and so has the clock that the operator takes from the API server.
    assert 9 <= after <= 16


def test_nothing_is_doubled_or_stuck_when_the_operator_is_killed_amid_creation(cluster: Operated) -> None:
    """TFJob does this right."""
    namespace = cluster.namespace()
    many = [cluster.job({"workers": 1}, name=f"many-{number}", namespace=namespace) for number in range(20)]
    for job in many:
        job.apply()
    many[0].until(lambda: len(cluster.view.all("jobs", namespace)) > 2, "third Job")
    cluster.operator.kill()
    done = len(cluster.view.all("jobs", namespace))
    cluster.operator.start()
    for job in many:
        job.until_running()
    print(f"killed when {done} of 20 Jobs were made")
    for kind in ("jobs", "services", "configmaps"):
        for job in many:
            made = cluster.view.history(kind, namespace, job.object)
            assert len({version.body["metadata"]["uid"] for version in made}) == 1
