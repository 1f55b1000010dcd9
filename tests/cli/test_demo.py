"""replsession demo: hands its options to the demo's own command line."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from click.testing import CliRunner

from demo_app import __main__ as launched
from replsession.cli.commands import program


def test_it_hands_its_options_on(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    def main(words: Sequence[str]) -> int:
        given.extend(words)
        # What the demo takes these words for, without running it.
        options = launched.parsed(words)
        assert (options.members, options.port, options.framework) == (3, 8100, "mixed")
        return 7

    monkeypatch.setattr(launched, "main", main)
    words = ["demo", "--members", "3", "--port", "8100", "--framework", "mixed"]
    assert CliRunner().invoke(program, words).exit_code == 7
    assert given == words[1:]


def test_the_demo_judges_the_values() -> None:
    ended = CliRunner().invoke(program, ["demo", "--members", "0"])
    assert ended.exit_code == 2
    assert "--members: got 0" in ended.output
