"""An endpoint at an address that hands out credentials is refused, however it is spelled and after DNS."""

import socket
from pathlib import Path
from typing import Any

import pytest

from finetune_api.contract import Env, ExitCode
from finetune_api.errors import BadConfiguration, Denied
from finetune_operator.settings import Settings
from finetune_store.addresses import require_open
from finetune_store.storage import StorageOptions, open_store

_SETTINGS = Settings()
CLOSED = ",".join([*_SETTINGS.trainer.closed_addresses, *_SETTINGS.network_policy.metadata_addresses])
"""As the operator gives them to its pods."""
POD = {Env.CLOSED.value: CLOSED}
NAMES = {
    "metadata.google.internal": ["169.254.169.254"],
    "two-faces.example": ["10.0.0.7", "169.254.169.254"],
    "minio.storage.svc": ["10.96.4.2"],
    "s3.eu-central-1.amazonaws.com": ["52.219.170.1", "2600:1fa0:4100::1"],
    "mapped.example": ["::ffff:100.100.100.200"],
}


@pytest.fixture(autouse=True)
def _resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Knows NAMES; numbers of any spelling are left to the system's own resolver, which asks nobody about them."""
    ask = socket.getaddrinfo

    def getaddrinfo(host: str, *rest: Any, **options: Any) -> list[Any]:
        if host in NAMES:
            return [(0, 0, 0, "", (address, 0)) for address in NAMES[host]]
        return list(ask(host, *rest, flags=socket.AI_NUMERICHOST, **options))

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://169.254.169.254",
        "http://169.254.169.254:80/latest/meta-data/",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://0xA9.0xFE.0xA9.0xFE/",
        "http://0251.0376.0251.0376/",
        "http://169.254.43518/",
        "http://169.16689662/",
        "http://169.254.169.254./",
        "http://[::ffff:169.254.169.254]/",
        "http://[::ffff:a9fe:a9fe]:80/",
        "http://[0:0:0:0:0:ffff:a9fe:a9fe]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:a9fe:a9fe::1]/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
        "http://169.254.170.2/v2/credentials",
        "http://100.100.100.200/",
        "http://127.0.0.1:10255",
        "http://127.1:10255",
        "http://0.0.0.0/",
        "http://[::1]:2379",
        "http://[::]/",
        "http://user:password@169.254.169.254/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "https://two-faces.example",
        "http://mapped.example",
    ],
)
def test_no_spelling_of_a_closed_address_gets_through(endpoint: str) -> None:
    with pytest.raises(Denied, match=r"spec\.storage\.endpoint leads to .*closed to the workers") as caught:
        require_open(endpoint, POD)
    assert caught.value.exit_code == ExitCode.DENIED
    assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://169.254.169.254\\@minio.storage.svc/",
        "http://minio.storage.svc\\@169.254.169.254/",
        "http://minio.storage.svc@169.254.169.254@minio.storage.svc/",
        "http://169.254.169.254#@minio.storage.svc/",
        "http://minio.storage.svc?@169.254.169.254/",
        "http://%31%36%39.254.169.254/",
        "http://169。254。169。254/",
        "http://１６９.254.169.254/",
        "http://[fe80::1%25eth0]/",
        "http:169.254.169.254",
        "http:///169.254.169.254",
    ],
)
def test_what_readers_of_urls_disagree_about_is_refused(endpoint: str) -> None:
    with pytest.raises(Denied, match="not a plain URL"):
        require_open(endpoint, POD)


@pytest.mark.parametrize(
    "endpoint",
    [
        None,
        "http://minio.storage.svc:9000",
        "https://s3.eu-central-1.amazonaws.com",
        "http://10.0.0.7:9000/",
        "http://192.168.1.20:7070",
        "http://[fd12:3456::1]:9000",
        "https://nobody-knows-this.example",
    ],
)
def test_storage_inside_the_cluster_and_outside_is_reached(endpoint: str | None) -> None:
    require_open(endpoint, POD)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    "proxy", ["http://169.254.169.254:80", "169.254.169.254:80", "socks5://u:p@localhost4:1"]
)
def test_a_proxy_is_no_way_around(name: str, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NAMES, "localhost4", ["127.0.0.1"])
    with pytest.raises(Denied, match=f"^{name} leads to"):
        require_open(None, POD | {name: proxy})


def test_what_is_not_proxied_has_no_address() -> None:
    require_open(None, POD | {"NO_PROXY": "169.254.169.254,.svc", "HTTPS_PROXY": ""})


def test_on_a_laptop_nothing_is_closed() -> None:
    require_open("http://127.0.0.1:9000", {})
    require_open("http://127.0.0.1:9000", {Env.CLOSED.value: ""})


def test_a_list_that_cannot_be_read_closes_everything() -> None:
    with pytest.raises(BadConfiguration, match=r"FINETUNE_CLOSED_ADDRESSES names `10\.0\.0\.0/99`"):
        require_open(None, {Env.CLOSED.value: "127.0.0.0/8, 10.0.0.0/99"})


def test_a_store_at_a_closed_address_is_never_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        monkeypatch.setenv(Env.CLOSED, CLOSED)
        options = StorageOptions(f"http://127.0.0.1:{server.getsockname()[1]}", "us-east-1", patience=0.1)
        (tmp_path / "accessKeyId").write_text("a")
        (tmp_path / "secretAccessKey").write_text("b")
        with pytest.raises(Denied, match=r"127\.0\.0\.1: closed to the workers"):
            open_store("s3://bucket/x", options, tmp_path).get("y")
        with pytest.raises(BlockingIOError):
            server.accept()
