"""
Leaves: dates, times, exact numbers and UUIDs, and what stands for each of them under its tag.

1. Exactly one content stands for a value, and reading takes no other.
2. Nothing of the surroundings plays a part: neither a ``decimal`` context nor a local zone. The one
   thing of the world that is looked at is the machine's database of time zones, which ``zoneinfo``
   keeps once it has read it.
3. A zone of ``zoneinfo`` is its key. Its rules stay in the database, so a member with newer rules
   takes the same clock time for another moment: that is what a key means.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from cbor2 import CBORTag

from replsession.errors import WireError
from replsession.session import format as fmt
from replsession.session.faults import encodable, type_name

_FIRST = datetime.min
_MICROSECOND = timedelta(microseconds=1)
_DAY_US = 86_400_000_000
_DAYS = date.max.toordinal()
_ZONE_KEY = re.compile(r"[\w+-]+(?:/[\w+-]+)*", re.ASCII)
"""Every key of the database of time zones; none of them leads out of its folder."""
_STRICT = Context(traps=[InvalidOperation])

Lowered = CBORTag | str
"""A tag with its content, or what is wrong."""


def _lower_datetime(value: datetime) -> Lowered:
    clock = (value.replace(tzinfo=None, fold=0) - _FIRST) // _MICROSECOND
    return _with_zone(fmt.DATETIME, clock, value)


def _lower_time(value: time) -> Lowered:
    minutes = value.hour * 60 + value.minute
    clock = (minutes * 60 + value.second) * 1_000_000 + value.microsecond
    return _with_zone(fmt.TIME, clock, value)


def _lower_date(value: date) -> Lowered:
    return CBORTag(fmt.DATE, value.toordinal())


def _lower_timedelta(value: timedelta) -> Lowered:
    # In microseconds the longest ones would have more than 64 bits.
    return CBORTag(fmt.TIMEDELTA, [value.days, value.seconds, value.microseconds])


def _lower_decimal(value: Decimal) -> Lowered:
    return CBORTag(fmt.DECIMAL, _text_of(value))


def _lower_uuid(value: UUID) -> Lowered:
    return CBORTag(fmt.UUID, value.bytes)


def _text_of(value: Decimal) -> str:
    # The context of the thread may ask for a small e, which stands in no other word.
    return str(value).replace("e", "E")


def _with_zone(tag: int, clock: int, value: datetime | time) -> Lowered:
    zone = value.tzinfo
    if zone is None:
        return CBORTag(tag, [clock, None, value.fold])
    kind = type_name(type(value))
    if type(zone) is timezone:
        return _with_offset(tag, clock, value.fold, zone, kind)
    if type(zone) is not ZoneInfo:
        kinds = "datetime.timezone or zoneinfo.ZoneInfo"
        return f"{kind} with a tzinfo of type {type_name(type(zone))}, which is not {kinds}"
    key = zone.key
    if type(key) is not str or not _is_the_same(zone, key, value):
        return f"{kind} with a ZoneInfo that its key does not stand for"
    return CBORTag(tag, [clock, key, value.fold])


def _with_offset(tag: int, clock: int, fold: int, zone: timezone, kind: str) -> Lowered:
    offset, name = zone.utcoffset(None), str.__str__(zone.tzname(None))
    offset_us = offset // _MICROSECOND
    if name == timezone(offset).tzname(None):
        return CBORTag(tag, [clock, offset_us, fold])
    if not encodable(name) or len(name.encode()) > fmt.ZONE_BYTES_MAX:
        return f"{kind} with a timezone whose name is no text of {fmt.ZONE_BYTES_MAX} bytes"
    return CBORTag(tag, [clock, [offset_us, name], fold])


def _is_the_same(zone: ZoneInfo, key: str, value: datetime | time) -> bool:
    # A zone may have been read from a file of somebody's own, and given the key of another.
    named = _zone_of_key(key)
    return named is zone or (
        named is not None and value.replace(tzinfo=named).utcoffset() == value.utcoffset()
    )


def _zone_of_key(key: str) -> ZoneInfo | None:
    if len(key) > fmt.ZONE_BYTES_MAX or not _ZONE_KEY.fullmatch(key):
        return None
    try:
        return ZoneInfo(key)
    except (KeyError, ValueError, OSError):
        return None


LOWER: Final[dict[type, Callable[[Any], Lowered]]] = {
    datetime: _lower_datetime,
    date: _lower_date,
    time: _lower_time,
    timedelta: _lower_timedelta,
    Decimal: _lower_decimal,
    UUID: _lower_uuid,
}
"""By exact type: what stands for a value, or the problem in words."""


def _lift_datetime(content: Any) -> datetime:
    clock, zone, fold = _clocked(content, _DAYS * _DAY_US)
    return (_FIRST + timedelta(microseconds=clock)).replace(tzinfo=zone, fold=fold)


def _lift_time(content: Any) -> time:
    clock, zone, fold = _clocked(content, _DAY_US)
    return (_FIRST + timedelta(microseconds=clock)).time().replace(tzinfo=zone, fold=fold)


def _lift_date(content: Any) -> date:
    return date.fromordinal(_integer(content, 1, _DAYS))


def _lift_timedelta(content: Any) -> timedelta:
    days, seconds, microseconds = _row(content, 3)
    return timedelta(
        _integer(days, timedelta.min.days, timedelta.max.days),
        _integer(seconds, 0, 86_399),
        _integer(microseconds, 0, 999_999),
    )


def _lift_decimal(content: Any) -> Decimal:
    try:
        value = Decimal(_text(content), _STRICT)
    except InvalidOperation as error:
        raise WireError("a Decimal is no number") from error
    if _text_of(value) != content:
        raise WireError("a Decimal is written in another way")
    return value


def _lift_uuid(content: Any) -> UUID:
    if type(content) is not bytes or len(content) != 16:
        raise WireError("a UUID has 16 bytes")
    return UUID(bytes=content)


def _clocked(content: Any, clock_max: int) -> tuple[int, tzinfo | None, int]:
    clock, zone, fold = _row(content, 3)
    return _integer(clock, 0, clock_max - 1), _zone(zone), _integer(fold, 0, 1)


def _zone(zone: Any) -> tzinfo | None:
    if zone is None:
        return None
    if type(zone) is str:
        found = _zone_of_key(zone)
        if found is None:
            raise WireError("a time zone is not in this machine's database")
        return found
    if type(zone) is int:
        return timezone(_offset(zone))
    offset, name = _row(zone, 2)
    named = timezone(_offset(offset), _text(name))
    if named.tzname(None) == timezone(_offset(offset)).tzname(None):
        raise WireError("a fixed offset has the name that it has anyway")
    return named


def _offset(offset_us: Any) -> timedelta:
    return timedelta(microseconds=_integer(offset_us, 1 - _DAY_US, _DAY_US - 1))


def _row(content: Any, length: int) -> list[Any] | tuple[Any, ...]:
    # Under a tag ``cbor2`` reads arrays as tuples.
    if type(content) not in (list, tuple) or len(content) != length:
        raise WireError(f"an array of {length} was expected under a tag")
    return content  # type: ignore[no-any-return]


def _integer(content: Any, least: int, most: int) -> int:
    if type(content) is not int or not least <= content <= most:
        raise WireError(f"an integer of {least} to {most} was expected under a tag")
    return content


def _text(content: Any) -> str:
    if type(content) is not str:
        raise WireError("a text was expected under a tag")
    return content


LIFT: Final[dict[int, Callable[[Any], Any]]] = {
    fmt.DATETIME: _lift_datetime,
    fmt.DATE: _lift_date,
    fmt.TIME: _lift_time,
    fmt.TIMEDELTA: _lift_timedelta,
    fmt.DECIMAL: _lift_decimal,
    fmt.UUID: _lift_uuid,
}
"""By tag: the value for a content; each raises :class:`WireError` for any other content."""
