"""A network namespace of its own for a local run, where the system allows it.

TensorFlow's server listens on all addresses whatever TF_CONFIG says, and whoever reaches it can run code.
A run that needs nothing but this machine's disk is put where only its own processes can reach it.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

from finetune_api.errors import BadConfiguration
from finetune_api.plan import ResolvedJob

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1

_WARNING = (
    "note: while workers train, TensorFlow's ports listen on all addresses of this machine; "
    "use --workers 1 or a firewall where others can reach it"
)


def choose(resolved: ResolvedJob, private: bool | None) -> list[str]:
    """Enter a private network if it is asked for, or (None) possible and enough; what the user should know.

    Raises:
        BadConfiguration: it is asked for and cannot be had.
    """
    wanted = resolved.workers > 1 and is_enough(resolved) if private is None else private
    if wanted and enter():
        return []
    if private:
        raise BadConfiguration(
            "NoPrivateNetwork",
            "this system does not let its users make a network namespace",
            "Linux with unprivileged user namespaces",
            "leave --private-network out",
        )
    return [_WARNING] if resolved.workers > 1 else []


def is_enough(resolved: ResolvedJob) -> bool:
    """Whether the job reads and writes only this machine's files.

    ImageNet weights of Keras may have to be downloaded; those of EfficientNet-Lite are converted before.
    """
    named = [resolved.train_uri, resolved.validation_uri, resolved.output_uri]
    if resolved.weights not in ("imagenet", "none"):
        named.append(resolved.weights)
    downloads = resolved.weights == "imagenet" and not resolved.backbone.startswith("EfficientNetLite")
    return not downloads and all(uri is None or is_local(uri) for uri in named)


def is_local(uri: str) -> bool:
    """Whether a URI names a file of this machine."""
    return "://" not in uri or uri.startswith("file://")


def enter() -> bool:
    """Move this process, and so its children, into a namespace with a loopback device only.

    Returns False, and changes nothing, where the system does not allow it. Call it before there are
    threads: the kernel moves only the calling one, or refuses.
    """
    if sys.platform != "linux" or len(list(Path("/proc/self/task").iterdir())) > 1:
        return False
    user, group = os.geteuid(), os.getegid()
    # Root would lose its rights over other users' files in a user namespace, and does not need one.
    flags = _CLONE_NEWNET if user == 0 else _CLONE_NEWUSER | _CLONE_NEWNET
    if not _works(flags, user, group):
        return False
    _unshare(flags, user, group)
    return True


def _works(flags: int, user: int, group: int) -> bool:
    """Try it in a child first: half a namespace cannot be left again."""
    child = os.fork()
    if child == 0:
        try:
            _unshare(flags, user, group)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _unshare(flags: int, user: int, group: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    if flags & _CLONE_NEWUSER:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _raise_loopback()


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh22x", b"lo", 0)
        name, flags = struct.unpack("16sh22x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", name, flags | _IFF_UP))
