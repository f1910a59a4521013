"""A real Prometheus on loopback, and what it answers."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from daemons import Daemon, free_ports
from monitoring_files import prometheus
from waiting import eventually

Body = dict[str, Any]


class Prometheus:
    """One that runs."""

    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, expr: str) -> list[Body]:
        """The instant vector, now; scalars as one sample without labels."""
        data = self._get("query", query=expr)
        return (
            [{"metric": {}, "value": data["result"]}]
            if data["resultType"] == "scalar"
            else list(data["result"])
        )

    def value(self, expr: str) -> float | None:
        """Of the only sample; None without one."""
        found = self.query(expr)
        assert len(found) < 2, found
        return float(found[0]["value"][1]) if found else None

    def values(self, expr: str, start: float, end: float, step: float = 1.0) -> list[Body]:
        """The range vector."""
        found = self._get("query_range", query=expr, start=str(start), end=str(end), step=str(step))
        return list(found["result"])

    def targets(self) -> list[Body]:
        """What it scrapes."""
        return list(self._get("targets", state="active")["activeTargets"])

    def rules(self) -> list[Body]:
        """All rules with their health."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def names(self) -> set[str]:
        """Of all series."""
        return set(self._get("label/__name__/values"))

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with urlopen(f"{self._url}/-/ready", timeout=10) as answer:
                return bool(answer.status == 200)
        except (HTTPError, URLError, ConnectionError):
            return False

    def _get(self, what: str, **query: str) -> Any:
        try:
            with urlopen(f"{self._url}/api/v1/{what}?{urlencode(query)}", timeout=30) as answer:
                found = json.load(answer)
        except HTTPError as error:
            raise AssertionError(f"{what} {query}: {error.read().decode()}") from None
        assert not found.get("warnings"), (query, found["warnings"])
        return found["data"]


@contextlib.contextmanager
def running(folder: Path, config: Body, rules: Body) -> Iterator[Prometheus]:
    """With this configuration and these groups of rules, until the block ends."""
    (port,) = free_ports(1)
    rule_file, config_file = folder / "rules.yaml", folder / "prometheus.yaml"
    rule_file.write_text(yaml.safe_dump(rules))
    config_file.write_text(yaml.safe_dump({**config, "rule_files": [str(rule_file)]}))
    command: list[str | Path] = [
        prometheus() / "prometheus",
        f"--config.file={config_file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    daemon = Daemon(command, folder / "prometheus.log")
    daemon.start()
    try:
        server = Prometheus(f"http://127.0.0.1:{port}")
        eventually(lambda: server.is_ready() or not daemon.running, 60.0, daemon.log_tail)
        assert daemon.running, daemon.log_tail()
        yield server
    finally:
        daemon.stop()
