"""The object store of real nodes: versitygw with accounts, so that keys can come and go while it runs."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from built_tools import built
from daemons import Daemon
from waiting import eventually

PORT = 7070
_ROOT = ("root-access", "root-secret-key")


@dataclass(frozen=True)
class Account:
    """A key pair that may do everything."""

    access: str
    secret: str


@dataclass(frozen=True)
class NodeStore:
    """A running store; a bucket is a folder in `folder`, an object is a file."""

    endpoint: str
    folder: Path

    def bucket(self, name: str) -> Path:
        """A bucket, made if need be; what is written into its folder is an object."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def add(self, account: Account) -> None:
        """From now on it is let in."""
        keys = ["--access", account.access, "--secret", account.secret]
        self._admin("create-user", *keys, "--role", "admin")

    def remove(self, account: Account) -> None:
        """From now on it is turned away."""
        self._admin("delete-user", "--access", account.access)

    def _admin(self, *arguments: str) -> None:
        root = ["--access", _ROOT[0], "--secret", _ROOT[1], "--endpoint-url", self.endpoint]
        command = [f"{built('versitygw')}/versitygw", "admin", *root, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, f"{arguments[0]}: {done.stdout}"


@contextlib.contextmanager
def serve(folder: Path, host: str) -> Iterator[NodeStore]:
    """Run it until the block ends."""
    data, accounts = folder / "objects", folder / "accounts"
    data.mkdir(parents=True)
    accounts.mkdir()
    command = [
        f"{built('versitygw')}/versitygw",
        *("--port", f"{host}:{PORT}", "--quiet", "--iam-dir", str(accounts), "--iam-cache-disable"),
        *("posix", str(data)),
    ]
    keys = {"ROOT_ACCESS_KEY": _ROOT[0], "ROOT_SECRET_KEY": _ROOT[1]}
    server = Daemon(command, folder / "store.log", keys)
    server.start()
    try:
        eventually(lambda: _accepts(server, host), 20, server.log_tail)
        yield NodeStore(f"http://{host}:{PORT}", data)
    finally:
        server.stop()


def _accepts(server: Daemon, host: str) -> bool:
    assert server.running, server.log_tail()
    with contextlib.suppress(OSError), socket.create_connection((host, PORT), timeout=1):
        return True
    return False
