"""replsession demo: hands its options to the demo's own command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from demo_app import __main__ as launched
from demo_app.serving import Serving
from replsession.cli.commands import program
from replsession.errors import ConfigError


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


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A file that is there."""
    path = tmp_path / "server.xml"
    path.write_text("<Cluster/>")
    return str(path)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Serving]:
    """What would have been served."""
    told: list[Serving] = []

    def run(serving: Serving, begins: Callable[[], None]) -> None:
        told.append(serving)
        begins()

    monkeypatch.setattr(Serving, "run", run)
    return told


def test_with_a_configuration_it_is_one_member(file: str, served: list[Serving]) -> None:
    words = ["demo", "--config", file, "--secret-file", file, "--port", "80", "--host", "10.0.0.1"]
    ended = CliRunner().invoke(program, words)

    assert (ended.exit_code, ended.output) == (
        0,
        "The counter page is at http://10.0.0.1:80/ - Ctrl-C ends it.\n",
    )
    assert served == [Serving(file, file, "10.0.0.1", 80, "starlette")]


def test_it_shows_an_address_where_others_reach_it(file: str, served: list[Serving]) -> None:
    ended = CliRunner().invoke(program, ["demo", "--config", file, "--framework", "flask"])

    assert re.fullmatch(
        r"The counter page is at http://[\d.]+:8080/ - Ctrl-C ends it\.\n", ended.output
    )
    assert "0.0.0.0" not in ended.output
    assert served == [Serving(file, None, "0.0.0.0", 8080, "flask")]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--secret-file", "FILE"], "--secret-file needs --config"),
        (["--host", "127.0.0.1"], "--host needs --config"),
        (["--config", "FILE", "--members", "3"], "--members is not for --config"),
        (["--config", "FILE", "--framework", "mixed"], "--framework mixed is for several"),
        (["--config", "FILE", "--port", "0"], "--port: got 0"),
    ],
)
def test_what_does_not_go_together(
    words: list[str], says: str, file: str, served: list[Serving]
) -> None:
    ended = CliRunner().invoke(program, ["demo", *(file if w == "FILE" else w for w in words)])

    assert (ended.exit_code, served) == (2, [])
    assert says in ended.output


def test_a_wrong_file_is_one_line(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(serving: Serving, begins: Callable[[], None]) -> None:
        raise ConfigError("Cluster", "x", "y")

    monkeypatch.setattr(Serving, "run", run)
    ended = CliRunner().invoke(program, ["demo", "--config", file])

    assert ended.exit_code == 1
    assert ended.output == "Error: Cluster: got 'x'; allowed: y\n"
