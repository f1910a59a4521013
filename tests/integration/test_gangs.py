"""Queues and gang schedulers, simulated: their CRDs are here, none of their controllers runs.

What Kueue does to a Job and its Workload the test does, as Kueue's documents describe it.
"""

import gang_crds
import operated
from cluster_jobs import Cluster, ClusterJob
from stories import Stories

GANGS = {name: {"enabled": True} for name in ("kueue", "volcano", "coscheduling", "podGroup")}
TIMINGS = operated.QUICK["timings"] | {"queueWaitSeconds": 3.0}

story = Stories("cluster")
telling = story.fixture()
cluster = operated.with_settings({"gangs": GANGS, "timings": TIMINGS}, before=gang_crds.install)

KUEUE = {"scheduling.gang": "Kueue", "scheduling.queueName": "team-a", "scheduling.queuePriorityClass": "low"}


def _queued(cluster: Cluster) -> tuple[ClusterJob, str]:
    """A job whose Workload is there, as Kueue makes it of a suspended Job; and the Workload's name."""
    job = cluster.job(KUEUE).apply()
    job.until(lambda: job.job, "Job")
    workload = gang_crds.workload(job)
    cluster.plane.api.create("workloads", job.namespace, workload)
    return job, workload["metadata"]["name"]


def _condition(
    cluster: Cluster, job: ClusterJob, workload: str, *conditions: tuple[str, str, str, str]
) -> None:
    stamp = {"lastTransitionTime": "2026-11-22T12:00:00Z"}
    written = [
        dict(zip(("type", "status", "reason", "message"), one, strict=True)) | stamp for one in conditions
    ]
    cluster.plane.api.patch(
        "workloads", job.namespace, workload, {"status": {"conditions": written}}, "status"
    )


def _admit(cluster: Cluster, job: ClusterJob, workload: str) -> None:
    """As Kueue starts an admitted Job: node selector of the flavour into the template, then suspend off."""
    _condition(
        cluster,
        job,
        workload,
        ("QuotaReserved", "True", "QuotaReserved", ""),
        ("Admitted", "True", "Admitted", ""),
    )
    template = {"spec": {"nodeSelector": {"kubernetes.io/os": "linux"}}}
    cluster.plane.api.patch(
        "jobs", job.namespace, job.object, {"spec": {"suspend": False, "template": template}}
    )


@story
def test_kueue_simulated_job_waits_suspended_with_the_queues_own_reason(cluster: Cluster) -> None:
    job, workload = _queued(cluster)
    assert job.job["spec"]["suspend"] is True
    labels = job.job["metadata"]["labels"]
    assert (labels["kueue.x-k8s.io/queue-name"], labels["kueue.x-k8s.io/priority-class"]) == ("team-a", "low")
    message = "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu"
    _condition(cluster, job, workload, ("QuotaReserved", "False", "Pending", message))
    job.until(
        lambda: "insufficient unused quota" in job.condition("Admitted").get("message", ""), "Kueue's words"
    )
    assert job.phase == "Queued"
    assert job.condition("Admitted")["status"] == "False"
    assert not job.pods()


@story
def test_kueue_simulated_admission_starts_the_job_and_its_changes_stay(cluster: Cluster) -> None:
    job, workload = _queued(cluster)
    job.until_phase("Queued")
    _admit(cluster, job, workload)
    job.until_running()
    assert job.condition("Admitted")["status"] == "True"
    assert job.job["spec"]["template"]["spec"]["nodeSelector"]["kubernetes.io/os"] == "linux"
    job.publish()
    job.until_phase("Complete")


@story
def test_kueue_simulated_preemption_puts_the_job_back_into_the_queue(cluster: Cluster) -> None:
    job, workload = _queued(cluster)
    _admit(cluster, job, workload)
    job.until_running()
    _condition(
        cluster,
        job,
        workload,
        ("Evicted", "True", "Preempted", "Preempted to accommodate a workload"),
        ("Admitted", "False", "NoReservation", ""),
    )
    cluster.plane.api.patch("jobs", job.namespace, job.object, {"spec": {"suspend": True}})
    job.until_phase("Queued")
    # The operator hears of Workloads and of Jobs by two watches.
    job.until(lambda: "Preempted" in job.condition("Admitted").get("reason", ""), "reason of the preemption")
    _admit(cluster, job, workload)
    job.until_running()
    assert job.condition("Failed")["status"] == "False"


@story
def test_kueue_simulated_suspend_goes_through_the_workload_and_leaves_the_job_alone(cluster: Cluster) -> None:
    job, workload = _queued(cluster)
    _admit(cluster, job, workload)
    job.until_running()
    job.change(suspend=True)
    cluster.plane.api.until(
        "workloads", job.namespace, workload, lambda body: body["spec"]["active"] is False
    )
    assert job.job["spec"]["suspend"] is False
    cluster.plane.api.patch("jobs", job.namespace, job.object, {"spec": {"suspend": True}})
    job.until_phase("Suspended")
    job.change(suspend=False)
    cluster.plane.api.until("workloads", job.namespace, workload, lambda body: body["spec"]["active"] is True)
    _admit(cluster, job, workload)
    job.until_running()


@story
def test_kueue_simulated_queue_that_nobody_serves_is_named_and_nothing_runs(cluster: Cluster) -> None:
    job = cluster.job(KUEUE).apply()
    job.until(lambda: job.condition("Admitted").get("reason") == "QueueNotEnforced", "QueueNotEnforced")
    assert job.job["spec"]["suspend"] is True
    assert not job.pods()
    assert "team-a" in job.condition("Admitted")["message"]


@story
def test_coscheduling_simulated_group_comes_before_the_pods_and_goes_with_the_job(cluster: Cluster) -> None:
    job = cluster.job({"scheduling.gang": "Coscheduling"}).apply()
    pod = job.pod(3)
    group = cluster.plane.api.get("podgroups", job.namespace, job.object)
    assert group["spec"]["minMember"] == 4
    assert group["metadata"]["ownerReferences"][0]["uid"] == job.body["metadata"]["uid"]
    assert pod["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"] == job.object
    assert pod["spec"]["schedulerName"] == "scheduler-plugins-scheduler"
    assert group["metadata"]["creationTimestamp"] <= pod["metadata"]["creationTimestamp"]
    job.delete()
    job.until_gone()
    # The garbage collector looks for new kinds of objects every 30 s.
    cluster.plane.api.until_gone("podgroups", job.namespace, job.object, within=120)


@story
def test_volcano_finds_its_annotations_on_job_and_pods(cluster: Cluster) -> None:
    job = cluster.job({"scheduling.gang": "Volcano", "scheduling.queueName": "team-a"}).apply()
    pod = job.pod(0)
    job.until(lambda: job.job, "Job")
    assert job.job["metadata"]["annotations"]["scheduling.volcano.sh/group-min-member"] == "4"
    assert pod["metadata"]["annotations"]["scheduling.volcano.sh/queue-name"] == "team-a"
    assert pod["spec"]["schedulerName"] == "volcano"


@story
def test_the_native_pod_group_is_refused_where_the_api_server_has_none(cluster: Cluster) -> None:
    job = cluster.job({"scheduling.gang": "PodGroup"}).apply().until_phase("Failed")
    assert job.failure["reason"] == "GangRefused"
    assert "PodGroup" in job.status["summary"]["reason"]
    assert set(job.left()) == {"finetunejobs"}
