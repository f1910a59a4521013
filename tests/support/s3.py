"""A real S3 server (versitygw) on loopback over a temporary folder, and a proxy that cuts its connections."""

import contextlib
import os
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Literal

import pytest

from built_tools import built
from certificates import Identity
from daemons import free_ports
from finetune_store.storage import StorageOptions, Store, open_store
from waiting import eventually

ACCESS_KEY, SECRET_KEY = "test-access", "test-secret-key"
BUCKET = "bucket"
PATIENCE = 20.0


@dataclass(frozen=True)
class S3:
    """Where the server listens and what it serves."""

    endpoint: str
    folder: Path
    """Its storage: a bucket is a folder, an object is a file."""
    credentials: Path
    """A credentials folder that it accepts."""

    def store(self, prefix: str, patience: float = PATIENCE) -> Store:
        return self.store_at(self.endpoint, prefix, patience)

    def store_at(self, endpoint: str, prefix: str, patience: float = PATIENCE) -> Store:
        options = StorageOptions(endpoint=endpoint, region="us-east-1", patience=patience)
        return open_store(f"s3://{BUCKET}/{prefix}", options, self.credentials)

    def environment(self) -> dict[str, str]:
        """What a process needs to reach the server without a credentials folder."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
        }


@contextlib.contextmanager
def serve(folder: Path, identity: Identity | None = None) -> Iterator[S3]:
    """Run the server with one bucket until the block ends; over TLS if it has an identity."""
    data, credentials = folder / "data", folder / "credentials"
    (data / BUCKET).mkdir(parents=True)
    write_credentials(credentials, ACCESS_KEY, SECRET_KEY)
    tls = ["--cert", str(identity.certificate), "--key", str(identity.key)] if identity else []
    process, port = _start(data, folder / "server.log", tls)
    try:
        yield S3(f"http{'s' if tls else ''}://127.0.0.1:{port}", data, credentials)
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """The server, one for all tests; each uses a prefix of its own."""
    with serve(tmp_path_factory.mktemp("s3")) as server:
        yield server


def write_credentials(folder: Path, access_key: str, secret_key: str) -> None:
    """Make a credentials folder, or change one."""
    folder.mkdir(exist_ok=True)
    (folder / "accessKeyId").write_text(access_key + "\n")
    (folder / "secretAccessKey").write_text(secret_key + "\n")


def _start(data: Path, log: Path, options: Sequence[str]) -> tuple["subprocess.Popen[bytes]", int]:
    program = built("versitygw") / "versitygw"
    for _ in range(5):
        (port,) = free_ports(1)
        command = [str(program), "--port", f"127.0.0.1:{port}", "--quiet", *options, "posix", str(data)]
        keys = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, **keys})
        if _listens(process, port):
            return process, port
    raise AssertionError(log.read_text())


def _listens(process: "subprocess.Popen[bytes]", port: int) -> bool:
    """Wait for the server; False if it ended, since somebody else had taken the port meanwhile."""
    eventually(lambda: process.poll() is not None or _accepts(port))
    return process.poll() is None


def _accepts(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@dataclass
class Cut:
    """Which request's connection to cut: the `number`-th (1, 2, …), before or after it is served."""

    number: int
    when: Literal["before", "after"]
    for_good: bool = True
    """Whether nothing gets through afterwards, as if the client's machine had died."""


class CuttingProxy:
    """A proxy in front of the server at `upstream` that cuts the connection of one request."""

    def __init__(self, upstream: str, cut: Cut | None = None) -> None:
        self.requests: list[str] = []
        """First line of each request that came."""
        self._cut = cut
        self._dead = False
        self._lock = threading.Lock()
        host, _, port = upstream.removeprefix("http://").partition(":")
        self.upstream = (host, int(port))
        self._server = _ProxyServer(("127.0.0.1", 0), _Connection)
        self._server.proxy = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "CuttingProxy":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def decide(self, first_line: str) -> Literal["pass", "before", "after"]:
        """What to do with the request that begins with this line."""
        with self._lock:
            self.requests.append(first_line)
            if self._dead:
                return "before"
            if self._cut is None or len(self.requests) != self._cut.number:
                return "pass"
            self._dead = self._cut.for_good
            return self._cut.when


class _ProxyServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    proxy: CuttingProxy


class _Connection(socketserver.StreamRequestHandler):
    server: _ProxyServer

    def handle(self) -> None:
        proxy = self.server.proxy
        with contextlib.suppress(ConnectionError):
            while request := _read_request(self.rfile):
                decision = proxy.decide(request.partition(b"\r\n")[0].decode())
                if decision == "before":
                    return
                response = _forward(proxy.upstream, request)
                if decision == "after":
                    return
                self.wfile.write(response)


def _read_request(file: BufferedIOBase) -> bytes:
    """One request, body included; empty at the end of the connection."""
    lines = []
    length = 0
    while line := file.readline():
        lines.append(line)
        name, _, value = line.decode("latin-1").partition(":")
        if name.lower() == "content-length":
            length = int(value)
        if line == b"\r\n":
            return b"".join(lines) + file.read(length)
    return b""


def _forward(upstream: tuple[str, int], request: bytes) -> bytes:
    """The server's whole answer; it closes the connection after each."""
    with socket.create_connection(upstream, timeout=30) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(2**16), b""))
