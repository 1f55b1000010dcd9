"""The command line as a whole: its help, and what it says where its extra is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint

import click
import pytest
from click.testing import CliRunner

import replsession
from replsession.cli import main
from replsession.cli.commands import program
from tests.layout.source import ROOT

SCREEN_LINES = 24
SCREEN_COLUMNS = 80


def below(command: click.Command, *words: str) -> Iterator[tuple[str, ...]]:
    """Yield the words that lead to a command and to each one below it, at any depth."""
    yield words
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from below(inner, *words, name)


def test_commands_are_found_at_any_depth() -> None:
    inner = click.Group("sessions", commands={"list": click.Command("list")})
    outer = click.Group("all", commands={"sessions": inner, "demo": click.Command("demo")})
    assert list(below(outer)) == [(), ("sessions",), ("sessions", "list"), ("demo",)]


@pytest.mark.parametrize("command", list(below(program)), ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_the_help_fits_on_a_screen_and_has_an_example(
    command: tuple[str, ...], option: str
) -> None:
    words = [*command, option]
    told = CliRunner().invoke(program, words, prog_name="replsession", terminal_width=80)
    lines = told.output.splitlines()
    assert told.exit_code == 0
    # One line is left for the prompt.
    assert len(lines) < SCREEN_LINES, told.output
    assert max(map(len, lines)) <= SCREEN_COLUMNS
    _, _, example = told.output.partition("\n  Example")
    shown = re.search(r"^    replsession (.*)$", example, re.MULTILINE)
    assert shown, "an example that can be typed"
    if command:
        assert shown[1].startswith(" ".join(command)), "an example of this very command"


def test_every_command_is_listed() -> None:
    told = CliRunner().invoke(program, ["--help"], prog_name="replsession")
    for name, command in program.commands.items():
        assert f"  {name} " in told.output
        assert isinstance(command, click.Command)


def test_it_tells_its_version() -> None:
    told = CliRunner().invoke(program, ["--version"])
    assert told.output == f"replsession, version {replsession.__version__}\n"


def test_the_script_is_declared() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    declared = settings["project"]["scripts"]["replsession"]
    assert EntryPoint("replsession", declared, "console_scripts").load() is main


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run Python on a few words, in a process that has this project's code alone."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, check=False
    )


def test_it_runs_as_a_module() -> None:
    ended = run("-m", "replsession", "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Usage: replsession [OPTIONS] COMMAND")


def test_a_wrong_word_is_exit_code_2() -> None:
    ended = run("-m", "replsession", "docter")
    assert ended.returncode == 2
    assert "No such command 'docter'" in ended.stderr


@pytest.mark.parametrize("missing", [["click"], ["rich"], ["click", "rich"]])
def test_without_the_extra_one_line_says_what_to_install(missing: list[str]) -> None:
    code = (
        "import importlib.util as util, sys\n"
        "found = util.find_spec\n"
        f"util.find_spec = lambda name: None if name in {missing!r} else found(name)\n"
        f"for name in {missing!r}: sys.modules[name] = None\n"
        "from replsession.cli import main\n"
        "sys.exit(main(['secret']))"
    )
    ended = run("-c", code)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"{' and '.join(missing)} not installed: pip install 'replsession[cli]'\n"
    )
