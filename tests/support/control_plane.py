"""A real Kubernetes control plane on loopback: etcd, API server, controller manager, scheduler; fake nodes by kwok."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import urllib3
import yaml

import api_users
import audit_log
import control_plane_commands as commands
import fake_nodes
import fates
from api_client import Access, Api, ApiError, Body, has_condition
from audit_log import AuditEvent
from built_tools import built
from certificates import Authority
from control_plane_commands import Layout, Options
from daemons import Daemon, free_ports
from waiting import eventually

_PREFIX = "finetune-plane"
_PATIENCE = 60.0
POD_PORT = 9090


class ControlPlane:
    """One control plane with its state in `folder`. All methods may be called from any thread."""

    def __init__(self, folder: Path, options: Options | None = None) -> None:
        self.options = options or Options()
        self._network = _LoopbackNetwork()
        api_port, etcd_port, peer_port, *self._ports = free_ports(5)
        authority = Authority(folder / "pki")
        self.layout = Layout(folder, authority, api_port, etcd_port, peer_port, self._network.cidr)
        if real := self.options.real_network:
            self.layout = replace(self.layout, api_host=real.api, api_port=443)
        self.url = self.layout.api_url
        self.kubeconfig = self.layout.kubeconfig("test-admin", ["system:masters"])
        self.access = Access.read(self.kubeconfig)
        self.api = Api(self.access)
        self.etcd = self._daemon("etcd", commands.etcd(self.layout))
        self.apiserver = self._daemon("kube-apiserver", commands.apiserver(self.layout, self.options))
        self.controller_manager = self._daemon(
            "kube-controller-manager",
            commands.controller_manager(self.layout, self.options, self._ports[0]),
            commands.controller_manager_env(self.options),
        )
        self.scheduler = self._daemon(
            "kube-scheduler", commands.scheduler(self.layout, self.options, self._ports[1])
        )
        self.kwok = self._daemon("kwok", commands.kwok(self.layout))

    def start(self) -> None:
        """Returns when pods can run. On failure nothing is left behind."""
        try:
            self.etcd.start()
            self.start_api()
            for daemon in (self.controller_manager, self.scheduler):
                daemon.start()
            if not self.options.real_network:
                self.kwok.start()
                fates.install(self.api)
                fake_nodes.add(self.api, self.options.nodes)
            eventually(lambda: self.api.find("serviceaccounts", "default", "default"), _PATIENCE, self._logs)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        for daemon in (self.kwok, self.scheduler, self.controller_manager, self.apiserver, self.etcd):
            daemon.kill()
        self.api.close()
        self._network.release()

    def start_api(self, ready: bool = True) -> None:
        """Starts the API server (again)."""
        self.apiserver.start()
        if ready:
            eventually(self._api_is_ready, _PATIENCE, self._logs)

    def stop_api(self) -> None:
        """All of its connections break at once and new ones are refused, until `start_api`."""
        self.apiserver.kill()

    @contextlib.contextmanager
    def api_down(self) -> Iterator[None]:
        """No API server in the block; it is ready again after it."""
        self.stop_api()
        try:
            yield
        finally:
            self.start_api()

    def restart_etcd(self) -> None:
        """It dies and comes back with its data; the API server has to find it again."""
        self.etcd.kill()
        self.etcd.start()

    def user(
        self, name: str, rules: Sequence[api_users.Rule], namespaces: Sequence[str] | None = None
    ) -> Path:
        """Kubeconfig of a user who may do what `rules` say, everywhere or in `namespaces`; again: other rules."""
        api_users.grant(self.api, name, rules, namespaces)
        return self.layout.kubeconfig(name)

    def namespace(self, prefix: str = "test", labels: Mapping[str, str] | None = None) -> str:
        """A fresh namespace in which pods can be created, for example with labels of Pod Security."""
        name = f"{prefix}-{secrets.token_hex(5)}"
        self.api.create("namespaces", None, {"metadata": {"name": name, "labels": dict(labels or {})}})
        self.api.until("serviceaccounts", name, "default", bool)
        # Else it would come at some time later, among what a test makes there and compares.
        self.api.until("configmaps", name, "kube-root-ca.crt", bool)
        return name

    def apply(self, file: Path, namespace: str | None = None) -> str:
        """`kubectl apply` as an administrator."""
        return self.kubectl("apply", "-f", str(file), *(["-n", namespace] if namespace else []))

    def apply_crd(self, file: Path) -> None:
        """Returns when objects of its kind can be created."""
        for body in yaml.safe_load_all(file.read_text()):
            name = self.api.apply("customresourcedefinitions", None, body)["metadata"]["name"]
            self.api.until("customresourcedefinitions", None, name, has_condition("Established"))
            plural, group = body["spec"]["names"]["plural"], body["spec"]["group"]
            for version in body["spec"]["versions"]:
                eventually(lambda: self._is_served(f"/apis/{group}/{version['name']}/{plural}"))  # noqa: B023

    def kubectl(self, *arguments: str, kubeconfig: Path | None = None, check: bool = True) -> str:
        """What the real kubectl prints; its complaints too. Raises AssertionError if it fails and `check` is set."""
        command = [
            f"{built('kubernetes')}/kubectl",
            f"--kubeconfig={kubeconfig or self.kubeconfig}",
            *arguments,
        ]
        env = {**os.environ, "KUBECACHEDIR": str(self.layout.folder / "kubectl")}
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout}"
        return done.stdout

    def audit(self, since: int = 0, user: str | None = None, writes: bool = False) -> Iterator[AuditEvent]:
        """Requests so far, from mark `since` on, of `user` if given, only writes if asked for."""
        for event in audit_log.read(self.layout.audit_log, since):
            if (user is None or event.user == user) and (event.is_write or not writes):
                yield event

    def audit_mark(self) -> int:
        """For `audit(since=…)`: only what comes from now on."""
        log = self.layout.audit_log
        return log.stat().st_size if log.exists() else 0

    def coming_pods(self, namespace: str, who: Mapping[str, fates.Fate]) -> None:
        """See `fates.coming`."""
        fates.coming(self.api, namespace, who)

    def pod(self, namespace: str, name: str, **fate: object) -> None:
        """See `fates.change`: plane.pod(namespace, name, exit_code=64, exit_message="…")."""
        fates.change(self.api, namespace, name, **fate)

    def pods_of(self, namespace: str, job: str) -> dict[int, Body]:
        """The living pods of an Indexed Job by index; those that ended or are being deleted are left out."""
        selector = f"batch.kubernetes.io/job-name={job}"
        return {
            int(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"]): pod
            for pod in self.api.list("pods", namespace, selector)
            if pod.get("status", {}).get("phase") in (None, "Pending", "Running")
            and "deletionTimestamp" not in pod["metadata"]
        }

    def pod_event(self, namespace: str, pod: str, reason: str, message: str) -> None:
        """A warning by the kubelet, such as FailedMount."""
        uid = self.api.get("pods", namespace, pod)["metadata"]["uid"]
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        target = {"apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": namespace, "uid": uid}
        body = {
            "metadata": {"generateName": f"{pod}.", "namespace": namespace},
            "involvedObject": target,
            "reason": reason,
            "message": message,
            "type": "Warning",
            "source": {"component": "kubelet"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        self.api.create("events", namespace, body)

    def force_delete(self, namespace: str, pod: str) -> None:
        """Out of the API at once, whatever its node does."""
        self.api.delete("pods", namespace, pod, gracePeriodSeconds=0)

    @contextlib.contextmanager
    def lost_node(self, node: str) -> Iterator[None]:
        """In the block the node is gone, as in `fake_nodes.lose`; afterwards it is back."""
        fake_nodes.lose(self.api, node)
        try:
            yield
        finally:
            fake_nodes.find(self.api, node)

    def _daemon(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> Daemon:
        return Daemon(command, self.layout.folder / f"{name}.log", env)

    def _api_is_ready(self) -> bool:
        assert self.apiserver.running, self._logs()
        with contextlib.suppress(ApiError, urllib3.exceptions.HTTPError):
            self.api.request("GET", "/readyz")
            return True
        return False

    def _is_served(self, path: str) -> bool:
        with contextlib.suppress(ApiError):
            self.api.request("GET", path)
            return True
        return False

    def _logs(self) -> str:
        return "\n".join(f"{daemon.log.name}:\n{daemon.log_tail()}" for daemon in (self.etcd, self.apiserver))


@contextlib.contextmanager
def running(options: Options | None = None) -> Iterator[ControlPlane]:
    """A control plane until the block ends, in memory if the machine has a file system for that."""
    with _folder() as folder:
        plane = ControlPlane(folder, options)
        plane.start()
        try:
            yield plane
        finally:
            plane.stop()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    memory = Path("/dev/shm")
    parent = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    _remove_orphans(parent)
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}-{os.getpid()}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_orphans(parent: Path) -> None:
    """What a killed test run left there: etcd alone takes 64 MiB."""
    for folder in parent.glob(f"{_PREFIX}-*"):
        owner = folder.name.removeprefix(f"{_PREFIX}-").partition("-")[0]
        if not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)


class _LoopbackNetwork:
    """127.N.0.0/16 for the pods of one control plane; no other one on this machine uses it meanwhile."""

    def __init__(self) -> None:
        for number in secrets.SystemRandom().sample(range(64, 255), 64):
            with contextlib.suppress(OSError):
                # kwok hands out addresses from the bottom, so this one, at the top, can serve as a lock.
                self._lock = socket.create_server((f"127.{number}.255.254", POD_PORT))
                self.cidr = f"127.{number}.0.1/16"
                return
        raise AssertionError("no free loopback network")

    def release(self) -> None:
        self._lock.close()
