"""Configuration of one real node: containerd, its network plugins, the kubelet; and of the cluster's DNS."""

import json
from dataclasses import dataclass
from pathlib import Path

from certificates import Identity
from node_network import Network

PAUSE = "finetune.test/pause:1"
_OFF = ("aufs", "btrfs", "devmapper", "zfs")

_CONTAINERD = """\
version = 2
root = "{folder}/containerd"
state = "{folder}/state"
oom_score = 0
disabled_plugins = [{off}]
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Guaranteed pods ask for a score below what this process may give.
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{runtime}/usr/lib/cni"
    conf_dir = "{folder}/cni"
    max_conf_num = 1
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{runtime}/usr/sbin/runc"
        SystemdCgroup = false
"""
_COREFILE = """\
cluster.local:53 in-addr.arpa:53 {{
    bind {host}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig} test
        pods insecure
        ttl 1
    }}
    ready 127.0.0.1:{port}
}}
.:53 {{
    bind {host}
    # There is nothing else: names of the world outside do not exist.
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


@dataclass(frozen=True)
class Home:
    """Where a node keeps its things."""

    folder: Path
    index: int
    network: Network
    runtime: Path

    @property
    def socket(self) -> Path:
        """Containerd's."""
        return self.folder / "containerd.sock"

    @property
    def name(self) -> str:
        """Of the node."""
        return f"node-{self.index}"


def write(home: Home, serving: Identity, authority: Path) -> None:
    """All files that its programs read."""
    home.folder.mkdir(parents=True)
    off = ", ".join(f'"io.containerd.snapshotter.v1.{name}"' for name in _OFF)
    values = {
        "folder": home.folder,
        "off": off,
        "socket": home.socket,
        "pause": PAUSE,
        "runtime": home.runtime,
    }
    (home.folder / "containerd.toml").write_text(_CONTAINERD.format(**values))
    (home.folder / "cni").mkdir()
    (home.folder / "cni/10-bridge.conflist").write_text(json.dumps(_pod_network(home)))
    (home.folder / "resolv.conf").write_text("search .\noptions ndots:1\n")
    (home.folder / "kubelet.json").write_text(json.dumps(_kubelet(home, serving, authority)))


def corefile(network: Network, kubeconfig: Path, port: int) -> str:
    """Serves the names of the cluster at the host's address; ready on a port of loopback."""
    return _COREFILE.format(host=network.host, kubeconfig=kubeconfig, port=port)


def _pod_network(home: Home) -> dict[str, object]:
    addresses = {"subnet": home.network.pods(home.index), "gateway": home.network.gateway(home.index)}
    ipam = {
        "type": "host-local",
        "dataDir": f"{home.folder}/ipam",
        "ranges": [[addresses]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "pods", "isGateway": True, "hairpinMode": True, "ipam": ipam}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}


def _kubelet(home: Home, serving: Identity, authority: Path) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": home.network.node(home.index),
        "readOnlyPort": 0,
        "tlsCertFile": str(serving.certificate),
        "tlsPrivateKeyFile": str(serving.key),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{home.socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{home.network.cgroup(home.index)}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDomain": "cluster.local",
        "clusterDNS": [home.network.host],
        "resolvConf": f"{home.folder}/resolv.conf",
        "podLogsDir": f"{home.folder}/logs",
        "volumePluginDir": f"{home.folder}/volume-plugins",
        "makeIPTablesUtilChains": False,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        # Images are brought by hand and cannot be had again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "syncFrequency": "10s",
        "oomScoreAdj": 0,
    }
