"""
Every module is named by a test: `replsession/web/cookies.py` by `tests/web/test_cookies.py`.

The modules of the package are mirrored right under `tests/`, those of the demo under
`tests/demo_app/`. A package's `__init__` and `__main__` are exempt: the first holds names, the
second is run by the tests of whole processes.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.layout.source import ROOT, Source, sources

EXEMPT = {"__init__", "__main__"}


def mirror_of(module: str) -> str:
    """Return the path of the test module that names a module."""
    folder, _, name = module.removeprefix("replsession/").rpartition("/")
    return "/".join(["tests", *([folder] if folder else []), f"test_{name}"])


def has_tests(source: Source) -> bool:
    """Return whether a file holds at least one test."""
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
        for node in ast.walk(source.tree)
    )


def unnamed_modules(root: Path) -> Iterator[str]:
    """Yield every module below a folder that no test names."""
    tests = {source.path for source in sources("tests", root=root) if has_tests(source)}
    for source in sources("replsession", "demo_app", root=root):
        if source.parts[-1] not in EXEMPT and mirror_of(source.path) not in tests:
            yield f"{source.path}: no test in {mirror_of(source.path)}"


@pytest.mark.parametrize(
    ("module", "test"),
    [
        ("replsession/node.py", "tests/test_node.py"),
        ("replsession/web/cookies.py", "tests/web/test_cookies.py"),
        ("demo_app/asgi.py", "tests/demo_app/test_asgi.py"),
    ],
)
def test_the_path_is_mirrored(module: str, test: str) -> None:
    assert mirror_of(module) == test


@pytest.mark.parametrize(
    ("path", "text", "named"),
    [
        ("tests/web/test_cookies.py", "def test_one(): ...", True),
        ("tests/web/test_cookies.py", "class TestIt:\n    async def test_one(self): ...", True),
        ("tests/web/test_cookies.py", "def helper(): ...", False),
        ("tests/test_cookies.py", "def test_one(): ...", False),
        ("tests/web/test_cookie.py", "def test_one(): ...", False),
    ],
)
def test_a_module_without_a_test_is_found(
    tmp_path: Path, path: str, text: str, named: bool
) -> None:
    for name, content in {
        "replsession/web/__init__.py": "",
        "replsession/web/cookies.py": "",
        path: text,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert bool(list(unnamed_modules(tmp_path))) is not named


def test_every_module_is_named_by_a_test() -> None:
    unnamed = list(unnamed_modules(ROOT))
    assert not unnamed, "\n".join(unnamed)
