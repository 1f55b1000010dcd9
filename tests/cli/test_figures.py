"""Figures for people."""

from __future__ import annotations

import pytest

from replsession.cli.figures import duration, number, plain, rate, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (1, "1 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (172_800, "2 d"),
        (1e9, "11574 d"),
    ],
)
def test_how_long(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (102_400, "100 KiB"),
        (32 * 2**20, "32.0 MiB"),
        (2**60, "1048576 TiB"),
    ],
)
def test_how_much(octets: int, text: str) -> None:
    assert size(octets) == text


def test_counts_and_rates() -> None:
    assert (number(5), number(1_234_567)) == ("5", "1 234 567")
    assert [rate(each) for each in (0, 0.125, 9.99, 12.3, 4567.8)] == [
        *("0", "0.12", "9.99", "12", "4568")
    ]


def test_what_others_told_cannot_play_with_a_terminal() -> None:
    assert plain("web-1\x1b[2J\r\n\u202eevil") == "web-1�[2J���evil"
    assert plain(5) == "5"
