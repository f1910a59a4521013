"""`python -m tools.dashboards` writes the dashboards of the chart; with --check it fails if they are not up to date."""

import json
import sys
from pathlib import Path

from tools.dashboards.fleet import fleet
from tools.dashboards.job import job

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "charts/finetune-operator/files/dashboards"


def main(arguments: list[str]) -> int:
    """The exit status."""
    made = {FOLDER / "fleet.json": fleet(), FOLDER / "job.json": job()}
    wanted = {path: json.dumps(body, indent=1, ensure_ascii=False) + "\n" for path, body in made.items()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if arguments == ["--check"]:
        for path in stale:
            print(
                f"{path.relative_to(ROOT)} is not what the code makes: run 'make generate'", file=sys.stderr
            )
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
