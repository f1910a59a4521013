"""How often the kernel has killed a process of this container for lack of memory."""

from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def out_of_memory_kills(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """The `oom_kill` counter of this process's memory cgroup, version 2 or 1; 0 where there is none."""
    return max((_counter(path) for path in _files(cgroups, membership)), default=0)


def _files(cgroups: Path, membership: Path) -> list[Path]:
    """Candidates: inside a container the membership may name a path that is only visible outside."""
    files = [cgroups / "memory.events", cgroups / "memory" / "memory.oom_control"]
    for line in _lines(membership):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            files.append(cgroups / path.strip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            files.append(cgroups / "memory" / path.strip("/") / "memory.oom_control")
    return files


def _counter(path: Path) -> int:
    fields = (line.split() for line in _lines(path))
    return next((int(field[1]) for field in fields if field[:1] == ["oom_kill"]), 0)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
