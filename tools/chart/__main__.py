"""`python -m tools.chart` writes the generated files of the chart; with --check it fails if they are not up to date."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from tools import generated
from tools.chart import schema, templates, written

CHART = generated.ROOT / "charts/finetune-operator"
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
    return generated.keep(
        {CHART / name: make() for name, make in FILES.items()}, check=arguments == ["--check"]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
