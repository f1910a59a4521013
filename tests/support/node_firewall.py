"""NetworkPolicies enforced on a real node: kube-router's controller of them, and nothing else of kube-router."""

from pathlib import Path

from built_tools import built
from node_files import Home

ENFORCED = "rule to explicitly ACCEPT traffic that comply to network policies"
"""Of a rule that its first round writes last."""

ON_BRIDGES = """\
echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables || { echo 'first: modprobe br_netfilter' >&2; exit 1; }"""
"""So that what pods of one node say to each other meets the rules too."""


def command(home: Home, kubeconfig: Path) -> list[str]:
    """For the node's own network. It finds the node's pods by the address in the node's object."""
    return [
        f"{built('kube-router')}/kube-router",
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={home.name}",
        f"--service-cluster-ip-range={home.network.services}",
        # Nobody asks.
        "--health-port=0",
        "--v=1",
    ]


def environment(home: Home) -> dict[str, str]:
    """Where iptables and ipset are, with the libraries of their own packages."""
    (libraries,) = home.runtime.glob("usr/lib/*-linux-gnu")
    return {
        "PATH": f"{home.runtime}/filter",
        "LD_LIBRARY_PATH": str(libraries),
        "XTABLES_LIBDIR": f"{libraries}/xtables",
    }


def rules(home: Home) -> list[str]:
    """The command that shows them on the node."""
    variables = (f"{name}={value}" for name, value in environment(home).items())
    return ["env", *variables, "iptables-save", "-t", "filter"]
