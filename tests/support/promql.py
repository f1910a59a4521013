"""What an expression of PromQL reads: the names of its series and the labels that it asks for."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""\s+|\#[^\n]*
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
    |(?P<number>0[xX][0-9a-fA-F]+|(?:[0-9]+(?:ms|[smhdwy]))+|[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)
    |(?P<word>[a-zA-Z_][a-zA-Z0-9_:]*)
    |(?P<sign>=~|!~|!=|==|<=|>=|[-+*/%^=<>(){}\[\],@:])""",
    re.VERBOSE,
)
_LISTS = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
"""Words that may be followed by a list of labels."""
_WORDS = _LISTS | {"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan"}


@dataclass(frozen=True)
class Selector:
    """Series by name and the labels that are matched."""

    name: str
    labels: tuple[str, ...]


class NotReadableError(Exception):
    """No PromQL, or more of it than is used here."""


def selectors(expr: str) -> list[Selector]:
    """In the order in which they stand. The expression has to be valid."""
    tokens = list(_tokens(expr))
    found, place = [], 0
    while place < len(tokens):
        kind, text = tokens[place]
        following = tokens[place + 1][1] if place + 1 < len(tokens) else ""
        place += 1
        if kind == "word" and text.lower() in _LISTS and following == "(":
            place = _end(tokens, place, ")")
        elif kind == "word" and _is_name(text, following):
            labels: tuple[str, ...] = ()
            if following == "{":
                end = _end(tokens, place, "}")
                labels = tuple(word for kind, word in tokens[place:end] if kind == "word")
                place = end
            found.append(Selector(text, labels))
        elif text == "{":
            raise NotReadableError(f"series without a name: {expr}")
    return found


def grouping(expr: str) -> set[str]:
    """Labels that are grouped and matched by."""
    tokens, found = list(_tokens(expr)), set()
    for place, (kind, text) in enumerate(tokens[:-1]):
        if kind == "word" and text.lower() in _LISTS and tokens[place + 1][1] == "(":
            inside = tokens[place + 2 : _end(tokens, place + 1, ")") - 1]
            found |= {word for kind, word in inside if kind == "word"}
    return found


def _is_name(text: str, following: str) -> bool:
    return text.lower() not in _WORDS and following != "(" and following.lower() not in ("by", "without")


def _end(tokens: Sequence[tuple[str, str]], start: int, closing: str) -> int:
    """The place after the bracket that closes the one at `start`."""
    return next(place for place in range(start, len(tokens)) if tokens[place][1] == closing) + 1


def _tokens(expr: str) -> Iterator[tuple[str, str]]:
    place = 0
    while place < len(expr):
        match = _TOKEN.match(expr, place)
        if match is None:
            raise NotReadableError(f"{expr[place : place + 20]!r} in {expr}")
        if match.lastgroup:
            yield match.lastgroup, match[0]
        place = match.end()
