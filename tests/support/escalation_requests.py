"""What somebody who may create FineTuneJobs tries without one: requests that their rights do not reach."""

from typing import Any

from api_client import MERGE_PATCH, Api

_JOBS = "/apis/finetune.dev/v1alpha1/namespaces"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_POLICIES = "/apis/admissionregistration.k8s.io/v1"
_POD = {"metadata": {"name": "mine"}, "spec": {"containers": [{"name": "a", "image": "busybox"}]}}
_DONE = {"status": {"phase": "Complete", "artifacts": {"modelURI": "s3://evil/model"}}}

REQUESTS: dict[str, tuple[str, str, Any]] = {
    "status of a job": ("PATCH", _JOBS + "/{ns}/finetunejobs/flowers/status", _DONE),
    "spec of a job": ("PATCH", _JOBS + "/{ns}/finetunejobs/flowers", {"spec": {"suspend": True}}),
    "end of a job": ("DELETE", _JOBS + "/{ns}/finetunejobs/flowers", None),
    "all jobs of the namespace": ("DELETE", _JOBS + "/{ns}/finetunejobs", None),
    "job in another namespace": ("POST", _JOBS + "/kube-system/finetunejobs", {"metadata": {"name": "a"}}),
    "secret": ("GET", "/api/v1/namespaces/{ns}/secrets/admin-token", None),
    "all secrets": ("GET", "/api/v1/secrets", None),
    "pod of one's own": ("POST", "/api/v1/namespaces/{ns}/pods", _POD),
    "Job of one's own": ("POST", "/apis/batch/v1/namespaces/{ns}/jobs", {"metadata": {"name": "mine"}}),
    "Job of a job": ("PATCH", "/apis/batch/v1/namespaces/{ns}/jobs/ft-flowers", {"spec": {"suspend": True}}),
    "job.json of a job": (
        "PATCH",
        "/api/v1/namespaces/{ns}/configmaps/ft-flowers",
        {"data": {"job.json": "{}"}},
    ),
    "reading a job.json": ("GET", "/api/v1/namespaces/{ns}/configmaps/ft-flowers", None),
    "Service of a job": ("PATCH", "/api/v1/namespaces/{ns}/services/ft-flowers", {"spec": {"selector": {}}}),
    "NetworkPolicy of a job": (
        "DELETE",
        "/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies/ft-flowers",
        None,
    ),
    "command in a worker": ("POST", "/api/v1/namespaces/{ns}/pods/ft-flowers-0/exec?command=id", None),
    "attaching to a worker": ("POST", "/api/v1/namespaces/{ns}/pods/ft-flowers-0/attach", None),
    "port of a worker": ("POST", "/api/v1/namespaces/{ns}/pods/ft-flowers-0/portforward", None),
    "metrics of a worker": ("GET", "/api/v1/namespaces/{ns}/pods/ft-flowers-0:9090/proxy/metrics", None),
    "log of a worker": ("GET", "/api/v1/namespaces/{ns}/pods/ft-flowers-0/log", None),
    "container in a worker": ("PATCH", "/api/v1/namespaces/{ns}/pods/ft-flowers-0/ephemeralcontainers", {}),
    "eviction of a worker": ("POST", "/api/v1/namespaces/{ns}/pods/ft-flowers-0/eviction", {}),
    "token of a service account": ("POST", "/api/v1/namespaces/{ns}/serviceaccounts/admin/token", {}),
    "token of the operator": (
        "POST",
        "/api/v1/namespaces/default/serviceaccounts/finetune-operator/token",
        {},
    ),
    "Event about somebody": ("POST", "/api/v1/namespaces/{ns}/events", {"metadata": {"name": "a"}}),
    "lease of the operator": (
        "PATCH",
        "/apis/coordination.k8s.io/v1/namespaces/default/leases/finetune-operator",
        {"spec": {"holderIdentity": "me"}},
    ),
    "right of one's own": ("POST", _RBAC + "/namespaces/{ns}/rolebindings", {"metadata": {"name": "mine"}}),
    "the CRD": (
        "DELETE",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/finetunejobs.finetune.dev",
        None,
    ),
    "the policies": ("DELETE", _POLICIES + "/validatingadmissionpolicies/any", None),
    "the policies' bindings": ("DELETE", _POLICIES + "/validatingadmissionpolicybindings/any", None),
    "the nodes": ("GET", "/api/v1/nodes", None),
}
"""By what is reached for: method, path and body."""


def ask(api: Api, name: str, namespace: str) -> None:
    """Try it. Raises ApiError."""
    method, path, body = REQUESTS[name]
    api.request(method, path.format(ns=namespace), body, MERGE_PATCH if method == "PATCH" else "")
