"""Small pieces of Markdown."""

import json
import re
from collections.abc import Iterable, Sequence

NOTE = "<!-- Made by `make generate` from the code: change that, not this page. -->"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; columns that are empty in every row are left out."""
    rows = [tuple(row) for row in rows]
    kept = [place for place in range(len(head)) if place == 0 or any(row[place] for row in rows)]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(line[place]) for place in kept) + " |" for line in lines)


def code(value: object) -> str:
    """A value as YAML's flow style has it."""
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return f"`{text}`"


def plain(text: str) -> str:
    """Text in which nothing but `code` is Markdown or HTML."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else _SPECIAL.sub(r"\\\g<0>", part) for part in parts)


_SPECIAL = re.compile(r"[*<>\[\]]|(?<!\w)_|_(?!\w)")


def anchor(name: str) -> str:
    """A place that `#name` leads to."""
    return f'<a id="{name}"></a>'


def slug(heading: str) -> str:
    """What a heading's own anchor is called."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def page(title: str, *parts: str) -> str:
    """A whole page."""
    return "\n\n".join([f"# {title}", NOTE, *(part for part in parts if part)]) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
