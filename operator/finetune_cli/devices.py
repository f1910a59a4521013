"""How a machine's processors and GPUs are dealt to the workers of a local run. Pure, but for two probes."""

import os
from pathlib import Path


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[str]:
    """GPUs as CUDA_VISIBLE_DEVICES names them: those it already names, else every NVIDIA device there is."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    # CUDA counts the devices that it can open, whatever their numbers are.
    return [str(ordinal) for ordinal, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


def threads_per_worker(num_cores: int, workers: int) -> int:
    """Processor threads of each worker's TensorFlow: an equal share, at least one."""
    return max(1, num_cores // workers)


def visible_gpus(names: list[str], workers: int, index: int) -> str | None:
    """CUDA_VISIBLE_DEVICES of worker `index`; None leaves it alone because there is no GPU.

    Workers get equal, disjoint shares. With fewer GPUs than workers nobody gets one: workers of one gang
    must compute alike.
    """
    if not names:
        return None
    share = len(names) // workers
    return ",".join(names[index * share : (index + 1) * share]) or "-1"
