"""Files that are made from code: written, or only compared with what the code makes now."""

import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]


def keep(files: Mapping[Path, str], *, check: bool) -> int:
    """The exit status. Writes what is not up to date; with `check` names it and fails instead."""
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text("utf-8") != text]
    for path in stale:
        if check:
            name = path.relative_to(ROOT)
            print(f"{name} is not what the code makes: run 'make generate'", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], "utf-8")
    return 1 if check and stale else 0
