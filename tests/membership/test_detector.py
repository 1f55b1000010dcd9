"""Silence, and our own slowness, as tables of numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replsession.config import Timing
from replsession.membership.detector import (
    heard_lately,
    is_silent,
    needs_ping,
    redial_pause,
    was_late,
)

TIMING = Timing(
    heartbeat_interval_s=0.5, drop_after_s=3.0, late_timer_s=0.25, redial_min_s=0.1, redial_max_s=5
)


@pytest.mark.parametrize(
    ("now", "expected"), [(100.0, False), (102.9, False), (103.0, True), (1000.0, True)]
)
def test_a_member_is_silent_after_three_seconds(now: float, expected: bool) -> None:
    assert is_silent(now, 100.0, TIMING) is expected


@pytest.mark.parametrize(("now", "expected"), [(100.0, False), (100.4, False), (100.5, True)])
def test_a_link_is_pinged_after_half_a_second(now: float, expected: bool) -> None:
    assert needs_ping(now, 100.0, TIMING) is expected


@pytest.mark.parametrize(
    ("now", "wanted_at", "expected"),
    [
        (100.0, None, False),
        (100.0, 100.0, False),
        (99.0, 100.0, False),
        (100.25, 100.0, False),
        (100.26, 100.0, True),
    ],
    ids=["never wanted", "in time", "early", "hardly late", "late"],
)
def test_a_late_timer_is_our_own_fault(now: float, wanted_at: float | None, expected: bool) -> None:
    assert was_late(now, wanted_at, TIMING) is expected


@pytest.mark.parametrize(
    ("heard_at", "expected"),
    [(96.9, False), (98.0, False), (98.5, False), (98.6, True), (99.9, True), (100.5, True)],
    ids=["silent as well", "a last word", "half the time", "lives", "just now", "since then"],
)
def test_only_what_was_heard_after_the_silence_began_shows_life(
    heard_at: float, expected: bool
) -> None:
    assert heard_lately(heard_at, 100.0, TIMING) is expected


@pytest.mark.parametrize(
    ("failures", "pause"),
    [(0, 0.1), (1, 0.2), (2, 0.4), (5, 3.2), (6, 5.0), (7, 5.0), (10**9, 5.0)],
)
def test_the_pause_doubles_up_to_its_bound(failures: int, pause: float) -> None:
    assert redial_pause(failures, TIMING) == pytest.approx(pause)


@given(st.integers(0, 10**6))
def test_no_further_failure_makes_the_pause_shorter(failures: int) -> None:
    assert redial_pause(failures, TIMING) <= redial_pause(failures + 1, TIMING) <= 5
