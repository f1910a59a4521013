"""What the Prometheus operator makes of monitors: scrape configurations with the same discovery and relabelling."""

import re
from typing import Any

Body = dict[str, Any]


def of_service_monitor(monitor: Body, discovery: str) -> Body:
    """The scrape configuration of a ServiceMonitor with one endpoint; found by EndpointSlices."""
    (endpoint,) = monitor["spec"]["endpoints"]
    port = "__meta_kubernetes_endpointslice_port_name"
    return {
        **_common("serviceMonitor", monitor, endpoint, "endpointslice", discovery),
        "relabel_configs": [
            *_in_namespaces(monitor),
            *_selected("service", monitor),
            _keep([port], endpoint["port"]),
            *_named({"namespace": "namespace", "service": "service_name", "pod": "pod_name"}),
            *_named({"container": "pod_container_name", "job": "service_name"}),
            *_ended(),
            {"target_label": "endpoint", "replacement": endpoint["port"]},
            *map(_snake, endpoint.get("relabelings", [])),
        ],
    }


def of_pod_monitor(monitor: Body, discovery: str) -> Body:
    """The scrape configuration of a PodMonitor with one endpoint."""
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    name = f"{monitor['metadata']['namespace']}/{monitor['metadata']['name']}"
    return {
        **_common("podMonitor", monitor, endpoint, "pod", discovery),
        "relabel_configs": [
            *_ended(),
            *_in_namespaces(monitor),
            *_selected("pod", monitor),
            _keep(["__meta_kubernetes_pod_container_port_name"], endpoint["port"]),
            *_named({"namespace": "namespace", "container": "pod_container_name", "pod": "pod_name"}),
            {"target_label": "job", "replacement": name},
            {"target_label": "endpoint", "replacement": endpoint["port"]},
            *map(_snake, endpoint.get("relabelings", [])),
        ],
    }


def _common(kind: str, monitor: Body, endpoint: Body, role: str, discovery: str) -> Body:
    metadata = monitor["metadata"]
    return {
        "job_name": f"{kind}/{metadata['namespace']}/{metadata['name']}/0",
        "http_sd_configs": [{"url": f"http://{discovery}/{role}", "refresh_interval": "1s"}],
        "honor_labels": endpoint.get("honorLabels", False),
        "metrics_path": endpoint["path"],
        "scrape_interval": endpoint["interval"],
        "metric_relabel_configs": [_snake(one) for one in endpoint.get("metricRelabelings", [])],
    }


def _in_namespaces(monitor: Body) -> list[Body]:
    """The Prometheus operator asks the API server for these only; here all are found and others dropped."""
    where = monitor["spec"]["namespaceSelector"]
    return [] if where.get("any") else [_keep(["__meta_kubernetes_namespace"], "|".join(where["matchNames"]))]


def _selected(what: str, monitor: Body) -> list[Body]:
    labels = monitor["spec"]["selector"]["matchLabels"]
    found = []
    for name, value in labels.items():
        label = re.sub(r"[^a-zA-Z0-9_]", "_", name)
        sources = [f"__meta_kubernetes_{what}_{part}_{label}" for part in ("label", "labelpresent")]
        found.append(_keep(sources, f"({re.escape(value)});true"))
    return found


def _keep(sources: list[str], regex: str) -> Body:
    return {"action": "keep", "source_labels": sources, "regex": regex}


def _named(labels: dict[str, str]) -> list[Body]:
    return [
        {"source_labels": [f"__meta_kubernetes_{source}"], "target_label": label}
        for label, source in labels.items()
    ]


def _ended() -> list[Body]:
    """Pods that ended are dropped, unless a monitor says otherwise."""
    return [
        {"action": "drop", "source_labels": ["__meta_kubernetes_pod_phase"], "regex": "(Failed|Succeeded)"}
    ]


def _snake(relabeling: Body) -> Body:
    return {
        re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", key): value
        for key, value in relabeling.items()
    }
