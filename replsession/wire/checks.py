"""Checks of decoded values: each returns what it was given, or raises :class:`WireError`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from replsession.errors import WireError
from replsession.identity import LOCATOR_BYTES, MEMBER_ID_BYTES, Key
from replsession.session.stamp import HLC_MAX

UINT64 = 2**64
TEXT_MAX = 256


def array(value: Any, length: int) -> list[Any]:
    """An array of exactly *length* items."""
    if type(value) is not list or len(value) != length:
        raise WireError(f"an array of {length} was expected")
    return value


def item_of(value: Any, index: int) -> Any:
    """One item of an array that has at least so many."""
    if type(value) is not list or len(value) <= index:
        raise WireError("an array is too short")
    return value[index]


def rows(value: Any, width: int) -> Iterator[list[Any]]:
    """The rows of a flat array whose length is a multiple of *width*."""
    if type(value) is not list or len(value) % width:
        raise WireError(f"an array of rows of {width} was expected")
    return (value[at : at + width] for at in range(0, len(value), width))


def count(value: Any) -> int:
    """An integer of 0 to 2**64 - 1."""
    if type(value) is not int or not 0 <= value < UINT64:
        raise WireError("an unsigned 64-bit integer was expected")
    return value


def below(value: Any, bound: int) -> int:
    """An integer of 0 to *bound* - 1."""
    if count(value) >= bound:
        raise WireError(f"an integer below {bound} was expected")
    return count(value)


def hlc(value: Any) -> int:
    """A clock value; only those near the end of 64 bits are refused, never "the future"."""
    if type(value) is not int or not 0 <= value < HLC_MAX:
        raise WireError("a clock value below 2**64 - 2**48 was expected")
    return value


def member_id(value: Any) -> bytes:
    """A member's id."""
    return octets(value, exactly=MEMBER_ID_BYTES)


def locator(value: Any) -> bytes:
    """A session's locator."""
    return octets(value, exactly=LOCATOR_BYTES)


def octets(value: Any, *, exactly: int | None = None, most: int | None = None) -> bytes:
    """A byte string of a given length, or of a greatest one."""
    if type(value) is not bytes or (exactly is not None and len(value) != exactly):
        raise WireError("a byte string of another length was expected")
    if most is not None and len(value) > most:
        raise WireError(f"a byte string of at most {most} was expected")
    return value


def text(value: Any, most: int = TEXT_MAX) -> str:
    """A text of at most so many characters."""
    if type(value) is not str or len(value) > most:
        raise WireError(f"a text of at most {most} characters was expected")
    return value


def boolean(value: Any) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise WireError("true or false was expected")
    return value


def port(value: Any) -> int:
    """A TCP port."""
    if not 0 < count(value) < 65536:
        raise WireError("a port of 1 to 65535 was expected")
    return count(value)


def key_at(row: list[Any]) -> Key:
    """The key in the first two columns of a row."""
    return Key(text(row[0]), locator(row[1]))
