"""The status for people and for programs."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from replsession.cli.choosing import Look
from replsession.cli.status.looks import seen
from replsession.cli.status.report import LINKS_MAX, as_json, report
from tests.cli.status.situations import look, other, status, transfer


def shown(given: Look, *, shows_metrics: bool = False, width: int = 80) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, highlight=False)
    console.print(report(seen(given, None, 1.0), shows_metrics=shows_metrics))
    return file.getvalue()


def row(text: str, *words: str) -> list[str]:
    """Return the words of the one line that begins with some."""
    rows = [line.split() for line in text.splitlines()]
    (found,) = [each for each in rows if each[: len(words)] == list(words)]
    return found[len(words) :]


def test_all_is_well() -> None:
    text = shown(look(status("left", other())))
    lines = text.splitlines()
    assert lines[0] == "Cluster 'shop': 2 members, 1 asked; replsession 0.1.0, protocol 1"
    assert max(map(len, lines)) <= 80
    assert row(text, "left", "ready") == ["2", "h", "10.0.0.1:4000", "1795507778089", "4711"]
    assert row(text, "right", "ready") == ["60", "min", "10.0.0.2:4000", "1795507780772"]
    assert row(text, "left", "right") == ["0", "-", "0", "0", "4", "s", "ago"]
    assert row(text, "/shop") == ["12", "345", "67", "8", "9.0", "MiB"]
    assert "left got its state from right 2 h ago: 1 234 sessions, 512 KiB, in 350 ms" in text
    assert lines[-1] == "OK all members are up and ready"


def test_rates_of_a_member_are_a_row() -> None:
    text = shown(look(status()))
    (line,) = [line for line in text.splitlines() if line.split()[:2] == ["left", "10"]]
    assert line.split() == ["left", "10", "1.00", "0", "0", "2", "B"]
    assert "over the last 2 h" in text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"lag": {"deltas": 21_000, "bytes": 5, "oldest_s": 2.5}},
            ["21", "000", "2", "s", "0", "0", "4", "s", "ago"],
        ),
        (
            {
                "outbox": {
                    "deltas": 15_000,
                    "bytes": 8_388_608,
                    "bytes_max": 33_554_432,
                    "deltas_max": 20_000,
                    "overflows": 3,
                }
            },
            ["0", "-", "15", "000,", "25%", "3", "4", "s", "ago"],
        ),
        ({"lag": None, "outbox": None}, ["no", "link", "-", "-", "-", "4", "s", "ago"]),
        ({"repaired_s_ago": None}, ["0", "-", "0", "0", "-"]),
        ({"is_repairing": True}, ["0", "-", "0", "0", "now"]),
        ({"gets_state": 0.5}, ["0", "-", "0", "0", "sends", "state,", "50%"]),
    ],
)
def test_what_a_member_has_not_acknowledged(changes: dict[str, Any], expected: list[str]) -> None:
    assert row(shown(look(status("left", other(**changes)))), "left", "right") == expected


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"state": "skipped", "ended_s_ago": 60.0}, "left was the first member, 60 s ago"),
        ({"state": "given up", "ended_s_ago": 5.0}, "left got no state in time, 5 s ago: 1 234"),
        ({"state": "looking"}, "left looks for a member to get the state from"),
        (
            {"state": "running", "progress": 0.25, "took_s": 3.0},
            "left gets its state from right: 25%, 1 234 sessions, 512 KiB, 3 s so far",
        ),
    ],
)
def test_how_a_member_got_its_state(changes: dict[str, Any], sentence: str) -> None:
    told = status("left", other())
    told["transfer"] = transfer(**changes)
    assert sentence in shown(look(told))


def test_a_transfer_that_runs_has_a_bar() -> None:
    told = status("left", other(), ready=False, state="state transfer")
    told["transfer"] = transfer(state="running", progress=0.5)
    text = shown(look(told))
    assert "━" * 19 in text
    assert "WARNING left is not ready: state transfer" in text


def test_members_elsewhere_are_told_as_they_are_seen() -> None:
    far = other("far", state="unreachable", via="right", lag=None, outbox=None)
    text = shown(look(status("left", other(), far)), width=120)
    assert row(text, "far", "unreachable")[:3] == ["(through", "right)", "60"]
    assert "WARNING left cannot reach far, but through right" in text


def test_many_links_are_cut_and_those_with_news_come_first() -> None:
    others = [other(f"m{number}") for number in range(30)]
    others[29] = other("m29", lag={"deltas": 7, "bytes": 5, "oldest_s": 0.1})
    text = shown(look(status("left", *others)))
    assert row(text, "left", "m29")[0] == "7"
    assert f"… and {30 - LINKS_MAX} more links" in text


def test_one_alone_has_no_links_and_perhaps_no_sessions() -> None:
    told = status(cluster="", address="")
    told["sessions"], told["transfer"] = [], transfer(state="none")
    text = shown(look(told))
    assert text.startswith("One process alone: 1 member, asked; ")
    assert "no sessions yet" in text and "from" not in text


def test_counts_that_are_old_say_so() -> None:
    told = status()
    told["counted_s_ago"] = 12.0
    assert "counted 12 s ago" in shown(look(told))


def test_all_counters_are_shown_when_asked_for() -> None:
    assert "opens" not in shown(look(status()))
    text = shown(look(status()), shows_metrics=True)
    assert row(text, "opens") == ["72", "000"] and "commits_short" not in text


def test_names_of_others_cannot_play_with_the_terminal() -> None:
    evil = "\x1b[2Jevil[bold red]x\n"
    told = status("left", other(evil, address=evil, via=evil, state="unreachable"), state=evil)
    told["sessions"][0]["context"] = evil
    told["transfer"] = transfer(donor=evil)
    text = shown(look(told, problems=(evil,)), shows_metrics=True, width=200)
    assert "\x1b" not in text
    assert "�[2Jevil[bold red]x�" in text


def test_long_names_are_shown_to_their_ends() -> None:
    names = [f"ip-10-0-0-12.eu-west-1.compute.internal-400{n}" for n in range(2)]
    text = shown(look(status(names[0], other(names[1]))))
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    assert "4000" in text and "4001" in text


def test_json_is_one_line_with_all_of_it() -> None:
    given = look(status("left", other(ready=False)))
    line = as_json(seen(given, None, 1.0))
    assert "\n" not in line
    told = json.loads(line)
    assert (told["format"], told["exit_code"], told["wrong"]) == (1, 1, ["right is not ready"])
    (member,) = told["members"]
    rates = member.pop("rates")
    assert member.pop("asked") == "/run/0.sock"
    assert member == given.told[0][1]
    assert (rates["seconds"], rates["per_second"]["opens"]) == (7200.0, 10.0)
