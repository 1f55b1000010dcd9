"""Dates, times, exact numbers and UUIDs: one content for each value, whatever surrounds them."""

from __future__ import annotations

import decimal
import io
import time as clock
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import TZPATH, ZoneInfo, available_timezones

import cbor2
import pytest
from hypothesis import given, settings

from replsession.errors import WireError
from replsession.session import format as fmt
from replsession.session.leaves import LIFT, LOWER
from tests.session.shop import described, is_itself, same
from tests.strategies import leaf_values

BERLIN = ZoneInfo("Europe/Berlin")
CONTENTS: list[tuple[Any, int, Any]] = [
    (datetime(1, 1, 1), fmt.DATETIME, [0, None, 0]),
    (datetime(1, 1, 1, 0, 0, 1, 5, fold=1), fmt.DATETIME, [1_000_005, None, 1]),
    (datetime(1, 1, 2, tzinfo=UTC), fmt.DATETIME, [86_400_000_000, 0, 0]),
    (datetime.max, fmt.DATETIME, [3_652_059 * 86_400_000_000 - 1, None, 0]),
    (datetime(1, 1, 1, tzinfo=BERLIN, fold=1), fmt.DATETIME, [0, "Europe/Berlin", 1]),
    (date(1, 1, 1), fmt.DATE, 1),
    (date.max, fmt.DATE, 3_652_059),
    (time(0, 0, 0, 7), fmt.TIME, [7, None, 0]),
    (time.max, fmt.TIME, [86_399_999_999, None, 0]),
    (time(1, tzinfo=timezone(timedelta(hours=-3))), fmt.TIME, [3600_000_000, -10_800_000_000, 0]),
    (time(0, tzinfo=timezone(timedelta(0), "Z")), fmt.TIME, [0, [0, "Z"], 0]),
    (timedelta(0), fmt.TIMEDELTA, [0, 0, 0]),
    (timedelta(microseconds=-1), fmt.TIMEDELTA, [-1, 86_399, 999_999]),
    (timedelta.max, fmt.TIMEDELTA, [999_999_999, 86_399, 999_999]),
    (timedelta.min, fmt.TIMEDELTA, [-999_999_999, 0, 0]),
    (Decimal("1.50"), fmt.DECIMAL, "1.50"),
    (Decimal("1.5"), fmt.DECIMAL, "1.5"),
    (Decimal("-0E+3"), fmt.DECIMAL, "-0E+3"),
    (Decimal("-sNaN7"), fmt.DECIMAL, "-sNaN7"),
    (Decimal("-Infinity"), fmt.DECIMAL, "-Infinity"),
    (UUID(int=1), fmt.UUID, b"\0" * 15 + b"\1"),
]


@pytest.mark.parametrize(("value", "tag", "content"), CONTENTS, ids=lambda value: repr(value)[:40])
def test_the_content_of_a_value(value: Any, tag: int, content: Any) -> None:
    assert LOWER[type(value)](value) == cbor2.CBORTag(tag, content)
    assert same(LIFT[tag](content), value)


@given(leaf_values.filter(lambda value: type(value) in LOWER))
@settings(max_examples=500, deadline=None)
def test_a_value_comes_back_of_the_same_type_and_equal(value: Any) -> None:
    lowered = LOWER[type(value)](value)
    assert isinstance(lowered, cbor2.CBORTag)
    back = LIFT[lowered.tag](lowered.value)
    assert described(back) == described(value)
    assert back == value or not is_itself(value)
    assert LOWER[type(back)](back) == lowered


def test_zones_come_back_as_what_they_were() -> None:
    def back(zone: tzinfo) -> tzinfo | None:
        lowered = LOWER[datetime](datetime(2026, 6, 1, tzinfo=zone))
        assert isinstance(lowered, cbor2.CBORTag)
        returned = LIFT[lowered.tag](lowered.value)
        assert isinstance(returned, datetime)
        return returned.tzinfo

    assert back(UTC) is UTC
    assert back(BERLIN) is BERLIN
    assert back(ZoneInfo("UTC")) is ZoneInfo("UTC")
    assert back(ZoneInfo.no_cache("Europe/Berlin")) is BERLIN
    named = back(timezone(timedelta(hours=1), "CET"))
    assert type(named) is timezone and named.tzname(None) == "CET"


@pytest.mark.parametrize("key", sorted(available_timezones()))
def test_every_zone_that_there_is_comes_back(key: str) -> None:
    value = datetime(2026, 6, 1, tzinfo=ZoneInfo(key))
    lowered = LOWER[datetime](value)
    assert isinstance(lowered, cbor2.CBORTag)
    assert LIFT[fmt.DATETIME](lowered.value).tzinfo is value.tzinfo


def test_both_hours_of_a_night_in_autumn_are_kept_apart() -> None:
    nights = [datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=fold) for fold in (0, 1)]
    backs = []
    for night in nights:
        lowered = LOWER[datetime](night)
        assert isinstance(lowered, cbor2.CBORTag)
        backs.append(LIFT[fmt.DATETIME](lowered.value))
    assert [back.utcoffset() for back in backs] == [timedelta(hours=2), timedelta(hours=1)]


class Summer(tzinfo):
    """A zone of somebody's own."""

    def utcoffset(self, at: datetime | None) -> timedelta:
        return timedelta(hours=2)


def zone_from_file(key: str | None) -> ZoneInfo:
    paths = [Path(folder) / "Asia/Tokyo" for folder in TZPATH]
    found = [path for path in paths if path.is_file()]
    if not found:
        pytest.skip("this machine has no database of time zones in files")
    content = found[0].read_bytes()
    return ZoneInfo.from_file(io.BytesIO(content), key)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (Summer, "a tzinfo of type tests.session.test_leaves.Summer"),
        (lambda: zone_from_file(None), "a ZoneInfo that its key does not stand for"),
        (lambda: zone_from_file("Europe/Berlin"), "a ZoneInfo that its key does not stand for"),
        (lambda: zone_from_file("No/such"), "a ZoneInfo that its key does not stand for"),
        (
            lambda: timezone(timedelta(0), "x" * 257),
            "a timezone whose name is no text of",
        ),
        (lambda: timezone(timedelta(0), "\ud800"), "a timezone whose name is no text of"),
    ],
)
def test_zones_that_are_refused(make: Callable[[], tzinfo], problem: str) -> None:
    told = LOWER[datetime](datetime(2026, 1, 1, tzinfo=make()))
    assert isinstance(told, str) and told.startswith("datetime.datetime with ") and problem in told


def test_the_decimal_context_of_the_thread_plays_no_part() -> None:
    value = Decimal("1.23456789E+30")
    with decimal.localcontext() as context:
        context.prec, context.capitals = 2, 0
        context.traps[decimal.Inexact] = context.traps[decimal.Rounded] = True
        lowered = LOWER[Decimal](value)
        assert lowered == cbor2.CBORTag(fmt.DECIMAL, "1.23456789E+30")
        assert same(LIFT[fmt.DECIMAL]("1.23456789E+30"), value)
    with decimal.localcontext() as context:
        context.traps[decimal.InvalidOperation] = False
        with pytest.raises(WireError):
            LIFT[fmt.DECIMAL]("cat")


def test_the_local_zone_plays_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    value = datetime(2026, 10, 25, 2, 30)
    contents = []
    for zone in ("Europe/Berlin", "America/New_York"):
        monkeypatch.setenv("TZ", zone)
        clock.tzset()
        contents.append(LOWER[datetime](value))
    monkeypatch.undo()
    clock.tzset()
    assert contents[0] == contents[1]
