"""The programs of tools/, built on first use."""

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def built(name: str) -> Path:
    """The folder with the programs of tools/`name`; minutes if the cache lacks them."""
    done = subprocess.run([ROOT / "tools/build.sh", name], check=True, stdout=subprocess.PIPE, text=True)
    return Path(done.stdout.strip())
