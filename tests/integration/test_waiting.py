"""How long it takes with everything as shipped: the reason why workers do not start, a lost worker, the end."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import control_plane
import fake_nodes
import injection
import node_pools
import operated
from api_client import Access, Api, ApiError
from cluster_jobs import Cluster, ClusterJob
from cluster_view import Body
from control_plane_commands import Options
from fake_trainers import FakeTrainers
from finetune_api.errors import BadConfiguration
from finetune_operator import rbac
from finetune_operator.settings import Settings
from operated import Operated
from stories import Stories
from waiting import eventually

story = Stories("stock")
telling = story.fixture()
stock = operated.stock
WITHIN = 60.0
GUARDED = "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement"


@pytest.fixture(scope="module")
def guarded() -> Iterator[Operated]:
    """A cluster that asks for a right to an owner's finalizers before an object may block its deletion."""
    with control_plane.running(Options(nodes=1, api_flags=[GUARDED])) as plane:
        plane.apply_crd(operated.CRD)
        yield from operated.operate(plane, {})


def _says(job: ClusterJob, reason: str, words: str) -> None:
    """Within a minute of its creation the job shows `reason` and `words`, in a column and a condition."""
    began = time.monotonic()
    job.until(lambda: job.condition("WorkersReady").get("reason") == reason, reason, WITHIN)
    print(f"{reason}: {time.monotonic() - began:.1f} s")
    assert job.condition("WorkersReady")["status"] == "False"
    assert words in job.condition("WorkersReady")["message"]
    wide = job.cluster.plane.kubectl("get", "ftj", job.name, "-n", job.namespace, "-o", "wide")
    assert reason in wide
    assert words.split()[0] in wide


@story
def test_a_quota_that_is_exceeded_is_named(stock: Cluster) -> None:
    job = stock.job()
    quota: Body = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small"},
        "spec": {"hard": {"pods": "2"}},
    }
    stock.plane.api.create("resourcequotas", job.namespace, quota)
    _until_counted(stock, job, "small")
    _says(job.apply(), "QuotaExceeded", "small")


@story
def test_a_namespace_without_room_for_the_objects_themselves_is_named(stock: Cluster) -> None:
    """The quota refuses the operator's own create, not only the pods'."""
    job = stock.job()
    quota: Body = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"count/services": "0"}},
    }
    stock.plane.api.create("resourcequotas", job.namespace, quota)
    _until_counted(stock, job, "none")
    _says(job.apply(), "QuotaExceeded", "none")
    stock.plane.api.delete("resourcequotas", job.namespace, "none")
    job.until_running()


def _until_counted(stock: Cluster, job: ClusterJob, quota: str) -> None:
    """Before that a quota may refuse everything, or nothing."""
    api = stock.plane.api
    api.until("resourcequotas", job.namespace, quota, lambda one: one.get("status", {}).get("hard"))


@story
def test_pods_that_a_limit_refuses_are_named(stock: Cluster) -> None:
    job = stock.job()
    limits: Body = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "tiny"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "1Mi"}}]},
    }
    stock.plane.api.create("limitranges", job.namespace, limits)
    _says(job.apply(), "PodRejected", "memory")


@story
def test_pods_that_pod_security_refuses_are_named(stock: Cluster) -> None:
    """`restricted` admits our pods as they are; here somebody's injector adds what it does not admit."""
    injection.install(stock.plane)
    job = stock.job(namespace=stock.namespace(injection.INTO))
    eventually(lambda: injection.refuses(stock.plane, job.namespace), what="injection")
    _says(job.apply(), "PodRejected", "PodSecurity")


@story
def test_pods_that_fit_no_node_are_named(stock: Cluster) -> None:
    job = stock.job({"placement.nodeSelector": {"example.com/zone": "nowhere"}}).apply()
    _says(job, "Unschedulable", "node")


@story
def test_an_image_that_cannot_be_pulled_is_named(stock: Cluster) -> None:
    """kwok pulls nothing: it writes the container's state as a kubelet does."""
    message = 'Back-off pulling image "example.com/no/such:1"'
    stuck = {"waiting-reason": "ImagePullBackOff", "waiting-message": message}
    _says(stock.job().coming({"any": stuck}).apply(), "ImagePull", "example.com/no/such:1")


@story
def test_a_secret_that_the_workers_wait_for_is_named(stock: Cluster) -> None:
    """Credentials are an optional mount: it is the supervisor that misses them."""
    job = stock.start()
    with FakeTrainers() as trainers:
        chief = trainers.serve(job.pod(0))
        happened = "Secret s3-credentials has no key accessKeyId."
        chief.wait_for(BadConfiguration("SecretMissing", happened, fix="add it to the secret"))
        job.until(lambda: "SecretMissing" in job.status["summary"]["reason"], "reason", WITHIN)
        assert "s3-credentials" in job.condition("Training")["message"]


@story
def test_an_object_that_cannot_be_mounted_is_named(stock: Cluster) -> None:
    """kwok mounts nothing: the Event is written by the test, as a kubelet writes it."""
    job = stock.job().coming({"any": {"stay-pending": "yes"}}).apply()
    message = 'MountVolume.SetUp failed for volume "own" : secret "s3-ca" not found'
    stock.plane.pod_event(job.namespace, job.pod(1)["metadata"]["name"], "FailedMount", message)
    _says(job, "SecretMissing", "s3-ca")


@story
def test_a_volume_that_cannot_be_attached_is_named(stock: Cluster) -> None:
    """As above, written by the test."""
    job = stock.job().coming({"any": {"stay-pending": "yes"}}).apply()
    message = "AttachVolume.Attach failed for volume pvc-1: timed out"
    stock.plane.pod_event(job.namespace, job.pod(0)["metadata"]["name"], "FailedAttachVolume", message)
    _says(job, "VolumeUnbound", "pvc-1")


@story
def test_the_fifth_loss_of_a_worker_is_replaced_as_fast_as_the_first(stock: Cluster) -> None:
    """By itself the controller manager, as shipped here, waits 10, 20, 40, 80 and 160 s."""
    job = stock.start()
    delays = []
    with FakeTrainers() as trainers:
        chief = trainers.serve(job.pod(0))
        for loss in range(5):
            chief.start(generation=loss + 1)
            chief.step(0, 0, loss + 1)
            chief.saved(f"checkpoint-{loss}", loss + 1)
            job.until(lambda: not job.losses(2), "forgiven loss")
            killed, old = time.monotonic(), job.kill(2)
            job.until(lambda old=old: job.worker_runs(2, unlike=old), "new worker 2")
            delays.append(time.monotonic() - killed)
    print("replaced after", ", ".join(f"{delay:.1f} s" for delay in delays))
    assert max(delays) < min(delays) + 5


@story
def test_wait_for_finished_returns_when_the_job_ends(stock: Cluster) -> None:
    _waits(stock.start())


@story
def test_wait_for_finished_returns_also_with_a_worker_stuck_on_a_dead_node(stock: Cluster) -> None:
    job = stock.start({"deadNodeTimeoutSeconds": 600, **node_pools.add(stock.plane, "silent", 4)})
    fake_nodes.lose(stock.plane.api, job.pod(2)["spec"]["nodeName"])
    _waits(job)
    assert any(pod["status"]["phase"] == "Running" for pod in job.pods())


def _waits(job: ClusterJob) -> None:
    command = ("wait", f"ftj/{job.name}", "-n", job.namespace, "--for=condition=Finished", "--timeout=60s")
    with ThreadPoolExecutor(1) as thread:
        returned = thread.submit(lambda: (job.cluster.plane.kubectl(*command), time.monotonic()))
        job.publish()
        job.until(lambda: job.job["status"].get("succeeded"), "succeeded chief")
        ended = time.monotonic()
        _, at = returned.result()
    print(f"kubectl wait returned {at - ended:.2f} s after the chief's end")
    assert at - ended <= 5


@story.on("guarded")
def test_where_finalizers_are_guarded_a_job_starts_as_soon_as_the_cluster_knows_its_kind(
    guarded: Operated,
) -> None:
    """As in OpenShift. The API server's guard learns of a new kind up to 30 s after its CRD was made."""
    job, began = guarded.job().apply(), time.monotonic()
    job.until_running(within=120)
    print(f"running {time.monotonic() - began:.1f} s after the CRD was made")
    rules = rbac.rules(Settings())
    without = [rule for rule in rules if "finetunejobs/finalizers" not in rule["resources"]]
    api = Api(Access.read(guarded.plane.user("without", without)))
    found = guarded.plane.api.get("services", job.namespace, job.object)
    again = {**found, "metadata": {"name": "again", "ownerReferences": found["metadata"]["ownerReferences"]}}
    with pytest.raises(ApiError, match="blockOwnerDeletion"):
        api.create("services", job.namespace, again)
    api.close()
