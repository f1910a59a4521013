"""`python -m tools.docs`: writes docs/reference. `--check` only compares; `reasons` lists every reason in the code."""

import argparse
import sys

from tools import generated
from tools.docs import exit_codes_page, job_page, metrics_page, reasons, settings_page

FOLDER = generated.ROOT / "docs" / "reference"


def pages() -> dict[str, str]:
    """Every page by its file's name."""
    found = reasons.collect()
    return {
        "finetunejob.md": job_page.page(found),
        "metrics.md": metrics_page.page(),
        "settings.md": settings_page.page(),
        "exit-codes.md": exit_codes_page.page(found),
    }


def main(arguments: list[str]) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs", description=__doc__)
    parser.add_argument("what", nargs="?", choices=["pages", "reasons"], default="pages")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a page is not what it would be"
    )
    options = parser.parse_args(arguments)
    if options.what == "reasons":
        print("\n".join(sorted(reasons.collect().given)))
        return 0
    return generated.keep({FOLDER / name: text for name, text in pages().items()}, check=options.check)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
