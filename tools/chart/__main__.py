"""`python -m tools.chart` writes the generated files of the chart; with --check it fails if they are not up to date."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from tools.chart import schema, templates, written

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/finetune-operator"
README_HEAD = Path(__file__).with_name("README.head")


def _readme() -> str:
    return README_HEAD.read_text() + "\n" + written.table(schema.values_schema())


FILES: dict[str, Callable[[], str]] = {
    "values.yaml": lambda: written.values_yaml(schema.values_schema()),
    "values.schema.json": lambda: json.dumps(schema.values_schema(), indent=2) + "\n",
    "README.md": _readme,
    "templates/_rules.tpl": templates.rules,
    "templates/crd.yaml": templates.custom_resource,
}


def main(arguments: list[str]) -> int:
    """The exit status."""
    wanted = {CHART / name: make() for name, make in FILES.items()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if arguments == ["--check"]:
        for path in stale:
            print(
                f"{path.relative_to(ROOT)} is not what the code makes: run 'make generate'", file=sys.stderr
            )
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
