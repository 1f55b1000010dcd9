"""
Golden bytes of values: what a member of wire version 1 stores, whoever wrote the member.

They were put together from the table in ``session/codec.py`` alone, not by the code under test. A
change that makes one of these tests fail needs another wire version.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from replsession.errors import WireError
from replsession.session.codec import decode, encode
from replsession.session.format import TAGS
from tests.conformance.test_vectors import vectors
from tests.session.shop import Colour, Line, Permission, Slug, same

PARTS: dict[str, Any] = {
    "bytes": bytes.fromhex,
    "float": float,
    "tuple": lambda of: tuple(map(built, of)),
    "set": lambda of: set(map(built, of)),
    "frozenset": lambda of: frozenset(map(built, of)),
    "dict": lambda of: {built(key): built(item) for key, item in of},
    "date": lambda of: date(*of),
    "timedelta": lambda of: timedelta(*of),
    "Decimal": Decimal,
    "UUID": UUID,
    "Colour": Colour.__members__.__getitem__,
    "Permission": Permission,
    "Line": lambda of: Line(*map(built, of)),
    "Slug": Slug,
}


def zone_of(value: dict[str, Any]) -> tzinfo | None:
    zone = value.get("zone")
    if zone is None or isinstance(zone, str):
        return None if zone is None else ZoneInfo(zone)
    named = (value["zone_name"],) if "zone_name" in value else ()
    return timezone(timedelta(seconds=zone), *named)


def clock_of(kind: type[datetime] | type[time], value: dict[str, Any]) -> datetime | time:
    return kind(*value["of"]).replace(tzinfo=zone_of(value), fold=value.get("fold", 0))


def built(value: Any) -> Any:
    """Return the value that the notation of the file describes."""
    match value:
        case {"type": "datetime"}:
            return clock_of(datetime, value)
        case {"type": "time"}:
            return clock_of(time, value)
        case {"type": kind, "of": parts}:
            return PARTS[kind](parts)
        case list():
            return [built(item) for item in value]
    return value


@pytest.mark.parametrize("vector", vectors("values"))
def test_a_value_is_written_and_read(vector: dict[str, Any]) -> None:
    data, value = bytes.fromhex(vector["bytes"]), built(vector["value"])

    assert encode("x", value).hex() == data.hex()
    assert same(decode(data), value)


@pytest.mark.parametrize("vector", vectors("values", "refused"))
def test_bytes_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        decode(bytes.fromhex(vector["bytes"]))


def test_there_is_a_vector_for_every_tag() -> None:
    texts = [parameter.values[0]["bytes"] for parameter in vectors("values")]
    for tag in TAGS:
        assert any(text.startswith(f"d9{tag:04x}") for text in texts), hex(tag)
