"""Free TCP ports for the workers of a local run."""

import random
import socket
from pathlib import Path

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 15000


def free_ports(count: int, draw: random.Random) -> list[int]:
    """`count` different ports that nobody listens on now.

    A generation opens its port long after this, so the ports are drawn below the range from which the
    system serves outgoing connections: those would take one of them in the meantime.
    """
    candidates = list(range(_LOWEST, _first_ephemeral()))
    draw.shuffle(candidates)
    found: list[int] = []
    for port in candidates:
        if len(found) == count:
            break
        if _is_free(port):
            found.append(port)
    if len(found) < count:
        raise OSError(f"fewer than {count} free TCP ports between {_LOWEST} and {_first_ephemeral()}")
    return found


def _first_ephemeral() -> int:
    try:
        return max(_LOWEST + 1000, int(_EPHEMERAL.read_text().split()[0]))
    except (OSError, ValueError):
        return 32768


def _is_free(port: int) -> bool:
    # TensorFlow's server listens on all addresses, so the port has to be free on all of them.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
