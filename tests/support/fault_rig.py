"""Fixtures for tests that break things: a plane without an operator, to which each test adds its own behind a proxy."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import control_plane
import operator_process
from api_proxy import ApiProxy
from cluster_view import ClusterView, Door
from control_plane import ControlPlane
from control_plane_commands import Options
from operator_process import Operator
from proxy_hub import ProxyHub

CRD = Path(__file__).parents[2] / "operator/crds/finetunejobs.finetune.dev.yaml"
NO_LEASE: Mapping[str, Any] = {"lease": {"enabled": False}}


@dataclass(frozen=True)
class Rig:
    """A plane, what is seen of it, and proxies to put operators behind."""

    plane: ControlPlane
    view: ClusterView
    hub: ProxyHub

    def proxy(self) -> ApiProxy:
        """A way into the API server for one operator."""
        access = self.plane.access
        return ApiProxy(self.hub, Door(access.url, access.authority, access.certificate, access.key))

    def start(
        self, namespace: str, proxy: ApiProxy, config: Mapping[str, Any] = NO_LEASE, synced: bool = True
    ) -> Operator:
        """An operator that watches one namespace only, with settings as shipped but for `config`."""
        folder = self.plane.layout.folder / "behind-proxies"
        folder.mkdir(exist_ok=True)
        kubeconfig = folder / f"{proxy.port}.kubeconfig"
        kubeconfig.write_text(json.dumps(_kubeconfig(proxy.url)))
        settings = {"namespaces": [namespace], **config}
        operator = operator_process.start(kubeconfig, settings, {"POD_NAMESPACE": namespace}, synced)
        proxy.victim = operator.pid
        return operator


def _kubeconfig(url: str) -> dict[str, Any]:
    context = {"cluster": "plane", "user": "operator"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "plane", "cluster": {"server": url}}],
        "users": [{"name": "operator", "user": {}}],
        "contexts": [{"name": "test", "context": context}],
        "current-context": "test",
    }


@contextlib.contextmanager
def fault_rig(options: Options | None = None) -> Iterator[Rig]:
    """A rig on a control plane of its own."""
    with control_plane.running(options) as plane:
        plane.apply_crd(CRD)
        # The garbage collector would find out about a new kind within 30 s.
        plane.controller_manager.kill()
        plane.controller_manager.start()
        access = plane.access
        door = Door(access.url, access.authority, access.certificate, access.key)
        hub = ProxyHub()
        with ClusterView(door) as view, contextlib.closing(hub):
            yield Rig(plane, view, hub)


@pytest.fixture(scope="session")
def rig() -> Iterator[Rig]:
    """One for all tests that leave the plane itself as it is."""
    with fault_rig() as made:
        yield made
