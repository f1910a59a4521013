"""The one way a job file is read: YAML exactly as kubectl reads it, then checked field by field.

kubectl turns YAML into JSON first (sigs.k8s.io/yaml). So `1e-3` is a number (PyYAML alone makes it a
string), `1e3` is the whole number 1000, `1:30` is text and `yes` is true. What kubectl or the API server
would refuse is refused here too, such as not-a-number; and so are a key that is there twice, of which kubectl
takes the last without a word, and a second document.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from finetune_api import messages, yaml_scalars
from finetune_api.errors import BadJob, Denied, MissingInput
from finetune_api.v1alpha1 import FineTuneJob

_MAX_BYTES = 1_000_000
_MAX_VALUES = 20_000  # after aliases are followed: a small file cannot become a large job
_STRING = "tag:yaml.org,2002:str"
_PLAIN = "plain"
"""Our own tag for a scalar without quotes or tag, whose meaning `yaml_scalars` decides."""

_FIX_KIND = "begin with `apiVersion: finetune.dev/v1alpha1` and `kind: FineTuneJob`"


class _Loader(yaml.SafeLoader):
    pass


# Instead of PyYAML's own guesses: one that fits every scalar without quotes.
_Loader.yaml_implicit_resolvers = {None: [(_PLAIN, re.compile(""))]}


def read_job(path: Path) -> FineTuneJob:
    """Read and check a job file.

    Paths inside it stay as written: like kubectl's, they are relative to the current folder, not to the
    file.

    Raises:
        MissingInput: there is no such file.
        Denied: it may not be read.
        BadJob: it is not YAML, not a FineTuneJob, or has fields that are wrong; all of them are named.
    """
    text = _read(path)
    return parse_job(load(text, str(path)), str(path), text)


def parse_job(document: dict[str, Any], source: str, text: str = "") -> FineTuneJob:
    """Check a job that is already a dictionary, such as an object from the API server or job.json.

    Args:
        document: the FineTuneJob with the names of its YAML.
        source: what to call it in messages.
        text: its YAML, when there is one, for line numbers.

    Raises:
        BadJob: not a FineTuneJob, or with fields that are wrong; all of them are named.
    """
    _check_kind(document, source)
    try:
        return FineTuneJob.model_validate(document, by_name=False)
    except ValidationError as error:
        raise messages.explain(error, source, _lines(text)) from None


def load(text: str, source: str) -> dict[str, Any]:
    """The mapping in a YAML text, with JSON's types.

    Raises:
        BadJob: not one YAML document with a mapping in it, or one with duplicate keys.
    """
    try:
        value = _Values(source).of(_compose(text, source))
    except RecursionError:  # also an alias inside of what it stands for
        raise BadJob("InvalidYAML", f"{source} is nested too deeply") from None
    if not isinstance(value, dict):
        raise BadJob("NotAFineTuneJob", f"{source} holds no mapping", "a FineTuneJob", _FIX_KIND)
    return value


def _check_kind(document: dict[str, Any], source: str) -> None:
    found = f"{document.get('apiVersion')}, {document.get('kind')}"
    if found != "finetune.dev/v1alpha1, FineTuneJob":
        raise BadJob(
            "NotAFineTuneJob",
            f"{source} is not a FineTuneJob: its apiVersion and kind are {found}",
            "finetune.dev/v1alpha1, FineTuneJob",
            _FIX_KIND,
        )


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise MissingInput("NoJobFile", f"there is no file {path}", fix="check the path") from None
    except IsADirectoryError:
        raise MissingInput("NoJobFile", f"{path} is a folder", "a YAML file") from None
    except PermissionError:
        raise Denied("JobFileDenied", f"{path} may not be read", fix="check its permissions") from None
    if len(content) > _MAX_BYTES:
        raise BadJob(
            "NotAFineTuneJob", f"{path} has {len(content):,} bytes", f"a job of at most {_MAX_BYTES:,}"
        )
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise BadJob("NotAFineTuneJob", f"{path} is no text", "a FineTuneJob as YAML in UTF-8") from None


def _compose(text: str, source: str) -> yaml.Node:
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise BadJob("InvalidYAML", f"{source}{_where(error)} is not valid YAML: {_problem(error)}") from None
    if node is None:
        raise BadJob("NotAFineTuneJob", f"{source} is empty", "a FineTuneJob", _FIX_KIND)
    return node


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _problem(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
    return "several documents in one file" if "found another document" in str(problem) else str(problem)


class _Values:
    """Turns YAML nodes into JSON values, within a budget."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._left = _MAX_VALUES

    def of(self, node: yaml.Node) -> Any:
        self._left -= 1
        if self._left < 0:
            raise BadJob("NotAFineTuneJob", f"{self._source} holds more than {_MAX_VALUES:,} values")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.of(item) for item in node.value]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == _PLAIN and key.value == "<<":
                merged = self._merge(value) | merged
                continue
            name = self._key(key)
            if name in own:
                raise self._refuse(key, f"the key {name} is there twice")
            own[name] = self.of(value)
        return merged | own

    def _merge(self, node: yaml.Node) -> dict[str, Any]:
        parts = [self.of(item) for item in (node.value if isinstance(node, yaml.SequenceNode) else [node])]
        if not all(isinstance(part, dict) for part in parts):
            raise self._refuse(node, "<< needs a mapping")
        return {key: value for part in reversed(parts) for key, value in part.items()}

    def _scalar(self, node: yaml.Node) -> Any:
        if node.tag == _PLAIN:
            try:
                return yaml_scalars.plain(node.value)
            except ValueError as error:
                raise self._refuse(node, str(error)) from None
        if node.tag == _STRING:
            return node.value
        raise self._refuse(node, f"the tag {node.tag} is not allowed")

    def _key(self, node: yaml.Node) -> str:
        key = self.of(node)
        if isinstance(key, bool):
            return str(key).lower()
        if isinstance(key, str | int | float):
            return str(key)
        raise self._refuse(node, "a key must be text")

    def _refuse(self, node: yaml.Node, problem: str) -> BadJob:
        return BadJob("InvalidYAML", f"{self._source} line {node.start_mark.line + 1}: {problem}")


def _lines(text: str) -> dict[tuple[str | int, ...], int]:
    """The line of each value of a YAML text, by its path."""
    lines: dict[tuple[str | int, ...], int] = {}
    if text:
        _collect_lines(yaml.compose(text, Loader=_Loader), (), lines)
    return lines


def _collect_lines(
    node: yaml.Node | None, path: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]
) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            lines[inner] = key.start_mark.line + 1
            _collect_lines(value, inner, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            _collect_lines(item, (*path, index), lines)
