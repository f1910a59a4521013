"""What string an expression in our own source can be, found without running it.

Enough for how reasons are written here: constants, `a if x else b`, `a or b`, tables of tuples, and names that
are bound to one of these. Whatever else there is raises, so that nothing is overlooked in silence.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PASSED_ON = "*"
"""Stands for a reason of another object, which is found where that one is made, or comes from Kubernetes."""
PHASE = "phase"
"""Stands for the job's phase."""
Function = ast.FunctionDef | ast.AsyncFunctionDef
Words = frozenset[str]


class UnreadableError(Exception):
    """An expression that this module cannot follow."""


class IsParameter(Exception):  # noqa: N818  (no error, but an answer)
    """What the caller gives decides."""

    def __init__(self, function: Function, name: str) -> None:
        super().__init__(name)
        self.function = function
        self.name = name


@dataclass(frozen=True)
class Module:
    """One file: its tree, what its top level binds, and its functions."""

    path: Path
    tree: ast.Module
    constants: dict[str, ast.expr] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)


def read(folders: Iterable[Path]) -> list[Module]:
    """Every module below `folders`."""
    return [_module(path) for folder in folders for path in sorted(folder.rglob("*.py"))]


def _module(path: Path) -> Module:
    module = Module(path, ast.parse(path.read_text(encoding="utf-8"), str(path)))
    for node in module.tree.body:
        module.constants.update(_bound(node))
    for function in _functions(module.tree):
        module.functions[function.name] = function
    return module


def _functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _bound(node: ast.AST) -> dict[str, ast.expr]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    value = getattr(node, "value", None)
    if not isinstance(node, ast.Assign | ast.AnnAssign) or value is None:
        return {}
    return {target.id: value for target in targets if isinstance(target, ast.Name)}


class Reader:
    """Follows expressions through modules."""

    def __init__(self, modules: list[Module]) -> None:
        self._constants = {name: value for one in modules for name, value in one.constants.items()}

    def words(self, node: ast.expr, module: Module, function: Function | None) -> Words:
        """What `node`, in `function` of `module`, can be.

        Raises:
            IsParameter: the callers of a function decide.
            UnreadableError: it cannot be told.
        """
        match node:
            case ast.Constant():
                return frozenset({node.value} if isinstance(node.value, str) and node.value else ())
            case ast.IfExp():
                return self._all([node.body, node.orelse], module, function)
            case ast.BoolOp():
                return self._all(node.values, module, function)
            case ast.Attribute() if node.attr.endswith("reason"):
                return frozenset({PASSED_ON})
            case ast.Attribute(attr="phase"):
                return frozenset({PHASE})
            case ast.Name():
                return self._name(node.id, module, function)
            case ast.Call():
                return self._call(node, module, function)
        raise UnreadableError(f"{module.path}:{node.lineno}: {ast.unparse(node)}")

    def _all(self, nodes: Iterable[ast.expr], module: Module, function: Function | None) -> Words:
        return frozenset().union(*(self.words(node, module, function) for node in nodes))

    def _call(self, node: ast.Call, module: Module, function: Function | None) -> Words:
        name = called(node)
        if name == "camel":  # failures.camel(reason, fallback)
            fallback = node.args[1:] or [ast.Constant("Failed")]
            return self._all([node.args[0], *fallback], module, function)
        if name in ("phase", "_phase"):  # status.phase, view.phase
            return frozenset({PHASE})
        raise UnreadableError(f"{module.path}:{node.lineno}: {ast.unparse(node)}")

    def _name(self, name: str, module: Module, function: Function | None) -> Words:
        found: list[Words] = []
        for assignment in _assignments(function) if function else ():
            found += self._assigned(name, assignment, module, function)
        for loop in _loops(function) if function else ():
            if isinstance(loop.target, ast.Name) and loop.target.id == name:
                found.append(self._items(loop.iter, module, function))
        if found:
            return frozenset().union(*found)
        if function and name in (parameters := _parameters(function)):
            if parameters[name] == "JobPhase":
                return frozenset({PHASE})
            raise IsParameter(function, name)
        constant = module.constants.get(name, self._constants.get(name))
        if constant is None:
            raise UnreadableError(f"{module.path}: {name}")
        return self.words(constant, module, None)

    def _assigned(
        self, name: str, node: ast.Assign, module: Module, function: Function | None
    ) -> Iterator[Words]:
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id == name:
                yield self.words(node.value, module, function)
            if isinstance(target, ast.Tuple):
                names = [getattr(one, "id", None) for one in target.elts]
                if name in names:
                    yield self._part(node.value, names.index(name), module, function)

    def _part(self, node: ast.expr, index: int, module: Module, function: Function | None) -> Words:
        """What the element `index` of the tuple `node` can be."""
        if isinstance(node, ast.Tuple):
            return self.words(node.elts[index], module, function)
        if isinstance(node, ast.Call) and called(node) == "get" and isinstance(node.func, ast.Attribute):
            table = module.constants.get(getattr(node.func.value, "id", ""))
            if isinstance(table, ast.Dict):
                rows = [*table.values, *node.args[1:]]
                return frozenset().union(*(self._part(row, index, module, function) for row in rows))
        if isinstance(node, ast.Call) and (other := module.functions.get(called(node))):
            ends = (end.value for end in ast.walk(other) if isinstance(end, ast.Return) and end.value)
            return frozenset().union(*(self._part(end, index, module, other) for end in ends))
        raise UnreadableError(f"{module.path}:{node.lineno}: {ast.unparse(node)}")

    def _items(self, node: ast.expr, module: Module, function: Function | None) -> Words:
        """What the elements of the tuple or list `node` can be."""
        if isinstance(node, ast.Name):
            node = module.constants.get(node.id, self._constants.get(node.id, node))
        if isinstance(node, ast.Call) and called(node) == "get_args":
            return self._items(node.args[0], module, function)
        if isinstance(node, ast.Subscript):  # Literal[...]
            node = node.slice
        if isinstance(node, ast.Tuple | ast.List):
            return self._all(node.elts, module, function)
        raise UnreadableError(f"{module.path}:{node.lineno}: {ast.unparse(node)}")


def called(node: ast.Call) -> str:
    """Name of what is called, without the module it is in."""
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


def _assignments(function: Function) -> Iterator[ast.Assign]:
    return (node for node in ast.walk(function) if isinstance(node, ast.Assign))


def _loops(function: Function) -> Iterator[ast.comprehension | ast.For]:
    return (node for node in ast.walk(function) if isinstance(node, ast.comprehension | ast.For))


def _parameters(function: Function) -> dict[str, str]:
    """Annotation of each parameter, by name."""
    arguments = function.args
    return {
        one.arg: ast.unparse(one.annotation) if one.annotation else ""
        for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    }
