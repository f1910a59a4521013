"""One real node: containerd and a kubelet in namespaces of their own, which all end with their first process."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import node_cgroups
import node_files
import node_firewall
import node_network
from api_client import has_condition
from built_tools import ROOT, built
from control_plane import ControlPlane
from daemons import Daemon
from node_files import Home
from node_network import Network
from waiting import eventually

PATIENCE = 60.0
_STARTERS = ("unshare", "nsenter")
# What a kubelet would set for the whole machine. It finds files of its own in these places and is content.
_TUNABLES = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
_FURNISH = "set -e; for place in /run /var/lib /var/log; do mount -t tmpfs tmpfs $place; done; " + "; ".join(
    f"mkdir -p /run/own/{Path(name).parent}; echo {value} > /run/own/{name}; "
    f"mount --bind /run/own/{name} /proc/sys/{name}"
    for name, value in _TUNABLES.items()
)


class Machine:
    """A node of `plane`. Its network, mounts and process ids are its own; its cgroups are below one that is."""

    def __init__(self, home: Home, plane: ControlPlane) -> None:
        self.home, self.name, self._plane = home, home.name, plane
        self.address = home.network.node(home.index)
        self._init = Daemon(
            # Whatever ends `unshare` ends the first process, and with that the kernel ends all others.
            [_program("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "--net",
             "--propagation", "private", built("pause") / "pause"],
            self._log("init"),
        )  # fmt: skip
        self._containerd: Daemon | None = None
        self._kubelet: Daemon | None = None
        self._firewall: Daemon | None = None

    def start(self, count: int) -> None:
        """Returns when it runs containers; `until_ready` waits for the kubelet. `count` nodes know one another."""
        layout = self._plane.layout
        identity = layout.authority.issue(
            f"system:node:{self.name}", ["system:nodes"], [self.address], file_name=self.name
        )
        kubeconfig = layout.authority.kubeconfig(layout.api_url, identity)
        node_files.write(self.home, identity, layout.authority.certificate)
        node_cgroups.make(self.home.network.cgroup(self.home.index))
        self._init.start()
        self.pid = _only_child(self._init)
        """Of its first process, as this machine sees it."""
        node_network.connect(self.home.network, self.home.index, count, self.pid)
        self.run("sh", "-c", _FURNISH)
        runtime = self.home.runtime
        self._containerd = self._inside(
            "containerd", f"{runtime}/usr/bin/containerd", f"--config={self.home.folder}/containerd.toml"
        )
        self._kubelet = self._inside(
            "kubelet",
            f"{built('kubelet')}/kubelet",
            f"--config={self.home.folder}/kubelet.json",
            f"--root-dir={self.home.folder}/kubelet",
            f"--cert-dir={self.home.folder}/certificates",
            f"--kubeconfig={kubeconfig}",
            f"--hostname-override={self.name}",
            f"--node-ip={self.address}",
            "--v=2",
        )
        self._containerd.start()
        eventually(self._containerd_answers, PATIENCE, self.logs)

    def start_kubelet(self) -> None:
        """At first, or again after `kill_kubelet`."""
        assert self._kubelet
        self._kubelet.start()

    def start_firewall(self) -> None:
        """NetworkPolicies are enforced when it returns. The node has to be ready: its object tells its address."""
        self.run("sh", "-c", node_firewall.ON_BRIDGES)
        kubeconfig = self._plane.layout.kubeconfig(f"kube-router-{self.name}", ["system:masters"])
        command = node_firewall.command(self.home, kubeconfig)
        self._firewall = self._inside("kube-router", *command, env=node_firewall.environment(self.home))
        self._firewall.start()
        eventually(self._is_guarded, PATIENCE, self.logs)

    def kill_kubelet(self) -> None:
        """Its containers live on, and nobody looks after them."""
        assert self._kubelet
        os.kill(_only_child(self._kubelet), signal.SIGKILL)
        self._kubelet.stop()

    def until_ready(self) -> None:
        self._plane.api.until("nodes", None, self.name, self._is_ready, within=PATIENCE)

    def stop(self) -> None:
        """As a machine that loses power; nothing of it is left but its files."""
        self._init.kill()
        for daemon in (self._firewall, self._kubelet, self._containerd):
            if daemon:
                daemon.kill()
        node_cgroups.remove(self.home.network.cgroup(self.home.index))

    def load(self, archive: Path) -> None:
        """Take the images of an archive, as `docker load` does."""
        self.ctr("images", "import", str(archive))

    def ctr(self, *arguments: str) -> str:
        """Containerd's own command line, in the namespace of Kubernetes."""
        program = self.home.runtime / "usr/bin/ctr"
        command = [str(program), "-a", str(self.home.socket), "-n", "k8s.io", *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, f"ctr {' '.join(arguments)}: {done.stdout}"
        return done.stdout

    def run(self, *command: str) -> str:
        """The output of a command on the node."""
        done = subprocess.run(
            self._enter(*command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == 0, f"{self.name}: {' '.join(command)}: {done.stdout}"
        return done.stdout

    def processes(self, pod_uid: str) -> list[int]:
        """Of a pod's containers, as this machine sees them, the pod's own holder apart; parents first."""
        found = node_cgroups.processes(self.home.network.cgroup(self.home.index), pod_uid)
        return sorted(pid for pid in found if _command(pid) not in ("/pause", ""))

    def logs(self) -> str:
        """The ends of its logs, for a message."""
        daemons = [self._init, self._containerd, self._kubelet, self._firewall]
        return "\n".join(f"{one.log.name}:\n{one.log_tail()}" for one in daemons if one)

    def _inside(self, name: str, *command: str, env: Mapping[str, str] | None = None) -> Daemon:
        path = f"{self.home.runtime}/usr/bin:{self.home.runtime}/usr/sbin:{os.environ['PATH']}"
        return Daemon(self._enter(*command), self._log(name), env or {"PATH": path})

    def _enter(self, *command: str) -> list[str]:
        return [_program("nsenter"), "--target", str(self.pid), "--mount", "--pid", "--net", "--", *command]

    def _log(self, name: str) -> Path:
        return self.home.folder.parent / f"{self.name}-{name}.log"

    def _containerd_answers(self) -> bool:
        assert self._containerd
        assert self._containerd.running, self.logs()
        try:
            self.ctr("version")
        except AssertionError:
            return False
        return True

    def _is_guarded(self) -> bool:
        assert self._firewall
        assert self._firewall.running, self.logs()
        return node_firewall.ENFORCED in self.run(*node_firewall.rules(self.home))

    def _is_ready(self, node: dict[str, object]) -> bool:
        assert self._kubelet
        assert self._kubelet.running, self.logs()
        return has_condition("Ready")(node)


@cache
def runtime() -> Path:
    """The folder with containerd, runc and network plugins of Debian's packages."""
    script = ROOT / "tools/node-runtime.sh"
    done = subprocess.run([script], check=True, stdout=subprocess.PIPE, text=True)
    return Path(done.stdout.strip())


def home(folder: Path, index: int, network: Network) -> Home:
    """Where the node `index` keeps its things, below `folder`."""
    return Home(folder / f"node-{index}", index, network, runtime())


def children(process: int) -> list[int]:
    """Of a process of this machine."""
    return [pid for pid in _processes() if parent(pid) == process]


def parent(process: int) -> int:
    """0 if there is no such process."""
    try:
        stat = Path("/proc", str(process), "stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is missing: install util-linux"
    return found


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _only_child(daemon: Daemon) -> int:
    """Once it runs its own program: before that it may still be making its namespaces."""

    def look() -> list[int]:
        assert daemon.running, daemon.log_tail()
        return [pid for pid in children(daemon.pid) if Path(_command(pid)).name not in _STARTERS]

    return eventually(look, PATIENCE, daemon.log_tail)[0]


def _command(process: int) -> str:
    try:
        return Path("/proc", str(process), "cmdline").read_bytes().split(b"\0")[0].decode()
    except OSError:
        return ""
