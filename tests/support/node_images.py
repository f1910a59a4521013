"""Images without an engine: one layer of static programs, packed as `docker save` does."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from built_tools import built
from node_files import PAUSE

TALK = "finetune.test/talk:1"
_NOBODY = 65535


def pause(folder: Path) -> Path:
    """The image that holds a pod's namespaces."""
    program = built("pause") / "pause"
    return pack(folder / "pause.tar", PAUSE, {"pause": program}, ["/pause"])


def talk(folder: Path) -> Path:
    """The image whose containers find one another by name."""
    return pack(folder / "talk.tar", TALK, {"talk": built("pause") / "talk"}, ["/talk"])


def pack(archive: Path, tag: str, programs: Mapping[str, Path], entrypoint: Sequence[str]) -> Path:
    """Write an image with nothing but these programs at its root."""
    layer = _layer(programs)
    digest = hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": list(entrypoint), "User": f"{_NOBODY}:{_NOBODY}"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": [f"{digest}/layer.tar"]}]
    parts = {name: config, f"{digest}/layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}
    with tarfile.open(archive, "w") as tar:
        for part, content in parts.items():
            _add(tar, part, content, 0o644)
    return archive


def _layer(programs: Mapping[str, Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, program in sorted(programs.items()):
            _add(tar, name, program.read_bytes(), 0o755)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))
