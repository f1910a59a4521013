"""`python -m tools.dashboards` writes the dashboards of the chart; with --check it fails if they are not up to date."""

import json
import sys

from tools import generated
from tools.dashboards.fleet import fleet
from tools.dashboards.job import job

FOLDER = generated.ROOT / "charts/finetune-operator/files/dashboards"


def main(arguments: list[str]) -> int:
    """The exit status."""
    made = {FOLDER / "fleet.json": fleet(), FOLDER / "job.json": job()}
    wanted = {path: json.dumps(body, indent=1, ensure_ascii=False) + "\n" for path, body in made.items()}
    return generated.keep(wanted, check=arguments == ["--check"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
