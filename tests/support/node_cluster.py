"""A cluster of real nodes on one machine: control plane, DNS, object store, and a kubelet with containerd per node.

Nothing of the machine's own network, mounts or settings is touched but one bridge, which goes at the end. What a
killed run has left is cleared away by the next one.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

import control_plane
import node_cgroups
import node_files
import node_images
import node_machine
import node_network
import node_store
from api_client import ROOTS
from built_tools import built
from control_plane import ControlPlane
from control_plane_commands import Options, RealNetwork
from daemons import Daemon, free_ports
from node_machine import PATIENCE, Machine
from node_network import Network
from node_store import NodeStore
from waiting import eventually

_PREFIX = "finetune-node"
_TOOLS = ("etcd", "kubernetes", "kubelet", "coredns", "pause", "versitygw")
_ENFORCER = "kube-router"
_SOONER_LOST = ("--node-monitor-grace-period=20s",)
"""A node counts as lost after this instead of 50 s without a sign of life; all else is as shipped."""
STORE_HOST = "s3.storage"
STORE_URL = f"http://{STORE_HOST}:{node_store.PORT}"
"""The object store, as pods know it."""


@dataclass(frozen=True)
class NodeCluster:
    """Controllers, delays and limits as Kubernetes is shipped with them, but for `_SOONER_LOST`."""

    folder: Path
    network: Network
    plane: ControlPlane
    store: NodeStore
    machines: list[Machine] = field(default_factory=list)

    def load(self, *archives: Path) -> None:
        """Images for all nodes."""
        with ThreadPoolExecutor() as threads:
            for archive in archives:
                list(threads.map(lambda machine: machine.load(archive), self.machines))  # noqa: B023

    def machine_of(self, pod: dict[str, object]) -> Machine:
        """Where it runs."""
        spec = pod["spec"]
        assert isinstance(spec, dict)
        return next(machine for machine in self.machines if machine.name == spec["nodeName"])


@contextlib.contextmanager
def running(nodes: int = 2, folder: Path | None = None, policies: bool = True) -> Iterator[NodeCluster]:
    """A cluster until the block ends, in `folder` if one is given; `policies`: NetworkPolicies are enforced."""
    assert os.geteuid() == 0, "real nodes need root: namespaces, mounts, cgroups"
    clear_leftovers()
    for name in (*_TOOLS, *([_ENFORCER] if policies else [])):
        built(name)
    node_machine.runtime()
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(_own_folder()) if folder is None else folder
        network = node_network.take()
        stack.callback(node_network.release, network)
        store = stack.enter_context(node_store.serve(place / "store", network.host))
        real = RealNetwork(network.api, network.services)
        options = Options(
            job_backoff=None, raised_limits=False, real_network=real, manager_flags=_SOONER_LOST
        )
        plane = stack.enter_context(control_plane.running(options))
        stack.enter_context(_names(place, network, plane))
        cluster = NodeCluster(place, network, plane, store)
        stack.enter_context(_machines(cluster, nodes))
        if policies:
            _enforce(cluster)
        _name_store(cluster)
        yield cluster


def clear_leftovers() -> None:
    """What a run has left that was killed: its processes are gone with it, the kernel saw to that."""
    for network in node_network.leftovers():
        node_network.release(network)
        for name in node_cgroups.named(f"{network.bridge}-"):
            node_cgroups.remove(name)
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}-*"):
        owner = folder.name.removeprefix(f"{_PREFIX}-").partition("-")[0]
        if not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _own_folder() -> Iterator[Path]:
    # On a disk, as it holds unpacked images.
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}-{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _names(folder: Path, network: Network, plane: ControlPlane) -> Iterator[None]:
    """The cluster's DNS."""
    (port,) = free_ports(1)
    kubeconfig = plane.layout.kubeconfig("coredns", ["system:masters"])
    (folder / "Corefile").write_text(node_files.corefile(network, kubeconfig, port))
    server = Daemon([f"{built('coredns')}/coredns", "-conf", folder / "Corefile"], folder / "coredns.log")
    server.start()

    def answers() -> bool:
        assert server.running, server.log_tail()
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            url = f"http://127.0.0.1:{port}/ready"
            return urllib3.request("GET", url, retries=False, timeout=1).status == 200
        return False

    try:
        eventually(answers, PATIENCE, server.log_tail)
        yield
    finally:
        server.stop()


@contextlib.contextmanager
def _machines(cluster: NodeCluster, count: int) -> Iterator[Sequence[Machine]]:
    pause = node_images.pause(cluster.folder)
    try:
        for index in range(count):
            home = node_machine.home(cluster.folder, index, cluster.network)
            cluster.machines.append(Machine(home, cluster.plane))
            cluster.machines[-1].start(count)
        cluster.load(pause)
        for machine in cluster.machines:
            machine.start_kubelet()
        for machine in cluster.machines:
            machine.until_ready()
        yield cluster.machines
    finally:
        for machine in cluster.machines:
            machine.stop()


def _enforce(cluster: NodeCluster) -> None:
    with ThreadPoolExecutor() as threads:
        list(threads.map(Machine.start_firewall, cluster.machines))


def _name_store(cluster: NodeCluster) -> None:
    """The object store as a Service of the cluster, the way one that runs elsewhere is made known."""
    ROOTS.setdefault("endpointslices", "/apis/discovery.k8s.io/v1")
    name, namespace = STORE_HOST.split(".")
    api = cluster.plane.api
    api.create("namespaces", None, {"metadata": {"name": namespace}})
    port = {"name": "http", "port": node_store.PORT, "protocol": "TCP"}
    service = {"metadata": {"name": name}, "spec": {"clusterIP": "None", "ports": [port]}}
    api.create("services", namespace, service)
    slice_ = {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [port],
        "endpoints": [{"addresses": [cluster.network.host], "conditions": {"ready": True}}],
    }
    api.create("endpointslices", namespace, slice_)
