"""What an exporter serves, read with the client library's own parser."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Scrape:
    """One answer of /metrics: samples by name."""

    samples: Mapping[str, list[tuple[dict[str, str], float]]]

    def value(self, name: str, **labels: str) -> float | None:
        """The only sample with these labels; None without one."""
        found = self.all(name, **labels)
        assert len(found) < 2, f"{name}{labels} is not one sample: {found}"
        return found[0][1] if found else None

    def total(self, name: str, **labels: str) -> float:
        """Sum over all samples with these labels."""
        return sum(value for _, value in self.all(name, **labels))

    def all(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """All samples with these labels, whatever others they have."""
        return [one for one in self.samples.get(name, []) if labels.items() <= one[0].items()]


def scrape(url: str) -> Scrape:
    """GET `url`."""
    with urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    samples: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((dict(sample.labels), sample.value))
    return Scrape(samples)
