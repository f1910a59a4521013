"""The network of real nodes: a bridge of this machine over which nothing is routed out, and one namespace per node."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PREFIX = "ftn"
_NUMBERS = range(72, 96)


@dataclass(frozen=True)
class Network:
    """10.`number`.0.0/16: services below .0, machines at .1, the pods of each node from .16 on."""

    number: int

    @property
    def bridge(self) -> str:
        return f"{PREFIX}{self.number}"

    @property
    def services(self) -> str:
        return f"10.{self.number}.0.0/24"

    @property
    def api(self) -> str:
        """Of the API server, and of the Service by which pods know it: so nothing has to be translated."""
        return f"10.{self.number}.0.1"

    @property
    def host(self) -> str:
        """Of this machine, for what nodes and pods ask it for."""
        return f"10.{self.number}.1.1"

    def node(self, index: int) -> str:
        return f"10.{self.number}.1.{10 + index}"

    def pods(self, index: int) -> str:
        return f"10.{self.number}.{16 + index}.0/24"

    def gateway(self, index: int) -> str:
        return f"10.{self.number}.{16 + index}.1"

    def cable(self, index: int) -> str:
        """This machine's end of a node's cable."""
        return f"{self.bridge}v{index}"

    def cgroup(self, index: int) -> str:
        """Name of the cgroup that holds a node's pods."""
        return f"{self.bridge}-{index}"


def take() -> Network:
    """A network that nobody on this machine has; it carries the id of this process, for `leftovers`."""
    taken = _addresses()
    for number in _NUMBERS:
        network = Network(number)
        if f" 10.{number}." in taken or _ip("link", "add", network.bridge, "type", "bridge", check=False):
            continue
        _ip("link", "set", network.bridge, "alias", str(os.getpid()))
        _ip("addr", "add", f"{network.api}/32", "dev", network.bridge)
        _ip("addr", "add", f"{network.host}/24", "dev", network.bridge)
        _ip("link", "set", network.bridge, "up")
        return network
    raise AssertionError("no free network between 10.72.0.0 and 10.95.0.0")


def release(network: Network) -> None:
    """Nothing of it is left."""
    # A namespace outlives its last process while the kernel still sends what that had not sent, and a cable with it.
    for device in (*_devices(f"{network.bridge}v*"), network.bridge):
        _ip("link", "del", device, check=False)


def connect(network: Network, index: int, count: int, process: int) -> None:
    """Give the network namespace of `process` its addresses and the routes to all other pods; there is no way out."""
    cable = network.cable(index)
    _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(process))
    _ip("link", "set", cable, "master", network.bridge, "up")
    _ip("route", "replace", network.pods(index), "via", network.node(index), "dev", network.bridge)
    inside = ["nsenter", "--target", str(process), "--net", "ip"]
    orders = [
        "link set lo up",
        f"addr add {network.node(index)}/24 dev eth0",
        "link set eth0 up",
        f"route add {network.api}/32 via {network.host}",
    ]
    others = (other for other in range(count) if other != index)
    orders += [f"route add {network.pods(other)} via {network.node(other)}" for other in others]
    for order in orders:
        _run([*inside, *order.split()])
    forward = "echo 1 > /proc/sys/net/ipv4/ip_forward"
    _run(["nsenter", "--target", str(process), "--net", "sh", "-c", forward])


def leftovers() -> Iterator[Network]:
    """Networks whose owner has ended without taking them down."""
    names = set(_devices(f"{PREFIX}*"))
    for number in _NUMBERS:
        network = Network(number)
        if network.bridge in names:
            owner = Path("/sys/class/net", network.bridge, "ifalias").read_text().strip()
            if not owner or Path("/proc", owner).exists():
                continue  # somebody's, or about to be
        if any(name == network.bridge or name.startswith(f"{network.bridge}v") for name in names):
            yield network


def _devices(pattern: str) -> list[str]:
    return [device.name for device in Path("/sys/class/net").glob(pattern)]


def _addresses() -> str:
    """Of this machine and its routes: a network that is in use anywhere near is left alone."""
    shown = (_run(["ip", "-4", "-o", *what]) for what in (["addr", "show"], ["route", "show"]))
    return " ".join(f" {line}" for text in shown for line in text.splitlines())


def _ip(*arguments: str, check: bool = True) -> int:
    done = subprocess.run(["ip", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert not check or done.returncode == 0, f"ip {' '.join(arguments)}: {done.stdout}"
    return done.returncode


def _run(command: list[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}"
    return done.stdout
