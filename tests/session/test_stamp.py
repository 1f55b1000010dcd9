"""Stamps: a total order, and a clock that only grows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replsession.session.stamp import HLC_MAX, HybridClock, Stamp
from tests.strategies import hlcs, stamps

walls = st.floats(0, 4e9)
A, B = b"a" * 8, b"b" * 8


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (Stamp(1, B), Stamp(2, A)),
        (Stamp(2, A), Stamp(2, B)),
        (Stamp(0, B), Stamp(HLC_MAX - 1, A)),
    ],
)
def test_the_greater_stamp_is_the_newer_write(older: Stamp, newer: Stamp) -> None:
    assert older < newer
    assert max(older, newer) is newer


@given(stamps, stamps)
def test_two_stamps_are_always_in_an_order(one: Stamp, other: Stamp) -> None:
    assert (one < other) + (other < one) + (one == other) == 1


@given(st.lists(st.tuples(st.booleans(), walls, hlcs), max_size=30))
def test_the_clock_only_grows(steps: list[tuple[bool, float, int]]) -> None:
    clock = HybridClock()
    seen = 0
    for is_observed, wall_s, hlc in steps:
        if is_observed:
            clock.observe(hlc)
            seen = max(seen, hlc)
        else:
            tick = clock.tick(wall_s)
            assert tick > seen
            seen = tick


@given(st.lists(walls, min_size=1, max_size=20))
def test_a_clock_that_nobody_is_ahead_of_shows_the_wall_clock(times: list[float]) -> None:
    clock = HybridClock()
    ticks = [clock.tick(wall_s) for wall_s in times]

    assert ticks[-1] >> 16 == int(max(times) * 1000)


@given(hlcs, walls)
def test_a_write_beats_whatever_its_writer_has_seen(hlc: int, wall_s: float) -> None:
    clock = HybridClock()
    clock.observe(hlc)

    assert clock.tick(wall_s) > hlc


def test_what_is_older_does_not_turn_the_clock_back() -> None:
    clock = HybridClock()
    first = clock.tick(1000.0)
    clock.observe(first - 1)

    assert clock.tick(1000.0) == first + 1
    assert clock.tick(0.0) == first + 2


def test_many_writes_in_one_millisecond_spill_over_into_the_next() -> None:
    clock = HybridClock()
    clock.observe(clock.tick(1.0) | 0xFFFF)

    assert clock.tick(1.0) >> 16 == 1001


def test_after_the_greatest_value_taken_there_is_still_room_in_64_bits() -> None:
    clock = HybridClock()
    clock.observe(HLC_MAX - 1)

    assert clock.tick(0.0) + 2**48 <= 2**64
