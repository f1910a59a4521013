"""Values about monitoring."""

from typing import Annotated, Any, Literal

from pydantic import Field

from finetune_operator.knobs import Group

Interval = Annotated[str, Field(pattern=r"^[1-9][0-9]*(ms|s|m|h)$")]
"""A duration as Prometheus writes it."""


class Monitor(Group):
    """What Prometheus scrapes."""

    enabled: bool = True
    """Whether to make one."""
    interval: Interval = "15s"
    """Time between two scrapes."""
    metric_relabelings: list[dict[str, Any]] = Field(default=[])
    """To drop series, or to change them."""


class ServiceMonitor(Monitor):
    """Has Prometheus scrape the operator."""


class PodMonitor(Monitor):
    """Has Prometheus scrape every trainer in watch.namespaces."""


class RuleGroups(Group):
    """Which rules to load."""

    recording: bool = True
    """What dashboards and other groups share: use of GPUs by job, wait for data, goodput."""
    jobs: bool = True
    """Jobs that somebody should look at."""
    operator: bool = True
    """The operator itself."""
    efficiency: bool = False
    """Jobs that could be faster. Needs `recording`."""
    gpu: bool = False
    """Idle and failing GPUs. Needs `recording` and NVIDIA's DCGM exporter."""


class PrometheusRule(Group):
    """Recording rules and alerts."""

    enabled: bool = True
    """Whether to make one."""
    runbook_url: str = "docs/runbooks"
    """Where docs/runbooks can be read in your organisation; each alert's `runbook_url` begins with it."""
    groups: RuleGroups = RuleGroups()


class Dashboards(Group):
    """Two dashboards as ConfigMaps, which Grafana's sidecar loads."""

    enabled: bool = True
    """Whether to make them."""
    namespace: str = ""
    """Where Grafana's sidecar looks for them. Empty: the release's."""
    labels: dict[str, str] = Field(default={"grafana_dashboard": "1"})
    """What it knows them by."""
    annotations: dict[str, str] = Field(default={"grafana_folder": "Fine-tuning"})
    """Such as the folder that they go into."""


class Monitoring(Group):
    """Prometheus and Grafana."""

    namespace: str = "monitoring"
    """Where Prometheus runs: the one namespace that the network policies let scrape operator and trainers. Empty:
    none."""
    namespace_selector: dict[str, str] = Field(default={})
    """Labels of such namespaces, instead of a name."""
    render_mode: Literal["skipIfMissing", "always"] = "skipIfMissing"
    """Monitors and rules: only where the cluster has the Prometheus operator's kinds, or in any case."""
    additional_labels: dict[str, str] = Field(default={})
    """What your Prometheus selects monitors and rules by, such as `release: kube-prometheus-stack`."""
    service_monitor: ServiceMonitor = ServiceMonitor()
    pod_monitor: PodMonitor = PodMonitor()
    prometheus_rule: PrometheusRule = PrometheusRule()
    dashboards: Dashboards = Dashboards()
