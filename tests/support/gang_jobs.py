"""A bare Indexed Job of four workers, for tests of the control plane itself."""

from api_client import Body
from control_plane import ControlPlane
from waiting import eventually

JOB = "gang"
WORKERS = 4


def create(plane: ControlPlane, namespace: str) -> Body:
    """Pods that are lost are replaced once they have ended; exit code 64 fails the Job; index 0 decides success."""
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [64]}},
    ]
    container = {"name": "trainer", "image": "trainer", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    dead_node = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
    spec = {
        "completionMode": "Indexed",
        "completions": WORKERS,
        "parallelism": WORKERS,
        "backoffLimitPerIndex": 3,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": rules},
        "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "containers": [container],
                "tolerations": [{**dead_node, "tolerationSeconds": 1}],
            }
        },
    }
    return plane.api.create("jobs", namespace, {"metadata": {"name": JOB}, "spec": spec})


def run(plane: ControlPlane, namespace: str) -> dict[int, Body]:
    """Its pods by index, once all of them run."""
    create(plane, namespace)
    plane.api.until("jobs", namespace, JOB, lambda job: job.get("status", {}).get("ready") == WORKERS)
    return plane.pods_of(namespace, JOB)


def wait_replaced(plane: ControlPlane, namespace: str, index: int, old: Body, within: float = 60.0) -> None:
    """Until another pod of this index runs."""

    def replaced() -> bool:
        pod = plane.pods_of(namespace, JOB).get(index)
        return pod is not None and name(pod) != name(old) and pod["status"]["phase"] == "Running"

    eventually(replaced, within, lambda: str(plane.kubectl("get", "pods", "-n", namespace)))


def name(pod: Body) -> str:
    return str(pod["metadata"]["name"])
