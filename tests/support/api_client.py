"""The Kubernetes API for tests: plain JSON over one connection pool, no retries, no cache."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
import yaml

from waiting import PATIENCE, eventually

Body = dict[str, Any]

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_GROUPS = {
    "/api/v1": "bindings configmaps events limitranges namespaces nodes persistentvolumeclaims pods"
    " podtemplates resourcequotas secrets serviceaccounts services",
    "/apis/batch/v1": "jobs",
    "/apis/finetune.dev/v1alpha1": "finetunejobs",
    "/apis/networking.k8s.io/v1": "networkpolicies",
    "/apis/coordination.k8s.io/v1": "leases",
    "/apis/rbac.authorization.k8s.io/v1": "roles rolebindings clusterroles clusterrolebindings",
    "/apis/scheduling.k8s.io/v1": "priorityclasses",
    "/apis/apiextensions.k8s.io/v1": "customresourcedefinitions",
    "/apis/admissionregistration.k8s.io/v1": "mutatingadmissionpolicies mutatingadmissionpolicybindings",
    "/apis/authorization.k8s.io/v1": "subjectaccessreviews",
}
ROOTS = {resource: root for root, resources in _GROUPS.items() for resource in resources.split()}
"""Where each resource is; a test adds those of the CRDs that it applies."""


class ApiError(Exception):
    """The API server's refusal."""

    def __init__(self, status: int, body: Body) -> None:
        super().__init__(f"{status} {body.get('reason', '')}: {body.get('message', '')}")
        self.status = status
        self.reason = str(body.get("reason", ""))
        self.message = str(body.get("message", ""))


@dataclass(frozen=True)
class Access:
    """How to reach an API server: URL and the files of a client."""

    url: str
    authority: Path
    certificate: Path
    key: Path

    @staticmethod
    def read(kubeconfig: Path) -> "Access":
        """As written by `certificates.Authority.kubeconfig`."""
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        files = (cluster["certificate-authority"], user["client-certificate"], user["client-key"])
        return Access(cluster["server"], *(Path(file) for file in files))


class Api:
    """One user's view. Resources are named by their plural ("pods"); bodies are plain dicts."""

    def __init__(self, access: Access, user_agent: str = "test") -> None:
        self._url = access.url
        self._headers = {"User-Agent": user_agent, "Accept": "application/json"}
        self._pool = urllib3.PoolManager(
            ca_certs=str(access.authority),
            cert_file=str(access.certificate),
            key_file=str(access.key),
            retries=False,
            timeout=30,
            maxsize=16,
        )

    def close(self) -> None:
        self._pool.clear()

    def request(self, method: str, path: str, body: object = None, content_type: str = "") -> Body:
        """The answer's JSON; `path` may hold a query. Raises ApiError, and urllib3's errors."""
        content = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, "Content-Type": content_type or "application/json"}
        answer = self._pool.request(method, self._url + path, body=content, headers=headers)
        found = _decoded(answer.data)
        if answer.status >= 300:
            raise ApiError(answer.status, found)
        return found

    def get(self, resource: str, namespace: str | None, name: str, subresource: str = "") -> Body:
        return self.request("GET", path(resource, namespace, name, subresource))

    def find(self, resource: str, namespace: str | None, name: str) -> Body | None:
        """None where there is no such object."""
        try:
            return self.get(resource, namespace, name)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, resource: str, namespace: str | None = None, selector: str = "") -> list[Body]:
        query = "?" + urlencode({"labelSelector": selector}) if selector else ""
        items: list[Body] = self.request("GET", path(resource, namespace) + query)["items"]
        return items

    def create(self, resource: str, namespace: str | None, body: Body, **query: str) -> Body:
        suffix = "?" + urlencode(query) if query else ""
        return self.request("POST", path(resource, namespace) + suffix, body)

    def patch(
        self, resource: str, namespace: str | None, name: str, body: object, subresource: str = "",
        content_type: str = MERGE_PATCH,
    ) -> Body:  # fmt: skip
        return self.request("PATCH", path(resource, namespace, name, subresource), body, content_type)

    def apply(self, resource: str, namespace: str | None, body: Body) -> Body:
        """Server-side apply, by force: creates or changes."""
        where = path(resource, namespace, body["metadata"]["name"]) + "?fieldManager=test&force=true"
        return self.request("PATCH", where, body, APPLY_PATCH)

    def delete(self, resource: str, namespace: str | None, name: str, **options: object) -> Body:
        """`options` are those of DeleteOptions, for example gracePeriodSeconds=0."""
        return self.request("DELETE", path(resource, namespace, name), options)

    def evict(self, namespace: str, pod: str) -> Body:
        """As `kubectl drain` does."""
        meta = {"name": pod, "namespace": namespace}
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
        return self.request("POST", path("pods", namespace, pod, "eviction"), body)

    def until(
        self, resource: str, namespace: str | None, name: str, condition: Callable[[Body], object],
        within: float = PATIENCE,
    ) -> Body:  # fmt: skip
        """The object once the condition holds for it; the object may come to be in the meantime."""
        last: Body | None = None

        def look() -> Body | None:
            nonlocal last
            last = self.find(resource, namespace, name)
            return last if last is not None and condition(last) else None

        return eventually(look, within, lambda: f"{resource} {namespace}/{name}: {_summary(last)}")

    def until_gone(self, resource: str, namespace: str | None, name: str, within: float = PATIENCE) -> None:
        eventually(
            lambda: self.find(resource, namespace, name) is None,
            within,
            lambda: f"{resource} {name} is there",
        )


def path(resource: str, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
    """The URL's path, of a collection where no name is given."""
    parts = [ROOTS[resource], *(["namespaces", namespace] if namespace else []), resource, name, subresource]
    return "/".join(part for part in parts if part)


def has_condition(type_: str, status: str = "True") -> Callable[[Mapping[str, Any]], bool]:
    """For `Api.until`."""

    def holds(body: Mapping[str, Any]) -> bool:
        conditions = body.get("status", {}).get("conditions") or []
        return any(found["type"] == type_ and found["status"] == status for found in conditions)

    return holds


def _decoded(data: bytes) -> Body:
    try:
        found = json.loads(data)
    except ValueError:
        found = data.decode(errors="replace")
    return found if isinstance(found, dict) else {"message": found}


def _summary(body: Body | None) -> str:
    if body is None:
        return "there is none"
    shown = {key: body[key] for key in ("spec", "status") if key in body}
    return json.dumps({"metadata": body["metadata"]["name"], **shown}, indent=1)[-3000:]
