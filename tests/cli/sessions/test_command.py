"""replsession sessions, asked of members that run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from replsession.cli.commands import program
from tests.channel.running import until
from tests.channel.test_administration import begin
from tests.cli.members import Running, running
from tests.cli.test_commands import SCREEN_COLUMNS, SCREEN_LINES


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path, "left", "right") as made:
        yield made


def invoked(members: Running, command: str, *words: str, answer: str | None = None) -> Result:
    line = ["sessions", command, "--socket", str(members.directory), *words]
    return CliRunner().invoke(program, line, input=answer, env={"COLUMNS": "100"})


def live(members: Running, at: int = 0) -> list[str]:
    return sorted(info.id for info in members.clusters[at].sessions())


def filled(members: Running) -> list[str]:
    """Begin some sessions, and wait until both members have them."""
    made = [
        begin(members.member(), 1, "anna"),
        begin(members.member(), 2, "anna", "/shop"),
        begin(members.member(), 3, "bob"),
        begin(members.member(), 200),
    ]
    until(lambda: live(members, 1) == sorted(made), "they are replicated")
    return made


def test_they_are_listed(members: Running) -> None:
    assert "There are no such sessions." in invoked(members, "list").output
    made = filled(members)
    text = invoked(members, "list").output
    assert all(one[:8] in text and one not in text for one in made)
    of_anna = invoked(members, "list", "--principal", "anna", "--json").output.splitlines()
    assert [json.loads(line)["id"] for line in of_anna] == made[:2]
    of_shop = invoked(members, "list", "--context", "/shop", "--json").output.splitlines()
    assert [json.loads(line)["id"] for line in of_shop] == [made[1]]


def test_a_limit_says_that_there_are_more(members: Running) -> None:
    made = filled(members)
    assert "2 are listed, and there are more" in invoked(members, "list", "--limit", "2").output
    assert "there are more" not in invoked(members, "list", "--limit", "4").output
    assert len(invoked(members, "list", "--limit", "3", "--json").output.splitlines()) == 3
    every = invoked(members, "list", "--limit", "0", "--json").output.splitlines()
    assert len(every) == len(made)


def test_one_is_shown_and_its_values_only_when_asked_for(members: Running) -> None:
    made = filled(members)
    plain = invoked(members, "show", made[3][:4])
    assert plain.exit_code == 0 and made[3] in plain.output
    assert "200" not in plain.output
    told = json.loads(invoked(members, "show", made[3][:4], "--json").output)
    assert (told["values"], told["sizes"]) == ({}, {"n": 2})
    assert "200" in invoked(members, "show", made[3][:4], "--values").output
    nothing = invoked(members, "show", "zzzz")
    assert (nothing.exit_code, nothing.stdout) == (1, "")


def test_an_id_may_begin_with_a_hyphen(members: Running) -> None:
    one = begin(members.member(), 0xFB)
    assert one.startswith("-")
    assert invoked(members, "show", one[:6]).exit_code == 0
    assert invoked(members, "invalidate", one[:6], "--yes").exit_code == 0


def test_some_are_ended_after_a_question(members: Running) -> None:
    made = filled(members)
    asked = invoked(members, "invalidate", made[0][:6], made[2], answer="n\n")
    assert (asked.exit_code, len(live(members))) == (1, 4)
    assert f"{made[0][:8]} of /, of anna" in asked.output
    assert "End 2 sessions on all members?" in asked.output
    asked = invoked(members, "invalidate", made[0][:6], made[2], answer="y\n")
    assert (asked.exit_code, "2 sessions ended" in asked.output) == (0, True)
    left = sorted([made[1], made[3]])
    until(lambda: live(members, 0) == live(members, 1) == left, "ended on both")


def test_of_several_nothing_is_ended_if_one_is_not_there(members: Running) -> None:
    made = filled(members)
    ended = invoked(members, "invalidate", made[0], "zzzz", "--yes")
    assert ended.exit_code == 1 and "begins with 'zzzz'" in ended.stderr
    assert len(live(members)) == 4


def test_all_of_somebody_are_ended(members: Running) -> None:
    filled(members)
    ended = invoked(members, "invalidate", "--principal", "anna", answer="y\n")
    assert "End all sessions of 'anna' in all applications, on all members?" in ended.output
    assert (ended.exit_code, "2 sessions ended" in ended.output) == (0, True)
    assert len(live(members)) == 2
    again = invoked(members, "invalidate", "--principal", "anna", "--context", "/shop", "--yes")
    assert "0 sessions ended" in again.output


def test_either_ids_or_a_principal(members: Running) -> None:
    for words in ([], ["x", "--principal", "anna"]):
        ended = invoked(members, "invalidate", *words)
        assert (ended.exit_code, "either ids, or --principal" in ended.stderr) == (2, True)


@pytest.mark.parametrize("command", ["list", "show", "invalidate"])
def test_the_help_fits_on_a_screen_and_has_an_example(command: str) -> None:
    line = ["sessions", command, "--help"]
    told = CliRunner().invoke(program, line, prog_name="replsession", terminal_width=80)
    lines = told.output.splitlines()
    assert len(lines) < SCREEN_LINES and max(map(len, lines)) <= SCREEN_COLUMNS
    assert f"  Example:\n    replsession sessions {command} " in told.output


def test_nobody_to_ask_is_exit_code_2(tmp_path: Path) -> None:
    for words in (["list"], ["show", "x"], ["invalidate", "x"]):
        line = ["sessions", words[0], "--socket", str(tmp_path), *words[1:]]
        ended = CliRunner().invoke(program, line)
        assert (ended.exit_code, ended.stdout) == (2, "")
