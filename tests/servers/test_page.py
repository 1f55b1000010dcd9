"""The page about servers: a test runs each command line on it, and uses each file."""

from __future__ import annotations

import ast

from tests.servers import commands
from tests.servers.page import command_lines, files
from tests.servers.served import FOLDER

KNOWN = {name: line for name, line in vars(commands).items() if name.isupper()}


def test_the_page_has_the_commands_that_are_run_and_no_others() -> None:
    assert sorted(set(command_lines())) == sorted(KNOWN.values())


def test_each_command_is_run_by_a_test() -> None:
    used: set[str] = set()
    for path in FOLDER.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if node.value.id == "commands":
                    used.add(node.attr)
    assert used == set(KNOWN)


def test_the_page_has_the_files_that_tests_start() -> None:
    assert set(files()) == {"gunicorn.conf.py", "keeper.py"}
