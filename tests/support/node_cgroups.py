"""A cgroup of its own for each node: two kubelets under one root would take each other's pods for orphans."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_WANTED = ("cpuset", "cpu", "io", "memory", "pids")


def make(name: str) -> None:
    """In every hierarchy of version 1, or in the one of version 2."""
    if is_v2():
        controllers = (ROOT / "cgroup.controllers").read_text().split()
        usable = " ".join(f"+{one}" for one in _WANTED if one in controllers)
        (ROOT / "cgroup.subtree_control").write_text(usable)
    for hierarchy in hierarchies():
        folder = hierarchy / name
        folder.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            # Version 1 lets no process in before these are set.
            if not is_v2() and (hierarchy / file).exists():
                (folder / file).write_text((hierarchy / file).read_text())


def remove(name: str, within: float = 10.0) -> None:
    """With all below it; its processes have been killed and may take a moment to be gone."""
    deadline = time.monotonic() + within
    while left := [folder for hierarchy in hierarchies() for folder in _deepest_first(hierarchy / name)]:
        for folder in left:
            with contextlib.suppress(OSError):
                folder.rmdir()
        assert time.monotonic() < deadline, f"cgroups are left: {left[:3]}"
        time.sleep(0.02)


def named(prefix: str) -> set[str]:
    """Cgroups whose name begins so."""
    return {folder.name for hierarchy in hierarchies() for folder in hierarchy.glob(f"{prefix}*")}


def processes(below: str, part: str) -> list[int]:
    """Processes of this machine in cgroups of node `below` whose path has `part` in it, such as a pod's uid."""
    folder = (ROOT if is_v2() else ROOT / "memory") / below
    files = [file for file in folder.rglob("cgroup.procs") if part in str(file)]
    return [int(pid) for file in files for pid in file.read_text().split()]


def is_v2() -> bool:
    """Whether this machine has version 2 alone."""
    return (ROOT / "cgroup.controllers").exists()


def hierarchies() -> list[Path]:
    """Roots of the trees that hold cgroups; beside version 1 there may be one of version 2 without controllers."""
    if is_v2():
        return [ROOT]
    return [one for one in sorted(ROOT.iterdir()) if one.is_dir() and not one.is_symlink()]


def _deepest_first(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted((one for one in folder.rglob("*") if one.is_dir()), reverse=True)
        yield folder
