"""Where a storage may not be: addresses that hand the node's or the cloud's credentials to whoever asks.

Endpoint and proxy are the job's to choose, so a pod looks where they lead before it sends anything there: after
DNS, and whatever way the address is spelled. Addresses inside the cluster are fine. Locally nothing is closed.
"""

import os
import re
import socket
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from finetune_api.contract import Env
from finetune_api.errors import BadConfiguration, Denied

Address = IPv4Address | IPv6Address

PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_URL = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9]*://)?"
    r"(?:[-A-Za-z0-9._~%!$&'()*+,;=:]*@)?"
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9][-A-Za-z0-9_.]*))"
    r"(?::[0-9]{1,5})?(?:/[-A-Za-z0-9._~/]*)?"
)
"""Only what every reader of URLs understands alike: `http://a\\@b/` leads some of them to a and others to b."""
_TRANSLATED = IPv6Network("64:ff9b::/96")
"""NAT64: an IPv4 address is in the last four bytes."""


def require_open(endpoint: str | None, environment: Mapping[str, str] = os.environ) -> None:
    """Returns when neither `endpoint` nor a proxy on the way to it is at a closed address.

    A name that nobody knows is left to whoever connects.

    Raises:
        Denied: one of them is, or its address cannot be made out.
        BadConfiguration: the list of closed addresses is not one.
    """
    closed = _networks(environment.get(Env.CLOSED, ""))
    if not closed:
        return
    asked = {"spec.storage.endpoint": endpoint} | {
        name: url for name, url in environment.items() if name.lower() in PROXIES
    }
    for what, url in asked.items():
        if url:
            _look(what, url, closed)


def _look(what: str, url: str, closed: list[str]) -> None:
    found = _URL.fullmatch(url)
    if found is None:
        raise _denied(what, "is not a plain URL, so nobody can say for certain where it leads")
    host = found["six"] or found["name"]
    for address in _addresses(host):
        if any(address in ip_network(network) for network in closed):
            raise _denied(what, f"leads to {host}, which is {address}: closed to the workers of a job")


def _addresses(host: str) -> Iterator[Address]:
    """Every address of the host, and the IPv4 one inside an IPv6 one. Decimal, octal and hex are the resolver's."""
    try:
        found = socket.getaddrinfo(host.rstrip("."), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    for *_, place in found:
        address = ip_address(str(place[0]).partition("%")[0])
        yield address
        if isinstance(address, IPv6Address) and (inner := _inside(address)) is not None:
            yield inner


def _inside(address: IPv6Address) -> IPv4Address | None:
    if address in _TRANSLATED:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour


def _networks(text: str) -> list[str]:
    found = [part.strip() for part in text.split(",") if part.strip()]
    for part in found:
        try:
            ip_network(part)
        except ValueError:
            raise BadConfiguration(
                "BadEnvironment", f"{Env.CLOSED} names `{part}`", "CIDRs such as 169.254.0.0/16"
            ) from None
    return found


def _denied(what: str, why: str) -> Denied:
    return Denied(
        "AddressClosed",
        f"{what} {why}",
        "a storage service, or a proxy, at an address of the network",
        f"correct {what}; or ask the platform's owners to open the address (trainer.closedAddresses)",
    )
