"""Watching: in place on a terminal, one after the other in a pipe, and it ends cleanly."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from replsession.cli.choosing import Look
from replsession.cli.status.looks import Seen, seen
from replsession.cli.status.watching import looks, watch
from tests.cli.status.situations import look, other, status


class World:
    """Members at several moments; time passes only in pauses."""

    def __init__(self, *moments: Look) -> None:
        self.moments = list(moments)
        self.pauses: list[float] = []
        self.now = 100.0

    def look(self, before: Seen | None) -> Seen:
        return seen(self.moments[len(self.pauses)], before, self.now)

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += 2.0
        if len(self.pauses) == len(self.moments):
            raise KeyboardInterrupt


def later(opens: int) -> Look:
    told = status("left", other())
    told["metrics"]["opens"] += opens
    return look(told)


def watched(world: World, *, is_terminal: bool, is_json: bool = False) -> tuple[int, str]:
    file = io.StringIO()
    console = Console(
        file=file,
        width=80,
        height=50,
        highlight=False,
        force_terminal=is_terminal,
        color_system=None,
    )
    code = watch(
        world.look,
        console,
        interval_s=2.0,
        is_json=is_json,
        shows_metrics=False,
        nobody=lambda last: f"nobody: {', '.join(last.problems)}",
        pause=world.pause,
    )
    return code, file.getvalue()


def test_in_a_pipe_one_report_follows_the_other() -> None:
    world = World(later(0), later(10), later(30))
    code, text = watched(world, is_terminal=False)
    assert code == 0
    assert text.count("Cluster 'shop'") == 3 and "\x1b" not in text
    rows = [line.split()[1] for line in text.splitlines() if line.split()[:1] == ["left"]]
    assert [word for word in rows if word[0].isdigit()] == ["10", "5.00", "10"]
    assert all(0 < pause <= 2.0 for pause in world.pauses)


def test_as_json_each_look_is_a_line() -> None:
    _, text = watched(World(later(0), later(10)), is_terminal=True, is_json=True)
    first, second = map(json.loads, text.splitlines())
    assert first["members"][0]["rates"]["per_second"]["opens"] == 10.0
    assert second["members"][0]["rates"]["per_second"]["opens"] == 5.0


def test_on_a_terminal_it_is_refreshed_in_place_and_the_last_report_stays() -> None:
    code, text = watched(World(later(0), later(10)), is_terminal=True)
    assert code == 0
    # Up and over the one before; the cursor is shown again at the end.
    assert "\x1b[1A\x1b[2K" in text
    assert text.index("\x1b[?25l") < text.index("\x1b[?25h")
    assert text.rpartition("Cluster 'shop'")[2].count("OK all members") == 1


@pytest.mark.parametrize("is_terminal", [True, False])
def test_members_may_go_and_come_back(is_terminal: bool) -> None:
    world = World(later(0), look(problems=("x: gone",)), later(10))
    code, text = watched(world, is_terminal=is_terminal)
    assert code == 0
    assert "nobody: x: gone" in text and text.count("Cluster 'shop'") >= 2


def test_the_last_look_says_the_exit_code() -> None:
    assert watched(World(later(0), look()), is_terminal=False)[0] == 2
    assert watched(World(look(status("left", other(ready=False)))), is_terminal=False)[0] == 1


def test_a_reader_that_goes_ends_it() -> None:
    class Closed(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError

    code = watch(
        World(later(0)).look,
        Console(file=Closed()),
        interval_s=1.0,
        is_json=True,
        shows_metrics=False,
        nobody=lambda last: "",
        pause=lambda seconds: None,
    )
    assert code == 0


def test_a_look_that_takes_long_is_not_waited_for_twice() -> None:
    pauses: list[float] = []
    found = looks(lambda before: seen(later(0), before, 1.0), 0.0, pauses.append)
    next(found), next(found)
    assert pauses == [0.0]
