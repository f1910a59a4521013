"""The fixture `cluster` of a module: the control plane with an operator process under the roles that ship."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import api_users
import rights
from cluster_jobs import Cluster
from cluster_view import ClusterView, Door
from control_plane import ControlPlane
from finetune_operator import rbac
from finetune_operator.settings import Settings
from operator_process import start

CRD = Path(__file__).parents[2] / "operator/crds/finetunejobs.finetune.dev.yaml"
USER = "finetune-operator"
HOME = "default"
"""Namespace of the operator's Lease."""
QUICK: dict[str, Any] = {
    "progressIntervalSeconds": 0.2,
    "timings": {"reportWaitSeconds": 10.0, "releaseSeconds": 1.0},
}
"""Settings of an operator that waits less for what tests need not wait for, and longer for what their pods do say:
on a busy machine a report may be seen seconds after the Job's end."""


def with_settings(
    settings: Mapping[str, Any] = QUICK, before: Callable[[ControlPlane], None] = lambda plane: None
) -> Any:
    """A fixture to be assigned to the name `cluster` in a test module.

    Args:
        settings: of the operator, as in its file.
        before: what to do with the control plane first.
    """

    @pytest.fixture(scope="module", name="cluster")
    def cluster(plane: ControlPlane, crd: None) -> Iterator[Operated]:
        before(plane)
        yield from operate(plane, settings)

    return cluster


@pytest.fixture(scope="module")
def stock(stock_plane: ControlPlane) -> Iterator["Operated"]:
    """Control plane and operator as shipped; trainers alone are asked more often."""
    stock_plane.apply_crd(CRD)
    yield from operate(stock_plane, {"progressIntervalSeconds": 0.5})


def operate(plane: ControlPlane, settings: Mapping[str, Any]) -> Iterator["Operated"]:
    """A cluster whose operator stops in good order at the end, without ever having been refused a right."""
    mark = plane.audit_mark()
    with ClusterView(door(plane)) as view:
        operator = Restartable(plane, settings)
        cluster = Operated(plane, view, operator)
        yield cluster
        assert operator.stop() == 0
    assert not rights.refused(plane, USER, mark)
    for namespace in cluster.namespaces:
        plane.api.delete("namespaces", None, namespace)


@dataclass(frozen=True)
class Operated(Cluster):
    """A cluster and the operator that acts on it."""

    operator: "Restartable"


class Restartable:
    """An operator process that can be followed by another one."""

    def __init__(self, plane: ControlPlane, settings: Mapping[str, Any]) -> None:
        self._plane, self._settings = plane, dict(settings)
        self.start()

    def start(self, settings: Mapping[str, Any] | None = None) -> None:
        """A process, with some settings of its own; after `stop`."""
        config = {**self._settings, **(settings or {})}
        kubeconfig = user(self._plane, USER, Settings.model_validate(config))
        self.mark = self._plane.audit_mark()
        """Where its part of the audit log begins."""
        self._process = start(kubeconfig, config, {"POD_NAMESPACE": HOME})
        self.url = self._process.url
        """Where it serves its metrics."""

    def stop(self) -> int:
        """The exit status."""
        return self._process.stop()

    def kill(self) -> None:
        """As a machine that loses power does."""
        self._process.kill()

    def restart(self, settings: Mapping[str, Any] | None = None) -> None:
        """Stop it and start another one, with some settings of its own."""
        assert self.stop() == 0
        self.start(settings)


def user(plane: ControlPlane, name: str, settings: Settings, namespace: str | None = None) -> Path:
    """Kubeconfig of a user with the roles that these settings need, everywhere or in one namespace."""
    rules = rbac.rules(settings)
    if namespace is None:
        kubeconfig = plane.user(name, rules)
    else:
        everywhere = [rule for rule in rules if rule["resources"] == ["nodes"]]
        plane.user(name, everywhere)
        kubeconfig = plane.user(name, [rule for rule in rules if rule not in everywhere], [namespace])
    api_users.grant(plane.api, name, rbac.LEASE, [HOME])
    return kubeconfig


def door(plane: ControlPlane) -> Door:
    """The administrator's way in."""
    access = plane.access
    return Door(access.url, access.authority, access.certificate, access.key)
