"""Who may talk to trainer pods, and whom they may talk to."""

from typing import Any

import pytest

import jobs
from finetune_operator.manifests import children
from finetune_operator.settings import Settings
from manifest_stories import MINIMAL, NAMESPACE, UID

OURS = {"podSelector": {"matchLabels": {"finetune.dev/job-uid": UID}}}


def policy(changes: dict[str, Any] | None = None, **setup: Any) -> dict[str, Any]:
    given = Settings.model_validate({"podNamespace": "finetune-system"} | setup)
    spec: dict[str, Any] = children(jobs.job(MINIMAL | (changes or {})), UID, NAMESPACE, given)[
        "NetworkPolicy"
    ]["spec"]
    return spec


def ports(rule: dict[str, Any]) -> list[int] | None:
    return [entry["port"] for entry in rule["ports"]] if "ports" in rule else None


def closed(spec: dict[str, Any]) -> dict[str, list[str]]:
    """Addresses taken out of each block that pods may reach."""
    blocks = [peer["ipBlock"] for rule in spec["egress"] for peer in rule.get("to", []) if "ipBlock" in peer]
    return {block["cidr"]: block.get("except", []) for block in blocks}


def test_only_the_same_jobs_pods_reach_tensorflow() -> None:
    gang, readers = policy()["ingress"]
    assert gang["from"] == [OURS]
    assert ports(gang) == [2222, 2223]
    assert ports(readers) == [9090]
    names = [
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in readers["from"]
    ]
    assert names == ["finetune-system", "monitoring"]


def test_nccl_may_use_any_port_between_the_same_jobs_pods() -> None:
    gang, _ = policy({"resources": {"limits": {"nvidia.com/gpu": "1"}}})["ingress"]
    assert gang == {"from": [OURS]}


def test_an_operator_outside_the_cluster_and_no_monitoring_leave_nobody() -> None:
    setup = {"podNamespace": "", "networkPolicy": {"monitoringNamespaceSelector": {}}}
    (gang,) = policy(**setup)["ingress"]
    assert gang["from"] == [OURS]


def test_metadata_addresses_are_closed() -> None:
    found = closed(policy())
    assert "169.254.169.254/32" in found["0.0.0.0/0"]
    assert "fd00:ec2::254/128" in found["::/0"]
    assert all("." in address for address in found["0.0.0.0/0"])
    assert all(":" in address for address in found["::/0"])


@pytest.mark.parametrize(
    ("provider", "opened", "still_closed"),
    [
        ("AWS", "169.254.170.23/32", "169.254.169.254/32"),
        ("GCP", "169.254.169.254/32", "169.254.170.23/32"),
        ("Azure", "169.254.169.254/32", "169.254.170.23/32"),
    ],
)
def test_workload_identity_opens_its_own_address(provider: str, opened: str, still_closed: str) -> None:
    found = closed(policy(workloadIdentity={"provider": provider}))["0.0.0.0/0"]
    assert opened not in found
    assert still_closed in found


def test_chosen_networks_are_all_there_is_besides_dns_and_the_gang() -> None:
    spec = policy(networkPolicy={"egressCidrs": ["10.0.0.0/8", "169.254.0.0/16"]})
    dns, gang, chosen = spec["egress"]
    assert (ports(dns), dns.keys()) == ([53, 53], {"ports"})
    assert (gang["to"], ports(gang)) == ([OURS], [2222, 2223])
    assert chosen.keys() == {"to"}
    found = closed(spec)
    assert list(found) == ["10.0.0.0/8", "169.254.0.0/16"]
    assert "169.254.169.254/32" in found["169.254.0.0/16"]
    assert found["10.0.0.0/8"] == []


def test_chosen_networks_still_leave_the_identity_reachable() -> None:
    spec = policy(networkPolicy={"egressCidrs": ["10.0.0.0/8"]}, workloadIdentity={"provider": "GCP"})
    assert "169.254.169.254/32" in closed(spec)


def test_it_can_be_left_out() -> None:
    given = Settings.model_validate({"networkPolicy": {"enabled": False}})
    assert "NetworkPolicy" not in children(jobs.job(MINIMAL), UID, NAMESPACE, given)
