"""Every reason that the code can give: in a failure, in a condition, in an Event. Read from the source."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from finetune_api import errors
from finetune_api.contract import ExitCode
from finetune_api.v1alpha1.status import JobPhase
from tools.docs import source
from tools.docs.source import PASSED_ON, PHASE, Function, IsParameter, Module, Words

ROOT = Path(__file__).parents[2]
FOLDERS = [
    *(ROOT / "operator" / name for name in ("finetune_api", "finetune_operator", "finetune_cli")),
    *(
        ROOT / "trainer_image" / name
        for name in ("finetune_store", "finetune_supervisor", "finetune_trainer")
    ),
]
ERRORS = {kind.__name__: kind.exit_code for kind in errors.FineTuneError.__subclasses__()}
_CONDITION = "Fact"
_EVENT = "_note"
_VERDICT = "Verdict"


@dataclass(frozen=True)
class Place:
    """Where a call has its reason."""

    index: int | None
    """Position; None: by keyword only."""
    keyword: str = "reason"
    code: int | None = None
    """Exit code of the error that is made."""


GIVERS = {
    **{name: Place(0, code=code) for name, code in ERRORS.items()},
    **dict.fromkeys(("Failure", "Waiting"), Place(0)),
    "Fail": Place(1),
    "_Pattern": Place(2),
    _CONDITION: Place(2),
    _EVENT: Place(1),
    **dict.fromkeys((_VERDICT, "Outcome", "Refused", "ErrorEvent", "LastFailure"), Place(None)),
}
"""What is called with a reason. Functions that hand a parameter on to one of these are found."""
_NOT_OURS = {"api_errors.py": "Kubernetes' own Status objects, whose classes have the same names"}


@dataclass
class Reasons:
    """What was found; `PASSED_ON` among the reasons means that there are others, of the cause."""

    given: set[str] = field(default_factory=set)
    """In failures and conditions."""
    codes: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Exit codes of errors and of supervisors' verdicts, by reason."""
    conditions: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Reasons by type of the condition."""
    events: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Reasons by type of the Event, Normal or Warning."""


def collect() -> Reasons:
    """All of them."""
    return _Collector(source.read(FOLDERS)).run()


class _Collector:
    def __init__(self, modules: list[Module]) -> None:
        self._modules = modules
        self._reader = source.Reader(modules)
        self._givers = dict(GIVERS)
        self._private: dict[tuple[Path, str], Place] = {}
        self.found = Reasons()

    def run(self) -> Reasons:
        known = -1
        while known != len(self._private):  # each round may find functions that pass their parameter on
            known = len(self._private)
            self.found = Reasons()
            for module in self._modules:
                if module.path.name not in _NOT_OURS:
                    self._look_at(module, module.tree, None)
        if PHASE in self.found.given:
            self.found.given |= set(get_args(JobPhase))
        self.found.given -= {PASSED_ON, PHASE}
        return self.found

    def _look_at(self, module: Module, node: ast.AST, function: Function | None) -> None:
        for child in ast.iter_child_nodes(node):
            inside = child if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
            if isinstance(child, ast.Call):
                self._call(child, module, function)
            if isinstance(child, ast.Dict):
                self._dict(child, module, function)
            self._look_at(module, child, inside)

    def _call(self, node: ast.Call, module: Module, function: Function | None) -> None:
        name = source.called(node)
        place = self._private.get((module.path, name)) or self._givers.get(name)
        given = _argument(node, place) if place else None
        if place is None or given is None:
            return
        words = self._words(given, module, function, place.code)
        if name == _EVENT:
            self._told(node, words, module, function)
            return
        self.found.given |= words
        if name == _CONDITION:
            for kind in self._words(node.args[0], module, function):
                self.found.conditions[kind] |= words
        code = _verdict(node) if name == _VERDICT else place.code
        if code is not None:
            for word in words - {PASSED_ON}:
                self.found.codes[word].add(code)

    def _told(self, node: ast.Call, words: Words, module: Module, function: Function | None) -> None:
        for kind in self._words(node.args[0], module, function):
            self.found.events[kind] |= words

    def _dict(self, node: ast.Dict, module: Module, function: Function | None) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "reason":
                self.found.given |= self._words(value, module, function)

    def _words(
        self, node: ast.expr, module: Module, function: Function | None, code: int | None = None
    ) -> Words:
        try:
            return self._reader.words(node, module, function)
        except IsParameter as found:
            self._pass_on(found, module, code)
            return frozenset()

    def _pass_on(self, found: IsParameter, module: Module, code: int | None) -> None:
        names = [one.arg for one in found.function.args.args if one.arg != "self"]
        index = names.index(found.name) if found.name in names else None
        self._private[module.path, found.function.name] = Place(index, found.name, code)


def _verdict(node: ast.Call) -> int | None:
    """The exit code that a supervisor leaves with, where it is named."""
    code = next((one.value for one in node.keywords if one.arg == "code"), None)
    if isinstance(code, ast.Attribute) and ast.unparse(code.value) == ExitCode.__name__:
        return ExitCode[code.attr]
    return None


def _argument(node: ast.Call, place: Place) -> ast.expr | None:
    named: Iterator[ast.expr] = (one.value for one in node.keywords if one.arg == place.keyword)
    by_place = node.args[place.index : place.index + 1] if place.index is not None else []
    if by_place and not isinstance(by_place[0], ast.Starred):
        return by_place[0]
    return next(named, None)
