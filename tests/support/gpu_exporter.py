"""A stand-in for NVIDIA's DCGM exporter: its default counters for one GPU of each pod."""

from collections.abc import Iterable, Iterator

USED = {"GPU_UTIL": 42, "FB_USED": 1024, "POWER_USAGE": 250, "XID_ERRORS": 0}
"""Percent, MiB, watts, code."""


def page(pods: Iterable[tuple[str, str]]) -> str:
    """What it serves; `pods` are namespaces and names."""
    return "".join(_lines(list(pods)))


def _lines(pods: list[tuple[str, str]]) -> Iterator[str]:
    for name, value in USED.items():
        yield f"# TYPE DCGM_FI_DEV_{name} gauge\n"
        for gpu, (namespace, pod) in enumerate(pods):
            labels = f'gpu="{gpu}",namespace="{namespace}",pod="{pod}",container="trainer"'
            yield f"DCGM_FI_DEV_{name}{{{labels}}} {value}\n"
