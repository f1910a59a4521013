"""What a YAML scalar without quotes means to kubectl: the rules of goyaml, followed by those of JSON."""

import math
import re

_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
for _yes, _no in (("y", "n"), ("yes", "no"), ("on", "off"), ("true", "false")):
    _WORDS |= {case(_yes): True for case in (str.lower, str.title, str.upper)}
    _WORDS |= {case(_no): False for case in (str.lower, str.title, str.upper)}

_NUMBER_BEGINS = re.compile(r"[-+.0-9]")
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*|0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_JSON = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LARGEST_WHOLE = 1e21  # from here on Go writes a whole float with an exponent


def plain(text: str) -> str | int | float | bool | None:
    """The JSON value of a scalar: "yes" -> True, "1e3" -> 1000, "1e-3" -> 0.001, "1:30" -> "1:30".

    Raises:
        ValueError: infinity or not-a-number, which JSON does not have.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _NOT_JSON.fullmatch(text):
        raise ValueError(f"{text} is not a number that a job can hold")
    if not _NUMBER_BEGINS.match(text):
        return text
    digits = text.replace("_", "")
    whole = _integer(digits)
    if whole is not None:
        return whole
    number = _float(digits)
    return text if number is None else number


def _integer(digits: str) -> int | None:
    if not _INTEGER.fullmatch(digits):
        return None
    is_octal = re.fullmatch("[-+]?0[0-7]+", digits)
    number = int(digits, 8 if is_octal else 0)
    return number if -(2**63) <= number < 2**64 else None


def _float(digits: str) -> int | float | None:
    number = float(digits) if _FLOAT.fullmatch(digits) else math.inf
    if not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) < _LARGEST_WHOLE else number
