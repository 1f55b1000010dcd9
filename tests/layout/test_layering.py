"""
Imports go one way, and the pure rooms stay pure (section 5 of the project's design).

The rooms are the modules and packages right under `replsession/`. They lie on levels: a room may
import every room on a lower level, none on a higher one, and none beside it. Each checker is shown
first to find what it is for, on snippets with a planted fault, then it reads the project.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from textwrap import dedent

import pytest
from packaging.requirements import Requirement

from tests.layout.sets import lines_that_go_through_a_set
from tests.layout.source import ROOT, Import, Source, imports, sources

PACKAGE = "replsession"

LEVELS: tuple[tuple[str, ...], ...] = (
    ("__init__", "__main__"),
    (
        *("cli", "asgi", "wsgi", "control", "flask", "quart", "django", "litestar"),
        *("starsessions", "logging"),
    ),
    ("web",),
    ("cluster",),
    ("channel", "settings"),
    ("status",),
    ("security", "node"),
    ("ready",),
    ("membership", "replication", "wire"),
    ("messages", "events"),
    ("session",),
    ("concern",),
    ("config", "metrics"),
    ("identity",),
    ("errors",),
)
"""The highest first."""

FRAMEWORKS = {
    "flask": {"flask", "markupsafe", "werkzeug"},
    "quart": {"quart", "markupsafe", "werkzeug"},
    "django": {"django", "asgiref"},
    "litestar": {"litestar"},
    "starsessions": {"starsessions"},
    "cli": {"click", "rich"},
}
"""
What a front door that is named after a framework may import: nobody else imports the door.

The command line is one as well; its `__init__` says what is missing where its extra is not there.
"""

NARROWER = {"settings": {"config", "identity", "errors"}}
"""Rooms that may import less than all that lies below them."""

PURE = {
    "identity",
    "concern",
    "config",
    "errors",
    "messages",
    "events",
    "metrics",
    "session",
    "membership",
    "replication",
    "wire",
    "node",
    "ready",
    "status",
}
"""Rooms without input and output, clock, thread, or randomness of their own."""

IMPURE_MODULES = {
    "anyio",
    "asyncio",
    "concurrent",
    "importlib",
    "logging",
    "multiprocessing",
    "os",
    "random",
    "secrets",
    "select",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "trio",
    "uvloop",
    "_thread",
}
"""
What a pure room does not import, but under `TYPE_CHECKING`.

One name is let in: `random.Random`, the type of the dice that a room is handed, or makes from a
seed that it is handed.
"""


def room_of(source: Source) -> str:
    """Return the room that a file of the package lies in."""
    return source.parts[1]


def room_of_import(imported: Import) -> str:
    """Return the room that an import of the package names; its public names are `__init__`."""
    rooms = {room for level in LEVELS for room in level}
    parts = imported.name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in rooms else "__init__"


def level_of(room: str) -> int:
    """Return how high a room lies; a room that is in no level is nowhere."""
    for height, level in enumerate(reversed(LEVELS)):
        if room in level:
            return height
    raise KeyError(room)


def may_import(room: str, other: str) -> bool:
    """Return whether a room may import another."""
    if room == other:
        return True
    if room in NARROWER and other not in NARROWER[room]:
        return False
    return level_of(other) < level_of(room)


def wrong_imports(source: Source) -> Iterator[str]:
    """Yield every import that goes up or sideways."""
    room = room_of(source)
    for imported in imports(source):
        if imported.name.split(".")[0] != PACKAGE:
            continue
        other = room_of_import(imported)
        if not may_import(room, other):
            yield f"{source.path}:{imported.line}: {room} imports {other} ({imported.name})"


def impure_imports(source: Source) -> Iterator[str]:
    """Yield every import that brings the world into a pure room."""
    if room_of(source) not in PURE:
        return
    for imported in imports(source):
        if imported.when_typing or imported.name == "random.Random":
            continue
        if imported.name.split(".")[0] in IMPURE_MODULES:
            yield f"{source.path}:{imported.line}: a pure room imports {imported.name}"
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and ast.unparse(node) == "Random()":
            yield f"{source.path}:{node.lineno}: a pure room throws its own dice"


def imports_of_extras(source: Source) -> Iterator[str]:
    """Yield every import that fails where the package was installed without extras."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    installed = {Requirement(text).name for text in settings["project"]["dependencies"]}
    installed |= FRAMEWORKS.get(room_of(source), set())
    for imported in imports(source):
        name = imported.name.split(".")[0]
        if imported.when_typing or not imported.when_loaded:
            continue
        if name not in {PACKAGE, *installed, *sys.stdlib_module_names}:
            yield f"{source.path}:{imported.line}: {name} is no dependency of the package"


def private_imports_of_the_demo(source: Source) -> Iterator[str]:
    """Yield every import of the demo that a user's application would not have."""
    for imported in imports(source):
        package, *rest = imported.name.split(".")
        is_door = rest and rest[0] in {"wsgi", "logging", *FRAMEWORKS}
        if package == PACKAGE and len(rest) > (2 if is_door else 1):
            yield f"{source.path}:{imported.line}: {imported.name} is not a public name"


def iterated_sets(source: Source) -> Iterator[str]:
    """Yield every place where a pure room goes through a set."""
    if room_of(source) in PURE:
        for line in lines_that_go_through_a_set(source.tree):
            yield f"{source.path}:{line}: goes through a set, in no certain order"


Checker = Callable[[Source], Iterable[str]]


@pytest.mark.parametrize(
    ("checker", "path", "planted"),
    [
        # up
        (wrong_imports, "session/record.py", "from replsession.node import Node"),
        (wrong_imports, "node.py", "import replsession.channel.tls"),
        (wrong_imports, "errors.py", "from .identity import Key"),
        (wrong_imports, "wire/framing.py", "from ..node import Node"),
        (wrong_imports, "wire/framing.py", "from .. import node"),
        (wrong_imports, "channel/aio.py", "from replsession import Cluster"),
        (wrong_imports, "session/session.py", "def late():\n    import replsession.web.valve"),
        (wrong_imports, "events.py", "if TYPE_CHECKING:\n    from .node import Node"),
        # sideways
        (wrong_imports, "membership/view.py", "from replsession.replication.outbox import Outbox"),
        (wrong_imports, "security/keys.py", "from replsession import node"),
        (wrong_imports, "asgi.py", "from replsession.wsgi import environ"),
        (wrong_imports, "settings/toml.py", "from replsession.session.record import Record"),
        # into the pure rooms
        (impure_imports, "node.py", "import asyncio"),
        (impure_imports, "config.py", "import os.path"),
        (impure_imports, "session/stamp.py", "from time import monotonic"),
        (impure_imports, "replication/outbox.py", "def late():\n    from random import random"),
        (impure_imports, "wire/framing.py", "if TYPE_CHECKING:\n    pass\nelse:\n    import ssl"),
        (impure_imports, "node.py", "from random import Random\ndice = Random()"),
        # without extras
        (imports_of_extras, "asgi.py", "from starlette.requests import Request"),
        (imports_of_extras, "flask.py", "import django"),
        (imports_of_extras, "channel/waiting.py", "try:\n    import trio\nexcept ImportError: ..."),
        # the demo
        (private_imports_of_the_demo, "demo", "from replsession.cluster import Cluster"),
        (private_imports_of_the_demo, "demo", "import replsession.session.stamp"),
        # sets
        (iterated_sets, "node.py", "for name in {1, 2}: ..."),
    ],
)
def test_a_planted_fault_is_found(checker: Checker, path: str, planted: str) -> None:
    assert list(checker(Source(f"{PACKAGE}/{path}", planted)))


@pytest.mark.parametrize(
    ("checker", "path", "allowed"),
    [
        (wrong_imports, "__init__.py", "from .asgi import SessionMiddleware"),
        (wrong_imports, "cluster.py", "from replsession.channel.aio import Channel"),
        (
            wrong_imports,
            "session/record.py",
            "from .stamp import Stamp\nfrom ..identity import Key",
        ),
        (wrong_imports, "session/__init__.py", "from .stamp import Stamp"),
        (wrong_imports, "web/valve.py", "import re\nimport replsession_of_others"),
        (impure_imports, "channel/aio.py", "import asyncio, socket, ssl, time"),
        (impure_imports, "node.py", "if TYPE_CHECKING:\n    from random import Random"),
        (impure_imports, "node.py", "from random import Random\ndice = Random(seed)"),
        (impure_imports, "node.py", "import heapq\nfrom .membership import random"),
        (imports_of_extras, "asgi.py", "import json, itsdangerous\nimport replsession.errors"),
        (imports_of_extras, "channel/waiting.py", "def event():\n    import trio"),
        (private_imports_of_the_demo, "demo", "from replsession import Cluster, Session"),
        (private_imports_of_the_demo, "demo", "from replsession.flask import ReplicatedSession"),
        (iterated_sets, "channel/aio.py", "for name in {1, 2}: ..."),
    ],
)
def test_what_is_allowed_is_let_pass(checker: Checker, path: str, allowed: str) -> None:
    assert list(checker(Source(f"{PACKAGE}/{path}", allowed))) == []


@pytest.mark.parametrize(
    "planted",
    [
        "for item in {1, 2}: ...",
        "for item in set(items): ...",
        "for item in frozenset(items) | others: ...",
        "for item in set(items).union(others): ...",
        "for key in old.keys() - new.keys(): ...",
        "[item for item in {i for i in items}]",
        "{item: 1 for item in set(items)}",
        "seen = set()\nfor item in seen: ...",
        "def f(seen: set[int]): return list(seen)",
        "def f(seen: set[int] | None): return [*seen]",
        "async def f(*, seen: frozenset[int]): return ', '.join(seen)",
        "class C:\n    seen: set[int]\n    def f(self): yield from self.seen",
        "class C:\n    def __init__(self): self.seen: set[int] = set()\n"
        "    def f(self): return next(iter(self.seen))",
        "class C:\n    def __init__(self): self.seen = {1}\n    def f(self): self.seen.pop()",
        "def f(by_name: dict[str, set[int]]):\n    for item in by_name['a']: ...",
        "any(f(item) for item in [j for j in {1, 2}])",
    ],
)
def test_going_through_a_set_is_found(planted: str) -> None:
    tree = Source("snippet.py", dedent(planted)).tree
    assert list(lines_that_go_through_a_set(tree))


@pytest.mark.parametrize(
    "allowed",
    [
        "for item in sorted({1, 2}): ...",
        "for item in [1, 2]: ...",
        "for key in old.keys(): ...",
        "seen = set(items)\nif item in seen: seen.add(item)",
        "all(item > 0 for item in {1, 2})",
        "{item + 1 for item in {1, 2}}",
        "len({1, 2}), max(set(items)), set(items) <= {1}",
        "def f(seen: set[int]): ...\ndef g(seen: list[int]):\n    for item in seen: ...",
        "def f(items: list[set[int]]):\n    for item in items: ...",
        "for bit in flags | mask: ...",
        "stack = [1]\nstack.pop()",
    ],
)
def test_a_set_that_is_only_asked_is_let_pass(allowed: str) -> None:
    tree = Source("snippet.py", dedent(allowed)).tree
    assert list(lines_that_go_through_a_set(tree)) == []


def test_every_room_is_on_a_level() -> None:
    known = {room for level in LEVELS for room in level}
    unknown = {room_of(source) for source in sources(PACKAGE)} - known
    assert not unknown, "new rooms: give them a level in LEVELS, and say whether they are PURE"


@pytest.mark.parametrize(
    "checker", [wrong_imports, impure_imports, imports_of_extras, iterated_sets]
)
def test_the_package(checker: Checker) -> None:
    findings = [finding for source in sources(PACKAGE) for finding in checker(source)]
    assert not findings, "\n".join(findings)


def test_the_demo_uses_only_public_names() -> None:
    files = sources("demo_app")
    findings = [finding for source in files for finding in private_imports_of_the_demo(source)]
    assert files
    assert not findings, "\n".join(findings)
