"""The last word of a worker 0 that has published, when its pod is gone before anybody could decide."""

from finetune_operator.settings import Settings
from finetune_operator.world import World
from pretend_cluster import PretendCluster
from pretend_objects import PUBLISHED


def known(cluster):
    """A world that has been told all of it."""
    world = World(Settings(), lambda _: None, lambda _: None)
    cluster.job["metadata"] |= {"resourceVersion": "5"}
    world.resources.put(cluster.body)
    world.jobs.put(cluster.job)
    for pod in cluster.pods:
        world.pods.put(pod | {"metadata": {**pod["metadata"], "resourceVersion": "7"}})
    return world


def pods_of(world):
    _, observed = world.gather(("ns", "flowers"))
    return [pod.index for pod in observed.pods]


def test_it_is_remembered():
    cluster = PretendCluster({"workers": 2}).run()
    cluster.end_pod(0, 0, PUBLISHED)
    cluster.end_pod(1, 143)
    world = known(cluster)
    for pod in cluster.pods:
        world.pods.drop(pod["metadata"]["uid"])
    assert pods_of(world) == [0]


def test_pods_that_have_published_nothing_are_forgotten():
    cluster = PretendCluster({"workers": 2}).run()
    cluster.end_pod(0, 143)
    world = known(cluster)
    world.pods.drop(cluster.pod(0)["metadata"]["uid"])
    assert pods_of(world) == [1]


def test_a_new_job_has_nothing_to_do_with_it():
    cluster = PretendCluster({"workers": 2}).run()
    cluster.end_pod(0, 0, PUBLISHED)
    world = known(cluster)
    world.pods.drop(cluster.pod(0)["metadata"]["uid"])
    world.jobs.drop(cluster.job["metadata"]["uid"])
    cluster.job["metadata"] |= {"uid": "another", "resourceVersion": "9"}
    world.jobs.put(cluster.job)
    assert pods_of(world) == []
