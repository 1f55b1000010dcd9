"""
Finds where code goes through a set.

The order of a set of texts or bytes differs from process to process, so what went through one is
not the same twice, not even with one seed. Asking a set (`in`, `len`, `any`, `<=`) is fine, and so
is to sort it.

What is a set is told by its look: `{…}`, `set(…)`, set arithmetic on such or on the keys of dicts,
and names and attributes that are annotated as a set, or bound to one, in the same file. A set that
comes out of a function is not recognised.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

ORDER_BLIND = {"all", "any", "bool", "frozenset", "len", "max", "min", "set", "sorted", "sum"}
"""Functions whose result does not show in which order they got their items."""

IN_ORDER = {
    "dict",
    "enumerate",
    "filter",
    "iter",
    "list",
    "map",
    "next",
    "reversed",
    "tuple",
    "zip",
}
"""Functions whose result shows it."""

IN_ORDER_METHODS = {"extend", "join", "writelines"}

SET_METHODS = {"copy", "difference", "intersection", "symmetric_difference", "union"}

SET_TYPES = {"AbstractSet", "FrozenSet", "MutableSet", "Set", "frozenset", "set"}
DICT_TYPES = {"DefaultDict", "Mapping", "MutableMapping", "defaultdict", "dict"}


def lines_that_go_through_a_set(tree: ast.Module) -> list[int]:
    """Return the number of each line where a file goes through a set."""
    finder = _Finder(tree)
    finder.visit(tree)
    return finder.lines


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield what stands right in a module or function, but nothing of the functions in it."""
    for node in ast.iter_child_nodes(scope):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _own_nodes(node)


def _annotation(node: ast.expr | None) -> tuple[bool, bool]:
    """Return whether an annotation means a set, and whether it means a dict of sets."""
    match node:
        case ast.Constant(value=str(text)):
            return _annotation(ast.parse(text, mode="eval").body)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            sides = _annotation(left), _annotation(right)
            return any(side[0] for side in sides), any(side[1] for side in sides)
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Tuple(elts=[_, value])):
            return name in SET_TYPES, name in DICT_TYPES and _annotation(value)[0]
        case ast.Subscript(value=value):
            return _annotation(value)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in SET_TYPES, False
    return False, False


class _Finder(ast.NodeVisitor):
    def __init__(self, tree: ast.Module) -> None:
        self.lines: list[int] = []
        self.sets: set[str] = set()
        self.dicts: set[str] = set()
        self._learn_attributes(tree)
        self._learn_names(tree)

    # What is a set. Attributes are kept as ".name" and count in the whole file, names in the
    # function that they belong to and in those inside it.

    def _learn_attributes(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            match node:
                case ast.AnnAssign(target=ast.Attribute(attr=name), annotation=annotation):
                    self._learn(f".{name}", annotation)
                case ast.Assign(targets=[ast.Attribute(attr=name)], value=value):
                    if self._is_set(value):
                        self.sets.add(f".{name}")
                case ast.ClassDef(body=body):
                    for field in body:
                        match field:
                            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                                self._learn(f".{name}", annotation)

    def _learn_names(self, scope: ast.AST) -> None:
        for node in _own_nodes(scope):
            match node:
                case ast.arguments():
                    for argument in (*node.posonlyargs, *node.args, *node.kwonlyargs):
                        self._learn(argument.arg, argument.annotation)
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                    self._learn(name, annotation)
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._know(name, is_set=self._is_set(value))

    def _learn(self, name: str, annotation: ast.expr | None) -> None:
        is_set, is_dict = _annotation(annotation)
        self._know(name, is_set=is_set, is_dict=is_dict)

    def _know(self, name: str, *, is_set: bool, is_dict: bool = False) -> None:
        (self.sets.add if is_set else self.sets.discard)(name)
        (self.dicts.add if is_dict else self.dicts.discard)(name)

    def _is_set(self, node: ast.expr) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Name() | ast.Attribute():
                return _key(node) in self.sets
            case ast.Subscript(value=value):
                return _key(value) in self.dicts
            case ast.Call(func=ast.Name(id=name)):
                return name in {"set", "frozenset"}
            case ast.Call(func=ast.Attribute(value=value, attr="get" | "pop" | "setdefault")):
                return _key(value) in self.dicts
            case ast.Call(func=ast.Attribute(value=value, attr=name)):
                return name in SET_METHODS and self._is_set(value)
            case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor()):
                return any(self._is_set(side) or _is_keys(side) for side in (left, node.right))
        return False

    # Where one is gone through.

    def _goes_through(self, *nodes: ast.expr) -> None:
        self.lines += [node.lineno for node in nodes if self._is_set(node)]

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        outside = self.sets.copy(), self.dicts.copy()
        self._learn_names(node)
        self.generic_visit(node)
        self.sets, self.dicts = outside

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)

    def visit_For(self, node: ast.For) -> None:
        self._goes_through(node.iter)
        self.generic_visit(node)

    def visit_ListComp(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> None:
        self._goes_through(*(generator.iter for generator in node.generators))
        self.generic_visit(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self.visit_ListComp(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self.visit_ListComp(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        self._goes_through(node.value)
        self.generic_visit(node)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> None:
        self._goes_through(node.value)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        match node.func:
            case ast.Name(id=name) if name in ORDER_BLIND:
                for argument in node.args:
                    if isinstance(argument, ast.GeneratorExp):
                        self.generic_visit(argument)
                    else:
                        self.visit(argument)
                return
            case ast.Name(id=name) if name in IN_ORDER:
                self._goes_through(*node.args)
            case ast.Attribute(attr=name) if name in IN_ORDER_METHODS:
                self._goes_through(*node.args)
            case ast.Attribute(attr="pop", value=value) if not node.args:
                self._goes_through(value)
        self.generic_visit(node)


def _key(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name):
            return f".{name}"
    return ""


def _is_keys(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="keys" | "items"), args=[]):
            return True
    return False
