"""A release of the chart with its operator, jobs in several states, and a Prometheus that watches all of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

import gpu_exporter
import helm
import loopback_pages
import operated
import prometheus_discovery
import prometheus_monitors
import prometheus_server
from cluster_jobs import RESTRICTED, Cluster, ClusterJob
from cluster_view import ClusterView
from control_plane import ControlPlane
from fake_trainers import FakeTrainer, FakeTrainers
from finetune_api.events import CacheEvent, ChunkEvent, FirstStepEvent, Phase
from installed import CRD, QUICK, Release
from prometheus_server import Prometheus
from waiting import eventually

LOSSES = (4.0, 3.5, 2.25, 1.0)
"""What the chief tells, one after the other."""
STAGES = [
    {"name": "head", "epochs": 2, "unfreeze": {"blocks": 0}, "optimizer": {"name": "Adam"}},
    {"name": "finetune", "epochs": 3, "unfreeze": {"blocks": 2}},
]
MONITORING = {
    "serviceMonitor": {"interval": "1s"},
    "podMonitor": {"interval": "1s"},
    "prometheusRule": {
        "runbookUrl": "https://wiki.example.com",
        "groups": {"efficiency": True, "gpu": True},
    },
}
_NOT_ROUTED = "192.0.2.10"
"""EndpointSlices take no loopback address; the operator's real one is put in its place."""


@dataclass(frozen=True)
class Watched:
    """Everything that runs."""

    release: Release
    prometheus: Prometheus
    job: ClusterJob
    """Runs, in its second stage, after a restart."""
    failed: ClusterJob
    since: float
    """When the job began to train."""
    go_on: Callable[[], None]
    """Lets the job do some more steps, at the loss that it had last."""

    @property
    def choice(self) -> dict[str, str]:
        """Of the variables of the job's dashboard."""
        return {"namespace": self.job.namespace, "job": self.job.name}


@pytest.fixture(scope="module")
def watched(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """See above; nothing is left of it."""
    release = Release(plane, plane.namespace("watched", RESTRICTED))
    release.helm("install", str(helm.CHART), values={"monitoring": MONITORING})
    with ExitStack() as stack:
        stack.callback(_remove, plane, release)
        operator = stack.enter_context(release.operator(QUICK))
        view = stack.enter_context(ClusterView(operated.door(plane)))
        _publish(plane, release)
        gpus: list[tuple[str, str]] = []
        found = {
            f"/{role}": partial(prometheus_discovery.targets, plane.api, role)
            for role in prometheus_discovery.ROLES
        }
        discovery = stack.enter_context(loopback_pages.serving(found, "application/json"))
        config, rules = _configuration(release, operator.url, discovery)
        used = {"/metrics": lambda: gpu_exporter.page(gpus)}
        exporter = stack.enter_context(loopback_pages.serving(used, "text/plain; version=0.0.4"))
        config["scrape_configs"].append(_exporter(exporter))
        folder = tmp_path_factory.mktemp("prometheus")
        prometheus = stack.enter_context(prometheus_server.running(folder, config, rules))
        eventually(lambda: prometheus.query("finetune_operator_leader == 1"), what="scraped operator")
        cluster = Cluster(plane, view, operator)
        job = cluster.job({"workers": 2, "stages": STAGES}).apply().until_running()
        gpus += [(job.namespace, job.pod(index)["metadata"]["name"]) for index in range(2)]
        trainers = stack.enter_context(FakeTrainers())
        since = time.time()
        workers = [trainers.serve(job.pod(index), workers=2) for index in range(2)]
        _train(job, workers, prometheus)
        yield Watched(release, prometheus, job, _others(cluster), since, lambda: _go_on(workers))


def _train(job: ClusterJob, workers: list[FakeTrainer], prometheus: Prometheus) -> None:
    """Four chunks over two stages, each seen by Prometheus; the training process of worker 1 is lost in between."""
    chief, other = workers
    for worker in workers:
        worker.start(workers_ready=2)
        worker.hear(CacheEvent(hit=False, bytes=1 << 20, seconds=1.0), FirstStepEvent(seconds=1.5))
        worker.phase(Phase.STEP)
    for place, loss in enumerate(LOSSES):
        stage, epoch = divmod(place, 2)
        for worker in workers:
            worker.hear(_chunk(stage, epoch, loss))
        chief.epoch(stage, epoch, val_accuracy=0.8 + place / 100)
        chief.saved(f"checkpoint-{place}", 10 * place + 10)
        eventually(lambda: _shows(prometheus, job, loss), what=f"loss {loss}")  # noqa: B023
        if place == 1:
            chief.end_stage(0)
            other.lose()
            for worker in workers:
                worker.start(generation=2, workers_ready=2, restarts=1)
    job.until(lambda: job.status["workers"]["restarts"] == 1, "restart")
    job.until(lambda: job.status["summary"]["epoch"] == "2/3", "last epoch")


def _go_on(workers: list[FakeTrainer]) -> None:
    for worker in workers:
        worker.hear(_chunk(1, 1, LOSSES[-1]))
    workers[0].saved("checkpoint-again", 40)


def _chunk(stage: int, epoch: int, loss: float) -> ChunkEvent:
    before = 2 * stage + epoch
    return ChunkEvent(
        stage=stage,
        stage_name=("head", "finetune")[stage],
        epoch=epoch,
        step=10,
        steps=10,
        global_step=10 * before + 10,
        examples=320,
        loss=loss,
        accuracy=0.5,
        learning_rate=0.001,
        seconds=1.0,
        data_wait=0.25,
    )


def _shows(prometheus: Prometheus, job: ClusterJob, loss: float) -> bool:
    where = f'namespace="{job.namespace}", finetunejob="{job.name}"'
    return prometheus.value(f'finetune_train_loss{{{where}, split="train"}}') == loss


def _others(cluster: Cluster) -> ClusterJob:
    """One that waits for GPUs that nobody has, one that is complete; one that failed is returned."""
    cluster.job({"resources.limits": {"nvidia.com/gpu": "64"}}).apply().until(lambda: True, "job")
    complete, failed = cluster.start(), cluster.start()
    complete.publish()
    failed.fate(1, 64)
    complete.until_phase("Complete")
    return failed.until_phase("Failed")


def _publish(plane: ControlPlane, release: Release) -> None:
    """What the controller of EndpointSlices would write for the operator's Service."""
    service = plane.api.get("services", release.namespace, helm.RELEASE)
    selector = ",".join(f"{name}={value}" for name, value in service["spec"]["selector"].items())
    eventually(lambda: plane.api.list("pods", release.namespace, selector), what="operator's pod")
    pod = plane.api.list("pods", release.namespace, selector)[0]["metadata"]
    target = {"kind": "Pod", "name": pod["name"], "namespace": release.namespace, "uid": pod["uid"]}
    labels = {**service["metadata"]["labels"], "kubernetes.io/service-name": helm.RELEASE}
    body = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": helm.RELEASE, "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [_NOT_ROUTED], "conditions": {"ready": True}, "targetRef": target}],
        "ports": [{"name": port["name"], "port": port["port"]} for port in service["spec"]["ports"]],
    }
    plane.api.create("endpointslices", release.namespace, body)


def _configuration(release: Release, url: str, discovery: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Prometheus' configuration and rules, from the release's monitors."""
    flags = [f"--namespace={release.namespace}", *(f"--api-versions={kind}" for kind in _KINDS)]
    rendered = helm.render({"monitoring": MONITORING}, *flags)
    operator = prometheus_monitors.of_service_monitor(rendered.one("ServiceMonitor"), discovery)
    place = {
        "source_labels": ["__address__"],
        "regex": f"{_NOT_ROUTED}:.*",
        "target_label": "__address__",
        "replacement": urlsplit(url).netloc,
    }
    operator["relabel_configs"].append(place)
    trainers = prometheus_monitors.of_pod_monitor(rendered.one("PodMonitor"), discovery)
    config = {
        "global": {"evaluation_interval": "1s", "scrape_interval": "1s"},
        "scrape_configs": [operator, trainers],
    }
    return config, {"groups": rendered.one("PrometheusRule")["spec"]["groups"]}


_KINDS = [f"monitoring.coreos.com/v1/{kind}" for kind in ("ServiceMonitor", "PodMonitor", "PrometheusRule")]


def _exporter(address: str) -> dict[str, Any]:
    """As the exporter's own chart has it scraped: without honorLabels, its pod's labels win."""
    labels = {"namespace": "gpu-operator", "pod": "dcgm-exporter-x"}
    return {"job_name": "dcgm", "static_configs": [{"targets": [address], "labels": labels}]}


def _remove(plane: ControlPlane, release: Release) -> None:
    release.helm("uninstall")
    plane.api.delete("customresourcedefinitions", None, CRD)
    plane.api.until_gone("customresourcedefinitions", None, CRD, within=60)
    plane.api.delete("namespaces", None, release.namespace)
