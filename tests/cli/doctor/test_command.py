"""The doctor's options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from replsession.cli.commands import program
from replsession.cli.doctor import command
from replsession.cli.doctor.facts import Facts
from replsession.config import ClusterSettings
from replsession.identity import Address
from tests.cli.doctor.situations import WELL, peer

SECRET = "a-secret-of-this-test-alone-0123456789-abcdef"


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what is looked for; nothing is looked at."""
    asked: list[Any] = []

    def look(
        settings: ClusterSettings,
        seconds: float,
        peers: Sequence[Address],
        seeds: Sequence[Address],
    ) -> Facts:
        asked.extend([settings, seconds, list(peers), list(seeds)])
        return WELL

    monkeypatch.setattr(command, "look", look)
    return asked


def run(*words: str, **environment: str) -> Result:
    unset: dict[str, str | None] = {
        f"REPLSESSION_{name}": None
        for name in ("CLUSTER", "SECRET", "BIND", "PORT", "SEEDS", "MEMBER_NAME")
    }
    return CliRunner().invoke(program, ["doctor", *words], env={**unset, **environment})


def test_options_are_those_of_a_cluster(looked: list[Any], tmp_path: Path) -> None:
    file = tmp_path / "secret.txt"
    file.write_text(SECRET + "\n")
    words = ["--name", "shop", "--secret-file", str(file), "--bind", "eth0", "--port", "4100"]
    words += ["--auto-bind", "3", "--multicast", "228.0.0.9:9", "--seconds", "2.5"]
    ended = run(*words, "--peer", "10.0.0.2", "--peer", "10.0.0.3:4001")
    assert ended.exit_code == 0, ended.output
    settings, seconds, peers, _ = looked
    assert (settings.name, settings.secret, settings.bind) == ("shop", SECRET, "eth0")
    assert (settings.port, settings.auto_bind, settings.multicast) == (4100, 3, ("228.0.0.9", 9))
    assert seconds == 2.5
    assert peers == [Address("10.0.0.2", 4000), Address("10.0.0.3", 4001)]


def test_the_environment_is_that_of_a_cluster(looked: list[Any]) -> None:
    ended = run(
        "--env",
        REPLSESSION_CLUSTER="lan:shop",
        REPLSESSION_SECRET=SECRET,
        REPLSESSION_SEEDS="10.0.0.5, members.internal:4001",
    )
    assert ended.exit_code == 0, ended.output
    settings, _, peers, seeds = looked
    assert (settings.name, settings.secret) == ("shop", SECRET)
    assert peers == []
    assert seeds == [Address("10.0.0.5", 4000), Address("members.internal", 4001)]


def test_what_was_found_is_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = replace(WELL, peers=peer(answer="silent", speaks=""))
    monkeypatch.setattr(command, "look", lambda *_: facts)
    ended = run("--name", "shop", "--json")
    assert ended.exit_code == 1
    assert json.loads(ended.output)["findings"][0]["cause"] == "tcp-silent"
    assert "ERROR tcp-silent: " in run("--name", "shop").output


def test_what_cannot_be_looked_at_is_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*_: Any) -> Facts:
        raise OSError("too many open files")

    monkeypatch.setattr(command, "look", look)
    ended = run("--name", "shop")
    assert ended.exit_code == 2
    assert "could not look: too many open files" in ended.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give --name NAME, or --env"),
        (["--name", ""], "--name: got ''; allowed: 1 to 64 printable characters"),
        (["--name", "shop", "--port", "0"], "port: got 0; allowed: a whole number, 1 to 65535"),
        (["--name", "shop", "--multicast", "10.0.0.1:9"], "an IPv4 multicast address"),
        (["--name", "shop", "--peer", "10.0.0.1:x"], "allowed: HOST:PORT"),
        (["--name", "shop", "--seconds", "0"], "0.0 is not in the range"),
        (["--name", "shop", "--secret-file", "no-such-file"], "does not exist"),
        (["--env", "--name", "shop"], "either --env or --name"),
        (["--env", "--port", "4000"], "either --env or --port"),
    ],
)
def test_wrong_words_are_exit_code_2(words: list[str], said: str, looked: list[Any]) -> None:
    ended = run(*words)
    assert ended.exit_code == 2
    assert said in ended.output
    assert looked == []


def test_a_weak_secret_is_refused_and_not_shown(looked: list[Any], tmp_path: Path) -> None:
    file = tmp_path / "secret.txt"
    file.write_text("hunter2")
    ended = run("--name", "shop", "--secret-file", str(file))
    assert ended.exit_code == 2
    assert "a secret of 7 characters" in ended.output
    assert "hunter2" not in ended.output


def test_no_cluster_is_nothing_to_look_at(looked: list[Any]) -> None:
    ended = run("--env", REPLSESSION_CLUSTER="none")
    assert ended.exit_code == 2
    assert "there is no cluster to look at" in ended.output
