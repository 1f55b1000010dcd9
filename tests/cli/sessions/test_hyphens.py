"""Ids that begin with a hyphen are arguments, whatever letters follow."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from replsession.cli.sessions.hyphens import WithIds

SETTINGS = {"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]}


@click.command(cls=WithIds, context_settings=SETTINGS)
@click.argument("ids", nargs=-1)
@click.option("--principal")
@click.option("--yes", is_flag=True)
def told(ids: tuple[str, ...], principal: str | None, yes: bool) -> None:
    click.echo(repr((sorted(ids), principal, yes)))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["-ahR7", "--yes"], (["-ahR7"], None, True)),
        (["-hhhh", "bcd", "-y-s"], (["-hhhh", "-y-s", "bcd"], None, False)),
        (["--hR7", "--yes"], (["--hR7"], None, True)),
        (["--principal", "-anna", "-xh3"], (["-xh3"], "-anna", False)),
        (["--yes", "--", "-h", "--yes"], (["--yes", "-h"], None, True)),
        (["--principal=-anna"], ([], "-anna", False)),
        ([], ([], None, False)),
    ],
)
def test_words_are_told_apart(line: list[str], expected: object) -> None:
    result = CliRunner().invoke(told, line)
    assert (result.exit_code, result.output.strip()) == (0, repr(expected))


@pytest.mark.parametrize("line", [["-h"], ["--help"], ["-ahR7", "-h"]])
def test_help_is_asked_for_by_its_own_word(line: list[str]) -> None:
    result = CliRunner().invoke(told, line)
    assert (result.exit_code, "Usage" in result.output) == (0, True)


def test_an_option_without_its_value_is_refused() -> None:
    assert CliRunner().invoke(told, ["--principal"]).exit_code == 2
