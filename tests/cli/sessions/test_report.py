"""Sessions for people."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from replsession.cli.sessions.report import parts_of, table_of

NOW = 1795507780.0


def session(**changes: Any) -> dict[str, Any]:
    return {
        "id": "jcPWYnJNGRd8FGlPFi9rhWvH",
        "context": "/examples",
        "principal": "anna",
        "created_at": NOW - 3600,
        "last_accessed_at": NOW - 60,
        "expires_at": NOW + 1740,
        "attributes": ["cart", "n", "seen", "zz"],
        "bytes": 2048,
        "sizes": {"cart": 2000, "n": 48},
        "values": {},
        **changes,
    }


def shown(*parts: Any) -> str:
    file = io.StringIO()
    console = Console(file=file, width=80, highlight=False)
    for part in parts:
        console.print(part)
    return file.getvalue()


def test_a_row_for_each_with_its_id_shortened() -> None:
    text = shown(table_of([session(), session(principal=None, expires_at=None)], NOW))
    first, second = [line.split() for line in text.splitlines() if "jcPWYnJN" in line]
    assert first[:4] == ["jcPWYnJN", "/examples", "anna", "60"]
    assert first[4:] == ["min", "60", "s", "29", "min", "2.0", "KiB", "cart,", "n,"]
    assert second[2] == "-" and "never" in second
    assert "more" in text and max(map(len, text.splitlines())) <= 80


def test_clocks_that_differ_give_no_negative_ages() -> None:
    text = shown(table_of([session(created_at=NOW + 5, last_accessed_at=NOW + 5)], NOW))
    assert "0 ms" in text and "-5" not in text


def test_one_in_whole_has_its_whole_id_and_no_values() -> None:
    text = shown(*parts_of(session(), NOW))
    assert text.startswith("Session jcPWYnJNGRd8FGlPFi9rhWvH of /examples, anna's\n")
    assert "begun 60 min ago, used 60 s ago, ends in 29 min" in text
    assert "value" not in text
    assert [line.split() for line in text.splitlines() if "cart" in line] == [
        ["cart", "2.0", "KiB"]
    ]


def test_values_are_shown_where_they_are() -> None:
    values = {"cart": "['[red]apples[/red]']", "n": "5\x1b[2J"}
    text = shown(*parts_of(session(values=values, principal=None), NOW))
    assert "['[red]apples[/red]']" in text and "nobody's" in text
    assert "\x1b" not in text


def test_an_empty_one_says_so() -> None:
    assert "It holds nothing." in shown(*parts_of(session(sizes={}), NOW))
