"""Who may talk to the pods: TensorFlow's port runs whatever it is sent, and nobody else is to send anything."""

from functools import cache
from ipaddress import ip_network

from finetune_api.contract import HTTP_PORT, RENDEZVOUS_PORT, TENSORFLOW_PORT
from finetune_operator.manifests.subject import Manifest, Subject

_EVERYWHERE = ("0.0.0.0/0", "::/0")
_NEEDED_FOR_IDENTITY = {
    "AWS": ("169.254.170.23/32", "fd00:ec2::23/128"),
    "GCP": ("169.254.169.254/32", "fd20:ce::254/128"),
    "Azure": ("169.254.169.254/32",),
}
"""Where each cloud's workload identity answers."""


def network_policy(subject: Subject) -> Manifest:
    """The job's NetworkPolicy; it acts where the cluster's network enforces any."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": subject.metadata(),
        "spec": {
            "podSelector": {"matchLabels": subject.pods},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [_from_gang(subject), *_from_readers(subject)],
            "egress": _to_chosen(subject)
            if subject.settings.network_policy.egress_cidrs
            else _to_all(subject),
        },
    }


def _gang(subject: Subject) -> Manifest:
    return {"podSelector": {"matchLabels": subject.pods}}


def _gang_ports(subject: Subject) -> Manifest:
    # NCCL talks over ports of the kernel's choice.
    return {} if subject.has_gpus else {"ports": _tcp(TENSORFLOW_PORT, RENDEZVOUS_PORT)}


def _from_gang(subject: Subject) -> Manifest:
    return {"from": [_gang(subject)], **_gang_ports(subject)}


def _from_readers(subject: Subject) -> list[Manifest]:
    """Progress and metrics: the operator's namespace and the monitoring's."""
    policy = subject.settings.network_policy
    home = policy.operator_namespace or subject.settings.pod_namespace
    selectors = [
        *([{"kubernetes.io/metadata.name": home}] if home else []),
        *([policy.monitoring_namespace_selector] if policy.monitoring_namespace_selector else []),
    ]
    readers = [{"namespaceSelector": {"matchLabels": labels}} for labels in selectors]
    return [{"from": readers, "ports": _tcp(HTTP_PORT)}] if readers else []


def _to_all(subject: Subject) -> list[Manifest]:
    # Pods by selector as well: some networks take a block of addresses for the world outside only.
    return [{"to": [{"namespaceSelector": {}}, *(_block(subject, cidr) for cidr in _EVERYWHERE)]}]


def _to_chosen(subject: Subject) -> list[Manifest]:
    dns = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    chosen = [_block(subject, cidr) for cidr in subject.settings.network_policy.egress_cidrs]
    identity = [{"ipBlock": {"cidr": cidr}} for cidr in _identity_addresses(subject)]
    return [
        {"ports": dns},
        {"to": [_gang(subject)], **_gang_ports(subject)},
        {"to": [*chosen, *identity]},
    ]


def _block(subject: Subject, cidr: str) -> Manifest:
    inside = [address for address in _closed(subject) if _is_part(address, cidr)]
    return {"ipBlock": {"cidr": cidr, **({"except": inside} if inside else {})}}


def _closed(subject: Subject) -> list[str]:
    opened = _identity_addresses(subject)
    return [a for a in subject.settings.network_policy.metadata_addresses if a not in opened]


def _identity_addresses(subject: Subject) -> tuple[str, ...]:
    provider = subject.settings.workload_identity.provider
    return _NEEDED_FOR_IDENTITY[provider] if provider else ()


@cache
def _is_part(address: str, cidr: str) -> bool:
    inner, outer = ip_network(address), ip_network(cidr)
    return inner.version == outer.version and inner != outer and inner.subnet_of(outer)  # type: ignore[arg-type]


def _tcp(*ports: int) -> list[Manifest]:
    return [{"port": port, "protocol": "TCP"} for port in ports]
