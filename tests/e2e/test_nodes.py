"""The nodes themselves, before anything of this project runs on them."""

import node_images
import node_talk
from api_client import Body, has_condition
from node_cluster import NodeCluster
from node_store import PORT


def test_two_pods_on_two_nodes_find_each_other_by_name(cluster: NodeCluster) -> None:
    cluster.load(node_images.talk(cluster.folder))
    namespace = cluster.plane.namespace(labels={"pod-security.kubernetes.io/enforce": "restricted"})
    api = cluster.plane.api
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {"app": "talk"}}
    api.create("services", namespace, {"metadata": {"name": "talk"}, "spec": spec})
    api.create(
        "jobs",
        namespace,
        node_talk.job("talk", 2, ["2222", "2", f"talk-0.talk.{namespace}.svc"], spread=True),
    )
    api.until("jobs", namespace, "talk", has_condition("Complete"), within=60)
    pods = api.list("pods", namespace)
    assert {pod["spec"]["nodeName"] for pod in pods} == {"node-0", "node-1"}
    addresses = {pod["status"]["podIP"].rpartition(".")[0] for pod in pods}
    assert addresses == {cluster.network.gateway(index).rpartition(".")[0] for index in (0, 1)}
    (first,) = (pod["metadata"]["name"] for pod in pods if _index(pod) == "0")
    assert "heard worker 1" in cluster.plane.kubectl("logs", first, "-n", namespace)


def test_pods_reach_the_api_and_the_store_and_nothing_outside(cluster: NodeCluster) -> None:
    cluster.load(node_images.talk(cluster.folder))
    namespace = cluster.plane.namespace()
    api = cluster.plane.api
    inside = ["kubernetes.default.svc:443", f"{cluster.network.api}:443", f"s3.storage:{PORT}"]
    api.create("jobs", namespace, node_talk.job("inside", 1, ["reach", *inside]))
    api.create(
        "jobs",
        namespace,
        node_talk.job("outside", 1, ["blocked", "192.0.2.1:80", "169.254.169.254:80", "1.1.1.1:53"]),
    )
    for name in ("inside", "outside"):
        api.until("jobs", namespace, name, has_condition("Complete"), within=60)


def _index(pod: Body) -> str:
    return str(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])
