"""Links inside and between documents lead to a place that is there."""

import posixpath
import re
from pathlib import Path

import pytest

_CODE = re.compile(r"^( *)```.*?^\1```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (?P<text>.+)$", re.MULTILINE)
_ANCHOR = re.compile(r'<a id="(?P<name>[^"]+)"></a>')


def _slug(heading: str) -> str:
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def _anchors(text: str) -> list[str]:
    """Every place in a document that a link can lead to; a heading that is there twice gets a number."""
    found = [match["name"] for match in _ANCHOR.finditer(text)]
    prose = re.sub(r"^( *)```.*?^\1```", "", text, flags=re.MULTILINE | re.DOTALL)
    for match in _HEADING.finditer(prose):
        slug = _slug(match["text"])
        count = sum(
            known == slug or re.fullmatch(rf"{re.escape(slug)}-\d+", known) is not None for known in found
        )
        found.append(f"{slug}-{count}" if count else slug)
    return found


def _links(text: str) -> list[str]:
    targets = (match["target"] for match in _LINK.finditer(_CODE.sub("", text)))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def test_every_link_leads_to_a_file_and_a_place_in_it(texts: dict[str, str], root: Path) -> None:
    documents = {name: text for name, text in texts.items() if name.endswith(".md")}
    anchors = {name: set(_anchors(text)) for name, text in documents.items()}
    broken = []
    for name, text in documents.items():
        for target in _links(text):
            path, _, place = target.partition("#")
            file = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
            if not (root / file).exists() or (place and place not in anchors.get(file, {place})):
                broken.append(f"{name}: {target}")
    assert not broken


def test_no_place_is_there_twice(texts: dict[str, str]) -> None:
    for name, text in texts.items():
        if name.endswith(".md") and name.startswith("docs/"):
            found = _ANCHOR.findall(text)
            assert len(found) == len(set(found)), name


def test_the_index_leads_to_every_page(texts: dict[str, str]) -> None:
    linked = {
        posixpath.normpath(f"docs/{target.partition('#')[0]}") for target in _links(texts["docs/README.md"])
    }
    pages = {
        name
        for name in texts
        if re.fullmatch(r"docs/(reference/)?[^/]+\.md", name) and not name.endswith("/README.md")
    }
    assert pages - linked == set()


@pytest.mark.parametrize(
    ("heading", "slug"),
    [
        ("spec.stages[].lrSchedule", "specstageslrschedule"),
        ("It does not start", "it-does-not-start"),
        ("`make` and [more](x.md)", "make-and-more"),
    ],
)
def test_a_heading_is_called_like_this_in_links(heading: str, slug: str) -> None:
    assert _slug(heading) == slug
