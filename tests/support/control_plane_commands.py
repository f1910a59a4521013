"""The command lines of a control plane on loopback."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import audit_log
from built_tools import built
from certificates import Authority, Identity

SERVICES = "10.96.0.0/16"
_KWOK = [Path(__file__).with_name(name) for name in ("kwok.yaml", "kwok_pods.yaml")]
# Nothing routes to services here; EndpointSlices refuse loopback addresses, and their controller would retry for ever.
_CONTROLLERS = (
    "*,-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller,"
    "-cloud-node-lifecycle-controller,-node-route-controller,-service-lb-controller"
)
_CONTROLLERS_OF_REAL_NODES = (
    "*,-cloud-node-lifecycle-controller,-node-route-controller,-service-lb-controller"
)


@dataclass(frozen=True)
class RealNetwork:
    """Addresses that real nodes and their pods can reach."""

    api: str
    """The first address of `services`: what pods take for the API server's Service is the server itself."""
    services: str


@dataclass(frozen=True)
class Options:
    """What may differ between control planes."""

    nodes: int = 4
    """Fake nodes at the start, each with 8 GPUs."""
    job_backoff: str | None = "1s"
    """How long the Job controller waits before it replaces a lost pod, doubling from then on; None: as shipped, 10s."""
    job_backoff_max: str | None = None
    """The longest of these waits; None: as shipped, 10 min."""
    raised_limits: bool = True
    """Whether controller manager and scheduler may ask more often than as shipped (20/30 and 50/100 a second), and
    the former looks at nodes each second."""
    fairness: bool = True
    """API priority and fairness, as shipped; benchmarks may want it out of the way."""
    manager_flags: Sequence[str] = ()
    """More flags of the controller manager; the last one of a name counts."""
    api_flags: Sequence[str] = ()
    """More flags of the API server, for example --runtime-config=…"""
    real_network: "RealNetwork | None" = None
    """Where pods of real nodes find the API server; None: kwok plays the nodes and everything is on loopback."""


@dataclass(frozen=True)
class Layout:
    """Where everything is."""

    folder: Path
    authority: Authority
    api_port: int
    etcd_port: int
    etcd_peer_port: int
    cidr: str
    """Addresses of pods, as kwok wants them: the first one of a loopback network, /16."""
    api_host: str = "127.0.0.1"

    @property
    def api_url(self) -> str:
        return f"https://{self.api_host}:{self.api_port}"

    @property
    def etcd_url(self) -> str:
        return f"http://127.0.0.1:{self.etcd_port}"

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.jsonl"

    def kubeconfig(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Of a user that is made for it."""
        return self.authority.kubeconfig(self.api_url, self.authority.issue(user, groups))


def etcd(layout: Layout) -> list[str]:
    """Without fsync: nobody needs the data after a power cut."""
    peer = f"http://127.0.0.1:{layout.etcd_peer_port}"
    return [
        f"{built('etcd')}/etcd",
        "--name=test",
        f"--data-dir={layout.folder}/etcd",
        "--unsafe-no-fsync",
        "--log-level=warn",
        f"--listen-client-urls={layout.etcd_url}",
        f"--advertise-client-urls={layout.etcd_url}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=test={peer}",
    ]


def apiserver(layout: Layout, options: Options) -> list[str]:
    """With every write and every read by a user of the tests in the audit log."""
    authority, folder = layout.authority, layout.folder
    services = options.real_network.services if options.real_network else SERVICES
    first = str(next(ip_network(services).hosts()))
    server = authority.issue("kube-apiserver", addresses=[layout.api_host, first])
    tokens = authority.key_pair("service-accounts")
    policy = folder / "audit-policy.json"
    policy.write_text(json.dumps(audit_log.POLICY))
    return [
        f"{built('kubernetes')}/kube-apiserver",
        f"--etcd-servers={layout.etcd_url}",
        f"--bind-address={layout.api_host}",
        f"--advertise-address={layout.api_host}",
        "--endpoint-reconciler-type=none",
        f"--secure-port={layout.api_port}",
        f"--tls-cert-file={server.certificate}",
        f"--tls-private-key-file={server.key}",
        *_front_proxy(authority),
        *(_client_of_kubelets(authority) if options.real_network else []),
        f"--service-cluster-ip-range={services}",
        "--authorization-mode=Node,RBAC",
        "--anonymous-auth=false",
        # As on real clusters: what stops privileged pods is something else.
        "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={tokens.certificate}",
        f"--service-account-signing-key-file={tokens.key}",
        "--enable-admission-plugins=NodeRestriction",
        "--profiling=false",
        f"--enable-priority-and-fairness={str(options.fairness).lower()}",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={layout.audit_log}",
        "--audit-log-maxsize=100000",
        *options.api_flags,
    ]


def controller_manager(layout: Layout, options: Options, port: int) -> list[str]:
    """All controllers but those that only fill the log here."""
    tokens = _tokens(layout)
    return [
        f"{built('kubernetes')}/kube-controller-manager",
        *_client_of_the_api(layout, "system:kube-controller-manager", port),
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={tokens.key}",
        f"--root-ca-file={layout.authority.certificate}",
        f"--controllers={_CONTROLLERS_OF_REAL_NODES if options.real_network else _CONTROLLERS}",
        # A lost node is tainted within a second of losing its Ready condition.
        "--node-monitor-period=1s",
        *_limits(options),
        *options.manager_flags,
    ]


def controller_manager_env(options: Options) -> dict[str, str]:
    """What our build of it reads."""
    wanted = {"JOB_BACKOFF": options.job_backoff, "JOB_BACKOFF_MAX": options.job_backoff_max}
    return {name: value for name, value in wanted.items() if value is not None}


def scheduler(layout: Layout, options: Options, port: int) -> list[str]:
    """The stock scheduler."""
    return [
        f"{built('kubernetes')}/kube-scheduler",
        *_client_of_the_api(layout, "system:kube-scheduler", port),
        *_limits(options),
    ]


def kwok(layout: Layout) -> list[str]:
    """The kubelets of fake nodes."""
    stages = layout.folder / "kwok.yaml"
    content = "---\n".join(file.read_text() for file in _KWOK)
    stages.write_text(content.replace("cidr: CIDR", f"cidr: {layout.cidr}"))
    kubeconfig = layout.kubeconfig("kwok", ["system:masters", "test:control-plane"])
    return [f"{built('kwok')}/kwok", f"--config={stages}", f"--kubeconfig={kubeconfig}", "--server-address="]


def _client_of_the_api(layout: Layout, user: str, port: int) -> list[str]:
    kubeconfig = layout.kubeconfig(user)
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--profiling=false",
    ]


def _client_of_kubelets(authority: Authority) -> list[str]:
    """For `kubectl logs` and `kubectl exec`."""
    client = authority.issue("kube-apiserver-kubelet-client", ["system:masters"])
    return [
        f"--kubelet-client-certificate={client.certificate}",
        f"--kubelet-client-key={client.key}",
        f"--kubelet-certificate-authority={authority.certificate}",
        "--kubelet-preferred-address-types=InternalIP",
    ]


def _front_proxy(authority: Authority) -> list[str]:
    """Unused, but without it the others complain every few seconds that they cannot read its configuration."""
    return [
        f"--client-ca-file={authority.certificate}",
        f"--requestheader-client-ca-file={authority.certificate}",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    ]


def _limits(options: Options) -> list[str]:
    return ["--kube-api-qps=200", "--kube-api-burst=400"] if options.raised_limits else []


def _tokens(layout: Layout) -> Identity:
    folder = layout.authority.certificate.parent
    return Identity(folder / "service-accounts.crt", folder / "service-accounts.key")
