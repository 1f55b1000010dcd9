"""The project's source files, as the tests of its layout read them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeGuard

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Source:
    """
    One Python file.

    Args:
        path: Relative to the project's folder, with slashes.
        text: What stands in it.
    """

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Return the file's syntax tree."""
        return ast.parse(self.text, self.path)

    @property
    def parts(self) -> tuple[str, ...]:
        """
        Return the module's dotted name in parts.

        A package's `__init__` keeps that name as its last part, so that a relative import is
        resolved in the same way for every file: against the parts without the last.
        """
        return tuple(self.path.removesuffix(".py").split("/"))


def sources(*folders: str, root: Path = ROOT) -> list[Source]:
    """Return every Python file in some of the project's folders; a missing one has none."""
    return [
        Source(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
        for folder in folders
        for path in sorted((root / folder).rglob("*.py"))
    ]


@dataclass(frozen=True)
class Import:
    """
    One imported module.

    Args:
        name: Absolute dotted name; for `from package import name` both are joined, as `name` may
            be a module.
        line: Where it stands.
        when_typing: Whether only a type checker gets there.
        when_loaded: Whether it is imported with the module, not by a call later.
    """

    name: str
    line: int
    when_typing: bool
    when_loaded: bool


def imports(source: Source) -> Iterator[Import]:
    """Yield every import of a file, wherever it stands in it."""
    yield from _imports(source.tree, source, when_typing=False, when_loaded=True)


def _imports(
    node: ast.AST, source: Source, *, when_typing: bool, when_loaded: bool
) -> Iterator[Import]:
    for name in _imported_names(node, source):
        yield Import(name, getattr(node, "lineno", 0), when_typing, when_loaded)
    inside_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    guarded = set(map(id, node.body)) if _asks_for_typing(node) else set()
    for child in ast.iter_child_nodes(node):
        yield from _imports(
            child,
            source,
            when_typing=when_typing or id(child) in guarded,
            when_loaded=when_loaded and not inside_function,
        )


def _asks_for_typing(node: ast.AST) -> TypeGuard[ast.If]:
    if not isinstance(node, ast.If):
        return False
    return ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _imported_names(node: ast.AST, source: Source) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        package = source.parts[: -node.level] if node.level else ()
        start = ".".join([*package, *([node.module] if node.module else [])])
        return [f"{start}.{alias.name}" for alias in node.names]
    return []
