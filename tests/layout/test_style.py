"""
The manners that a linter does not know (section 8 of the project's design).

A docstring does not count towards the length of a function: a long list of arguments, each with
its unit and bounds, is no reason to say less about them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from textwrap import dedent

import pytest

from tests.layout.source import Source, sources

MODULE_LINES_MAX = 400
TEST_MODULE_LINES_MAX = 800
FUNCTION_LINES_MAX = 60

OURS = ("replsession", "demo_app", "benchmarks", "tools")
ALL = (*OURS, "tests")

MARKS = ("TO" + "DO", "FIX" + "ME", "X" * 3)
"""Put together here, so that this file does not find itself."""

UNFINISHED = re.compile(rf"\b({'|'.join(MARKS)})\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(source: Source) -> Iterator[Function]:
    """Yield every function of a file, methods and inner ones too."""
    for node in ast.walk(source.tree):
        if isinstance(node, Function):
            yield node


def long_modules(source: Source) -> Iterator[str]:
    """Yield a module that should be two."""
    lines = len(source.text.splitlines())
    is_test = source.path.rpartition("/")[2].startswith("test_")
    if lines > (TEST_MODULE_LINES_MAX if is_test else MODULE_LINES_MAX):
        yield f"{source.path}: {lines} lines"


def long_functions(source: Source) -> Iterator[str]:
    """Yield every function that should be several."""
    for function in functions(source):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if ast.get_docstring(function) is not None:
            docstring = function.body[0]
            lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            yield f"{source.path}:{function.lineno}: {function.name} has {lines} lines"


def undocumented(source: Source) -> Iterator[str]:
    """
    Yield every public function, class and method without a docstring, and such a module.

    A method of a class with a base may say only what the base says already, so it is let pass.
    """
    if source.text.strip() and ast.get_docstring(source.tree) is None:
        yield f"{source.path}: the module"
    yield from _undocumented(source, source.tree.body)


def _undocumented(source: Source, body: Iterable[ast.stmt]) -> Iterator[str]:
    for node in body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None and not _repeats_another(node):
            yield f"{source.path}:{node.lineno}: {node.name}"
        if isinstance(node, ast.ClassDef) and not node.bases:
            yield from _undocumented(source, node.body)


def _repeats_another(node: Function | ast.ClassDef) -> bool:
    """Return whether this is an overload, an override, or the setter of a property."""
    return any(
        re.search(r"\b(overload|override|setter|deleter)$", ast.unparse(decorator))
        for decorator in node.decorator_list
    )


def swallowed_errors(source: Source) -> Iterator[str]:
    """Yield every place where any error at all disappears without a word."""
    for node in ast.walk(source.tree):
        match node:
            case ast.ExceptHandler(type=kind, body=body) if _is_any_error(kind):
                if all(_does_nothing(statement) for statement in body):
                    yield f"{source.path}:{node.lineno}: an error is swallowed"
            case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress")):
                if any(_is_any_error(argument) for argument in node.args):
                    yield f"{source.path}:{node.lineno}: errors are suppressed"


def _is_any_error(kind: ast.expr | None) -> bool:
    if isinstance(kind, ast.Tuple):
        return any(_is_any_error(item) for item in kind.elts)
    return kind is None or ast.unparse(kind) in {"Exception", "BaseException"}


def _does_nothing(statement: ast.stmt) -> bool:
    match statement:
        case ast.Pass() | ast.Continue() | ast.Break():
            return True
        case ast.Return(value=None):
            return True
        case ast.Expr(value=ast.Constant()):
            return True
    return False


def unfinished_work(source: Source) -> Iterator[str]:
    """Yield every line that says that something is still to be done."""
    for number, line in enumerate(source.text.splitlines(), start=1):
        if UNFINISHED.search(line):
            yield f"{source.path}:{number}: {line.strip()}"


def prints(source: Source) -> Iterator[str]:
    """Yield every bare print in the library, whose voice is the log; the command line may."""
    if source.path.startswith("replsession/cli/"):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            yield f"{source.path}:{node.lineno}: print"


Checker = Callable[[Source], Iterable[str]]


@pytest.mark.parametrize(
    ("checker", "folders"),
    [
        (long_modules, OURS),
        (long_modules, ("tests/simulation", "tests/layout")),
        (long_functions, ALL),
        (undocumented, OURS),
        (swallowed_errors, ALL),
        (unfinished_work, ALL),
        (prints, ("replsession",)),
    ],
)
def test_the_project(checker: Checker, folders: tuple[str, ...]) -> None:
    findings = [finding for source in sources(*folders) for finding in checker(source)]
    assert not findings, "\n".join(findings)


def source(text: str, path: str = "replsession/snippet.py") -> Source:
    return Source(path, dedent(text))


@pytest.mark.parametrize(
    ("checker", "planted"),
    [
        (long_modules, "a = 1\n" * 401),
        (long_functions, "def f():\n" + "    a = 1\n" * 60),
        (long_functions, 'class C:\n  async def f(self):\n    """F."""\n' + "    a = 1\n" * 60),
        (undocumented, "import re"),
        (undocumented, '"""M."""\ndef f(): ...'),
        (undocumented, '"""M."""\nasync def f(): ...'),
        (undocumented, '"""M."""\nclass C: ...'),
        (undocumented, '"""M."""\nclass C:\n    """C."""\n    def f(self): ...'),
        (undocumented, '"""M."""\nclass C:\n    """C."""\n    @property\n    def f(self): ...'),
        (swallowed_errors, "try: f()\nexcept Exception: pass"),
        (swallowed_errors, "try: f()\nexcept: ..."),
        (swallowed_errors, "def g():\n    try: f()\n    except BaseException: return"),
        (swallowed_errors, "try: f()\nexcept (ValueError, Exception):\n    'never mind'"),
        (swallowed_errors, "with contextlib.suppress(Exception): f()"),
        (unfinished_work, f"a = 1  # {MARKS[0]}: b"),
        (unfinished_work, f'"""{MARKS[1]}"""'),
        (prints, "def f(): print('here')"),
    ],
)
def test_a_planted_fault_is_found(checker: Checker, planted: str) -> None:
    assert list(checker(source(planted)))


@pytest.mark.parametrize(
    ("checker", "allowed"),
    [
        (long_modules, "a = 1\n" * 400),
        (long_functions, "def f():\n" + "    a = 1\n" * 59),
        (long_functions, 'def f():\n    """' + "words\n" * 100 + '    """\n    a = 1\n'),
        (undocumented, ""),
        (undocumented, '"""M."""\ndef _f(): ...\nclass _C:\n    def f(self): ...'),
        (undocumented, '"""M."""\nclass C:\n    """C."""\n    def __len__(self): ...'),
        (undocumented, '"""M."""\nclass C(dict):\n    """C."""\n    def pop(self): ...'),
        (undocumented, '"""M."""\n@typing.overload\ndef f(): ...'),
        (undocumented, '"""M."""\ndef f():\n    """F."""\n    def g(): ...'),
        (swallowed_errors, "try: f()\nexcept KeyError: pass"),
        (swallowed_errors, "try: f()\nexcept Exception as error: log(error)"),
        (swallowed_errors, "def g():\n    try: f()\n    except Exception: return False"),
        (swallowed_errors, "with suppress(OSError): f()"),
        (unfinished_work, f"{MARKS[0]}S = {MARKS[2]}L"),
        (prints, "log.info('print(x)')"),
    ],
)
def test_what_is_allowed_is_let_pass(checker: Checker, allowed: str) -> None:
    assert list(checker(source(allowed))) == []


def test_the_command_line_may_print() -> None:
    assert list(prints(source("print('here')", "replsession/cli/status.py"))) == []
