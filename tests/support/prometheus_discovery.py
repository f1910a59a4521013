"""Prometheus' discovery in Kubernetes, which Debian's build of it lacks: targets with the labels that it would give.

Prometheus fetches them as JSON and does the rest, the relabelling above all.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import api_client
from api_client import Api

Body = dict[str, Any]
Labels = dict[str, str]
api_client.ROOTS["endpointslices"] = "/apis/discovery.k8s.io/v1"
ROLES = ("pod", "endpointslice")


def targets(api: Api, role: str) -> str:
    """The targets of a role, of all namespaces."""
    pods = api.list("pods")
    found = _of_pods(pods) if role == "pod" else _of_slices(api, pods)
    return json.dumps([{"targets": [address], "labels": labels} for address, labels in found])


def _of_pods(pods: list[Body]) -> Iterator[tuple[str, Labels]]:
    """One for each port of each container of each pod that has an address."""
    for pod in pods:
        if address := pod["status"].get("podIP"):
            for container in pod["spec"]["containers"]:
                for port in container.get("ports", []):
                    labels = {**_pod(pod), **_container(container, port)}
                    yield f"{address}:{port['containerPort']}", labels


def _of_slices(api: Api, pods: list[Body]) -> Iterator[tuple[str, Labels]]:
    """One for each port of each endpoint."""
    for one in api.list("endpointslices"):
        namespace, labels = one["metadata"]["namespace"], one["metadata"].get("labels", {})
        service = api.find("services", namespace, labels.get("kubernetes.io/service-name", ""))
        for endpoint in one["endpoints"] or []:
            target = endpoint.get("targetRef", {}).get("uid")
            pod = next((pod for pod in pods if pod["metadata"]["uid"] == target), None)
            for port in one["ports"]:
                found = {"namespace": namespace, "endpointslice_port_name": port["name"]}
                where = f"{endpoint['addresses'][0]}:{port['port']}"
                yield where, _meta(found) | _service(service) | _behind(pod, port["port"])


def _behind(pod: Body | None, number: int) -> Labels:
    if pod is None:
        return {}
    containers = [
        _container(container, port)
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
        if port["containerPort"] == number
    ]
    return _pod(pod) | (containers[0] if containers else {})


def _service(service: Body | None) -> Labels:
    if service is None:
        return {}
    return _meta({"service_name": service["metadata"]["name"], **_named("service", service)})


def _pod(pod: Body) -> Labels:
    metadata, status = pod["metadata"], pod["status"]
    found = {"namespace": metadata["namespace"], "pod_name": metadata["name"], "pod_phase": status["phase"]}
    return _meta({**found, **_named("pod", pod)})


def _container(container: Body, port: Body) -> Labels:
    return _meta({"pod_container_name": container["name"], "pod_container_port_name": port.get("name", "")})


def _named(kind: str, body: Body) -> Labels:
    found: Labels = {}
    for name, value in body["metadata"].get("labels", {}).items():
        label = re.sub(r"[^a-zA-Z0-9_]", "_", name)
        found |= {f"{kind}_label_{label}": value, f"{kind}_labelpresent_{label}": "true"}
    return found


def _meta(labels: Labels) -> Labels:
    return {f"__meta_kubernetes_{name}": value for name, value in labels.items()}
