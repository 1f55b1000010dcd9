"""The valve: which paths get no session work."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replsession.errors import ConfigError
from replsession.web.valve import (
    DEFAULT_FILTER,
    KNOWN_PATH_LENGTH_MAX,
    KNOWN_PATHS_MAX,
    Valve,
)


@pytest.mark.parametrize(
    ("path", "admitted"),
    [
        ("/", True),
        ("", True),
        ("/cart", True),
        ("/logo.gif", False),
        ("/js/app.js", False),
        ("/a.jpg", False),
        ("/a.png", False),
        ("/style.css", False),
        ("/robots.txt", False),
        (".gif", False),
        ("/logo.gif/edit", True),
        ("/logo.GIF", True),
        ("/logogif", True),
        ("/a.jpeg", True),
        ("/a.json", True),
        ("/a.js;x=1", True),
        ("/a\n.gif", True),
        ("/a.gif\n", True),
    ],
)
def test_the_default_filter(path: str, admitted: bool) -> None:
    valve = Valve()
    assert [valve.admits(path) for _ in range(2)] == [admitted, admitted]


@pytest.mark.parametrize("nothing", ["", None, [], (), ";", ";;", [""]])
def test_an_empty_filter_filters_nothing(nothing: Any) -> None:
    valve = Valve(nothing)
    assert all(valve.admits(path) for path in ("", "/", "/logo.gif", ";"))


@pytest.mark.parametrize(
    ("expressions", "filtered", "admitted"),
    [
        ("/static/.*", ["/static/", "/static/x"], ["/static", "/x/static/y"]),
        ("/a;/b", ["/a", "/b"], ["/a;/b", "/ab"]),
        ("/a;;/b;", ["/a", "/b"], [""]),
        (["/a;b", "/c"], ["/a;b", "/c"], ["/a", "b"]),
        (("/health",), ["/health"], ["/healthy", "/x/health"]),
        ("(?i).*\\.gif", ["/LOGO.GIF"], ["/logo.png"]),
        (["(x|y)", "(a)\\1"], ["x", "aa"], ["a", "xx"]),
    ],
)
def test_own_filters(expressions: Any, filtered: list[str], admitted: list[str]) -> None:
    valve = Valve(expressions)
    assert [path for path in filtered if valve.admits(path)] == []
    assert [path for path in admitted if not valve.admits(path)] == []


@pytest.mark.parametrize(
    ("expressions", "named", "reason"),
    [
        ("/a;[", "[", "unterminated character set at position 0"),
        ("/ok;(x", "(x", "missing ), unterminated subpattern at position 0"),
        (["/ok", "*.gif"], "*.gif", "nothing to repeat at position 0"),
        (".*\\q", ".*\\q", "bad escape"),
        ("a{99999999999999999999}", "a{99999999999999999999}", "too large"),
        ([1], "1", "regular expressions"),
        (7, "7", "regular expressions"),
        (b"/x", "b'/x'", "regular expressions"),
        ([None], "None", "regular expressions"),
        ([re.compile("x")], "re.compile", "regular expressions"),
        ({"/x"}, "{'/x'}", "regular expressions"),
    ],
)
def test_a_bad_expression_is_named(expressions: Any, named: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Valve(expressions)
    assert caught.value.field == "valve"
    assert named in str(caught.value.given)
    assert reason in str(caught.value)
    assert str(caught.value).startswith("valve: got ")


def test_verdicts_are_remembered_within_bounds() -> None:
    valve = Valve()
    for number in range(3 * KNOWN_PATHS_MAX):
        assert valve.admits(f"/product/{number}")
        assert not valve.admits(f"/product/{number}.png")
        assert len(valve._known) <= KNOWN_PATHS_MAX
    assert valve._known
    before = dict(valve._known)
    assert valve.admits("/" + "x" * KNOWN_PATH_LENGTH_MAX)
    assert not valve.admits("/" + "x" * 10_000 + ".gif")
    assert valve._known == before


@given(st.lists(st.text(max_size=20), max_size=20))
@settings(max_examples=100, deadline=None)
def test_what_is_remembered_is_what_was_judged(paths: list[str]) -> None:
    once = Valve()
    assert [once.admits(path) for path in paths] == [Valve().admits(path) for path in paths]


def test_the_repr_shows_the_expressions() -> None:
    assert repr(Valve("/a;/b")) == "Valve(['/a', '/b'])"
    assert DEFAULT_FILTER == r".*\.gif;.*\.js;.*\.jpg;.*\.png;.*\.css;.*\.txt;"
