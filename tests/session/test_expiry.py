"""Expiry: when a session is over, as tables of numbers."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replsession.config import Timing
from replsession.session.delta import REGISTER, Delta, Write
from replsession.session.expiry import (
    COOKIE_AGE_MAX_S,
    DEFAULT_LIMITS,
    SessionLimits,
    announce_every,
    cookie_age,
    decoded_limits,
    encoded_limits,
    ends_at,
    is_over,
    is_over_here,
    is_too_old,
    limits_from,
    limits_of,
    lived_too_long,
    look_at,
    needs_grace,
    over_at,
    tombstone_counts,
)
from replsession.session.record import (
    COOKIE_AS_SESSION,
    COOKIE_OF_APPLICATION,
    COOKIE_UNTIL_CLOSED,
    INTERVAL,
    Record,
)
from replsession.session.stamp import Stamp
from tests.strategies import KEY, MEMBERS

A = MEMBERS[0]
TIMING = Timing(tombstone_retention_s=1000, tombstone_margin_s=100, access_interval_s=300)
CREATED, ACCESSED = 50.0, 100.0


def with_register(value: bytes | None) -> Record:
    """A record created at 50 and read at 100, with this register of limits."""
    record = Record(KEY, Stamp(1, A), CREATED, Stamp(1, A), ACCESSED)
    record.attributes[INTERVAL] = Write(1, A, REGISTER, value)
    return record


def with_limits(idle_s: float | None, lifetime_s: float | None = None) -> Record:
    """A record created at 50 and read at 100, with these limits."""
    return with_register(encoded_limits(SessionLimits(idle_s, lifetime_s)))


@given(
    st.none() | st.integers(1, 2**40) | st.floats(0.001, 1e12),
    st.none() | st.integers(1, 2**40) | st.floats(0.001, 1e12),
)
def test_limits_travel_in_a_register(idle_s: float | None, lifetime_s: float | None) -> None:
    assert limits_of(with_limits(idle_s, lifetime_s)) == SessionLimits(idle_s, lifetime_s)


def test_a_session_without_limits_has_tomcats() -> None:
    record = Record(KEY, Stamp(1, A), CREATED, Stamp(1, A), ACCESSED)

    assert limits_of(record) == DEFAULT_LIMITS == SessionLimits(1800, None)
    assert limits_of(with_register(None)) == DEFAULT_LIMITS


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x80",
        b"\xff",
        b"\x82\x01",
        b"\x1b",
        b"\x81" * 5000,
        b"\x9f\x01\x02\xff\x00",
        cbor2.dumps(["1", None]),
        cbor2.dumps([1, 2, 3]),
        cbor2.dumps({"idle": 1}),
        cbor2.dumps([True, None]),
        cbor2.dumps([None, False]),
        cbor2.dumps([math.nan, None]),
        cbor2.dumps([math.inf, None]),
        cbor2.dumps([None, -math.inf]),
        cbor2.dumps([-1, None]),
        cbor2.dumps([None, -0.5]),
        cbor2.dumps([10**400, None]),
    ],
    ids=lambda value: value[:8].hex(),
)
def test_what_another_member_wrote_there_never_raises(value: bytes) -> None:
    record = with_register(value)

    assert limits_of(record) == DEFAULT_LIMITS
    assert over_at(record, TIMING, grace=True) is not None
    assert math.isfinite(look_at(record, TIMING))


def test_limits_follow_what_is_written() -> None:
    record = with_limits(60)
    assert limits_of(record).idle_s == 60

    stamp = Stamp(5, A)
    value = encoded_limits(SessionLimits(70, None))
    news = Write(*stamp, REGISTER, value)
    record.merge(Delta(KEY, record.born, 1, {A: 5}, {INTERVAL: news}, 0.0, stamp, 0.0), 100.0)
    assert limits_of(record).idle_s == 70
    record.write({INTERVAL: Write(6, A, REGISTER, encoded_limits(SessionLimits(80, 90)))}, {})
    assert limits_of(record) == SessionLimits(80, 90)
    record.write({INTERVAL: Write(7, A, REGISTER, None)}, {})
    assert limits_of(record) == DEFAULT_LIMITS


@given(st.binary(max_size=12))
def test_any_bytes_are_limits_or_none(value: bytes) -> None:
    limits = limits_of(with_register(value))

    assert limits.idle_s is None or 0 <= limits.idle_s < math.inf
    assert limits.lifetime_s is None or 0 <= limits.lifetime_s < math.inf
    is_over(with_register(value), 1e9, TIMING, grace=False)


@pytest.mark.parametrize(
    ("idle_s", "expected"),
    [(1800, 180), (10, 1), (1, 0.1), (3000, 300), (86_400, 300), (None, 300)],
)
def test_an_access_is_announced_after_a_tenth_of_the_interval(
    idle_s: float | None, expected: float
) -> None:
    assert announce_every(SessionLimits(idle_s, None), TIMING) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("idle_s", "lifetime_s", "grace", "expected"),
    [
        (None, None, False, None),
        (None, None, True, None),
        (60, None, False, ACCESSED + 60),
        (60, None, True, ACCESSED + 60 + TIMING.expiry_grace_s + 6),
        (None, 500, False, CREATED + 500),
        (None, 500, True, CREATED + 500),
        (60, 500, False, ACCESSED + 60),
        (60, 70, False, CREATED + 70),
        (60, 115, True, CREATED + 115),
    ],
)
def test_a_session_is_over_at(
    idle_s: float | None, lifetime_s: float | None, grace: bool, expected: float | None
) -> None:
    record = with_limits(idle_s, lifetime_s)

    assert over_at(record, TIMING, grace=grace) == expected
    for now in (0.0, 114.9, 115.0, 160.0, 167.9, 168.0, 550.0, 1e9):
        over = is_over(record, now, TIMING, grace=False)
        assert is_over_here(record, limits_of(record), now) is over
    if expected is None:
        assert not is_over(record, 1e15, TIMING, grace=grace)
        assert look_at(record, TIMING) == math.inf
    else:
        assert not is_over(record, expected - 0.001, TIMING, grace=grace)
        assert is_over(record, expected, TIMING, grace=grace)


@pytest.mark.parametrize(
    ("age_s", "counts"), [(0, True), (899.9, True), (900, False), (1000, False), (5000, False)]
)
def test_a_tombstone_near_its_retention_counts_no_more(age_s: float, counts: bool) -> None:
    assert tombstone_counts(age_s, TIMING) is counts


def test_a_sweep_need_not_look_before() -> None:
    alive, ended, asleep = with_limits(60), with_limits(60), with_limits(60)
    ended.destroy(Stamp(2, A), 300.0)
    asleep.asleep, asleep.ended_at = True, 200.0

    assert look_at(alive, TIMING) == over_at(alive, TIMING, grace=False)
    assert look_at(ended, TIMING) == 300.0 + 900
    assert look_at(asleep, TIMING) == 200.0


@pytest.mark.parametrize(
    ("writer", "released", "expected"),
    [(A, False, False), (A, True, False), (MEMBERS[1], False, True), (MEMBERS[1], True, False)],
)
def test_who_served_it_last_needs_no_grace(writer: bytes, released: bool, expected: bool) -> None:
    record = with_limits(60)
    record.released = released

    assert needs_grace(record, writer) is expected


@pytest.mark.parametrize(
    ("limits", "idle_s", "age_s", "expected"),
    [
        (SessionLimits(60, None), 59.9, 1e6, False),
        (SessionLimits(60, None), 60.0, 60.0, True),
        (SessionLimits(None, 500), 1e6, 499.9, False),
        (SessionLimits(None, 500), 0.0, 500.0, True),
        (SessionLimits(None, None), 1e9, 1e9, False),
        (SessionLimits(0, None), 0.0, 0.0, True),
        (None, 1799.9, 1e6, False),
        (None, 1800.0, 1e6, True),
    ],
)
def test_news_say_themselves_whether_their_session_is_over(
    limits: SessionLimits | None, idle_s: float, age_s: float, expected: bool
) -> None:
    stamp = Stamp(1, A)
    value = None if limits is None else encoded_limits(limits)
    attributes = {"x": Write(1, A, REGISTER, b"\x01")}
    if limits is not None:
        attributes[INTERVAL] = Write(1, A, REGISTER, value)
    delta = Delta(KEY, stamp, None, {A: 1}, attributes, age_s, stamp, idle_s)

    assert is_too_old(delta) is expected
    assert not is_too_old(delta._replace(idle_s=0.0, age_s=0.0)) or limits == SessionLimits(0, None)


def test_an_access_that_is_not_named_counts_as_well() -> None:
    record = with_limits(60)
    record.accessed_else = ACCESSED + 30

    assert over_at(record, TIMING, grace=False) == ACCESSED + 90
    assert not is_over_here(record, limits_of(record), ACCESSED + 89)
    assert is_over_here(record, limits_of(record), ACCESSED + 90)


@pytest.mark.parametrize(
    ("lifetime_s", "now", "expected"), [(None, 1e9, False), (70, 119.9, False), (70, 120.0, True)]
)
def test_a_session_lives_so_long_at_most(
    lifetime_s: float | None, now: float, expected: bool
) -> None:
    assert lived_too_long(with_limits(1e12, lifetime_s), now) is expected


@given(
    st.none() | st.integers(1, 2**40) | st.floats(0.001, 1e12),
    st.none() | st.integers(1, 2**40) | st.floats(0.001, 1e12),
    st.sampled_from((COOKIE_OF_APPLICATION, COOKIE_UNTIL_CLOSED, COOKIE_AS_SESSION)),
)
def test_what_is_said_of_the_cookie_travels_with_the_limits(
    idle_s: float | None, lifetime_s: float | None, cookie: int
) -> None:
    limits = SessionLimits(idle_s, lifetime_s, cookie)
    encoded = encoded_limits(limits)
    assert decoded_limits(encoded) == limits
    # As it was before anything could be said of it.
    assert (encoded == cbor2.dumps([idle_s, lifetime_s])) is (cookie == COOKIE_OF_APPLICATION)


@pytest.mark.parametrize("cookie", [0, 3, -1, None, "1", 1.5, [1]])
def test_what_is_not_known_of_a_cookie_is_as_by_default(cookie: object) -> None:
    assert decoded_limits(cbor2.dumps([5, 6, cookie])) == DEFAULT_LIMITS


def test_a_moment_without_a_time_zone_is_local() -> None:
    born_at = 1_000_000.0
    ends = datetime.fromtimestamp(born_at + 60)
    assert limits_from(ends, DEFAULT_LIMITS, born_at).lifetime_s == 60


@pytest.mark.parametrize(
    ("defaults", "value", "expected"),
    [
        (SessionLimits(10, 20), 5, SessionLimits(5, 20, COOKIE_AS_SESSION)),
        (SessionLimits(10, 20), None, SessionLimits(10, 20)),
        (SessionLimits(10, 20), 0, SessionLimits(10, 20, COOKIE_UNTIL_CLOSED)),
        (SessionLimits(10, 20), 0.0, SessionLimits(10, 20, COOKIE_UNTIL_CLOSED)),
        (SessionLimits(10, 20), timedelta(0), SessionLimits(10, 20, COOKIE_UNTIL_CLOSED)),
        (
            SessionLimits(10, 20),
            datetime.fromtimestamp(130.5, UTC),
            SessionLimits(None, 30.5, COOKIE_AS_SESSION),
        ),
        (
            SessionLimits(10, 20),
            datetime.fromtimestamp(90, UTC),
            SessionLimits(None, 0.0, COOKIE_AS_SESSION),
        ),
    ],
)
def test_an_expiry_becomes_limits(
    defaults: SessionLimits, value: Any, expected: SessionLimits
) -> None:
    assert limits_from(value, defaults, 100.0) == expected


@pytest.mark.parametrize(
    ("limits", "end", "age"),
    [
        (SessionLimits(60, None, COOKIE_AS_SESSION), 1060, 60),
        (SessionLimits(60, 930.2, COOKIE_AS_SESSION), 1030.2, 31),
        (SessionLimits(None, 50, COOKIE_AS_SESSION), 150, 0),
        (SessionLimits(None, None, COOKIE_AS_SESSION), None, COOKIE_AGE_MAX_S),
        (SessionLimits(1e10, None, COOKIE_AS_SESSION), 1000 + 1e10, COOKIE_AGE_MAX_S),
        (SessionLimits(60, 5, COOKIE_UNTIL_CLOSED), 105, None),
    ],
)
def test_the_cookie_lasts_as_long_as_its_session(
    limits: SessionLimits, end: float | None, age: int | None
) -> None:
    assert ends_at(limits, 100.0, 1000.0) == end
    assert cookie_age(limits, 100.0, 1000.0) == age
