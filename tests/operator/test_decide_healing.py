"""Pods that nobody reports on any more, and delays that are forgotten."""

from datetime import timedelta

from finetune_operator.plan import Delete, Patch
from finetune_operator.settings import Settings
from finetune_operator.views import FAILURES
from pretend_cluster import PretendCluster
from pretend_objects import time


def dying(grace=30, node_gone=True, settings=None):
    """Worker 2 is being deleted; its node has not answered since then."""
    cluster = PretendCluster(settings=settings).run()
    if node_gone:
        taint = {"key": "node.kubernetes.io/unreachable", "timeAdded": time(cluster.now)}
        cluster.nodes["node-2"] = {"metadata": {"name": "node-2"}, "spec": {"taints": [taint]}}
    cluster.pod(2)["metadata"] |= {
        "deletionTimestamp": time(cluster.now + timedelta(seconds=grace)),
        "deletionGracePeriodSeconds": grace,
    }
    return cluster


def buried(cluster):
    return [action for action in cluster.writes if isinstance(action, Delete) and action.kind == "Pod"]


def test_a_pod_on_a_dead_node_is_declared_failed_and_removed():
    cluster = dying()
    uid = cluster.pod(2)["metadata"]["uid"]
    assert cluster.settle().again <= 120
    cluster.after(118)
    assert not buried(cluster)
    plan = cluster.after(3, settle=False)
    patch, delete = plan.actions
    assert isinstance(patch, Patch)
    assert (patch.kind, patch.uid, patch.subresource) == ("Pod", uid, "status")
    assert patch.body["status"]["phase"] == "Failed"
    assert patch.body["status"]["conditions"][0]["type"] == "DisruptionTarget"
    assert delete == Delete("Pod", patch.name, uid, grace_seconds=0)


def test_what_else_is_known_of_a_dead_pod_stays():
    cluster = dying()
    lost = cluster.pod(2)
    cluster.settle()
    cluster.after(121)
    assert cluster.pods.count(lost) == 0
    held = {one["type"]: one["status"] for one in lost["status"]["conditions"]}
    assert held == {"Ready": "True", "PodScheduled": "True", "DisruptionTarget": "True"}


def test_a_node_that_comes_back_keeps_its_pod():
    cluster = dying()
    cluster.after(100)
    cluster.nodes.clear()
    cluster.after(1000)
    assert not buried(cluster)


def test_a_dead_node_is_granted_no_grace():
    cluster = dying(grace=600)
    cluster.after(118)
    assert not buried(cluster)
    cluster.after(3)
    assert buried(cluster)


def test_a_pod_that_nobody_deletes_stays_on_a_dead_node():
    cluster = dying()
    del cluster.pod(2)["metadata"]["deletionTimestamp"]
    cluster.after(1000)
    assert not buried(cluster)


def test_a_pod_deleted_by_force_is_freed_after_moments():
    cluster = dying(grace=0, node_gone=False)
    cluster.after(4)
    assert not buried(cluster)
    cluster.after(2)
    assert buried(cluster)


def test_a_pod_that_its_node_still_ends_is_left_to_it():
    cluster = dying(node_gone=False)
    cluster.after(10_000)
    assert not buried(cluster)


def test_without_the_permission_nothing_is_freed():
    cluster = dying(settings=Settings.model_validate({"deadNodes": False}))
    cluster.after(10_000)
    assert not buried(cluster)


def test_a_loss_from_outside_is_told_as_such():
    cluster = PretendCluster().run()
    disrupted = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    cluster.end_pod(2, 143, conditions=[disrupted])
    cluster.settle()
    assert (cluster.status.phase, cluster.status.last_failure.reason) == ("Restarting", "Evicted")


def replaced(failures="2"):
    cluster = PretendCluster().run()
    cluster.after(100)
    cluster.end_pod(2, 143)
    cluster.settle()
    cluster.add_pod(2)
    cluster.make_ready(2)
    cluster.pod(2)["metadata"]["annotations"] |= dict.fromkeys(FAILURES, failures)
    cluster.settle()
    return cluster


def forgotten(cluster):
    return all(cluster.pod(2)["metadata"]["annotations"][key] == "0" for key in FAILURES)


def test_old_losses_are_forgotten_once_something_new_was_saved():
    cluster = replaced()
    cluster.after(20)
    cluster.hear(generation=2, checkpoint="0000000040-s00-e0001-g0001", checkpoint_age_seconds=90.0)
    cluster.settle()
    assert not forgotten(cluster), "that was saved before the loss"
    cluster.after(20)
    cluster.hear(generation=2, checkpoint="0000000060-s00-e0001-g0002", checkpoint_age_seconds=5.0)
    plan = cluster.step()
    assert [action.kind for action in plan.actions] == ["Pod"]
    assert forgotten(cluster)
    assert cluster.settle().actions == ()


def test_old_losses_are_remembered_as_long_as_nothing_was_saved():
    cluster = replaced()
    cluster.after(20)
    cluster.hear(generation=2, checkpoint="0000000040-s00-e0001-g0001")
    cluster.settle()
    assert not forgotten(cluster)
