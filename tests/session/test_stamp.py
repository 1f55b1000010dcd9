"""Stamps: a total order, and a clock that only grows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replsession.session.stamp import HLC_MAX, OBSERVED_MAX, HybridClock, Stamp
from tests.strategies import stamps

hlcs = st.integers(1, 50) | st.integers(0, OBSERVED_MAX - 1)
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


@pytest.mark.parametrize("wall_s", [0.0, -1e9, 1.7e9, 2.9e11, 1e300])
@given(st.lists(st.integers(0, HLC_MAX - 1) | st.integers(OBSERVED_MAX - 3, HLC_MAX - 1)))
def test_whatever_a_clock_was_shown_its_next_values_are_taken(
    wall_s: float, shown: list[int]
) -> None:
    clock = HybridClock()
    for hlc in shown:
        clock.observe(hlc)
    first = clock.tick(wall_s)

    assert first + 2**40 <= HLC_MAX
    assert clock.tick(wall_s) > first


def test_a_clock_goes_on_from_the_greatest_value_that_it_follows() -> None:
    clock = HybridClock()
    clock.observe(OBSERVED_MAX - 1)

    assert not clock.was_shown_the_end
    assert [clock.tick(0.0), clock.tick(1.7e9)] == [OBSERVED_MAX, OBSERVED_MAX + 1]


@pytest.mark.parametrize("hlc", [OBSERVED_MAX, HLC_MAX - 1])
def test_a_clock_does_not_follow_to_the_end_but_remembers_that_it_is_there(hlc: int) -> None:
    clock = HybridClock()
    clock.observe(hlc)

    assert clock.was_shown_the_end
    assert clock.tick(1.7e9) < OBSERVED_MAX


@pytest.mark.parametrize(
    ("tick", "greatest", "expected"),
    [
        (500, 400, 500),
        (500, 500, 501),
        (500, OBSERVED_MAX + 7, OBSERVED_MAX + 8),
        (500, HLC_MAX - 2, HLC_MAX - 1),
        (500, HLC_MAX - 1, None),
    ],
)
def test_one_write_goes_above_all_that_its_writer_had_read(
    tick: int, greatest: int, expected: int | None
) -> None:
    assert HybridClock().above(tick, greatest) == expected
