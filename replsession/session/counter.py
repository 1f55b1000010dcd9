"""
Counters: sums to which every writer adds in a register of its own, so that no count meets another.

A counter ``name`` is what the application stored under that name, the *base*, plus what the
registers of all writers have counted on it. A register's name is ``"\\0+"``, the writer's member id
in hex, and the name of the counter; its value is one CBOR array::

    [epoch, total, base]

1. Only its writer writes a register, so of two values the one with the greater stamp is newer and
   has all of the other: merging needs nothing that other registers do not have.
2. The *epoch* is the stamp of the base that was counted on: its clock value as 8 bytes, since an
   int in a value has a sign, and its member; no bytes where there was no base. Only registers
   whose epoch is exactly the stamp of the present base are added. So an assignment or a removal
   starts the count anew, and what was counted on the same base adds up, whoever counted.
3. *base* is the int that was counted on, or null for nothing and for what is no int. A register is
   also the news of its base: the present base is the newest of the attribute and of all epochs.
   Else a base that was lost with its writer would take along what had been counted before it, for
   a writer has one register, and its next count has replaced that.
4. A base that is no int hides what was counted on it.
5. What is shown stays within 64 bits: a sum beyond is shown as the nearest number within.

Source: grow-only counters and their reset, Almeida, Shoker, Baquero, "Delta State Replicated Data
Types", 2018.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

import cbor2

from replsession.errors import WireError
from replsession.identity import MEMBER_ID_BYTES, MemberId
from replsession.session.codec import decode, encode
from replsession.session.delta import Write
from replsession.session.format import INT_MAX, INT_MIN

PREFIX = "\0+"
VALUE_BYTES_MAX = 40
"""No count takes more: 1 byte, an epoch of 17, and two ints of 9."""
_HLC_BYTES = 8
_NAME_AT = len(PREFIX) + 2 * MEMBER_ID_BYTES
_INTS_BELOW = 0x40
"""First bytes of ints in CBOR are below it, those of everything else are not."""


class Count(NamedTuple):
    """What one writer has counted on one base."""

    epoch: bytes
    total: int
    base: int | None = None
    """What was counted on, if it was an int."""


class Base(NamedTuple):
    """What is counted on at present."""

    epoch: bytes
    value: bytes | None


NOTHING: Final = Base(b"", None)


def register_of(writer: MemberId, name: str) -> str:
    """Return the name of a writer's register of a counter."""
    return f"{PREFIX}{writer.hex()}{name}"


def encoded(count: Count) -> bytes:
    """Return the value of a register."""
    return cbor2.dumps(list(count))


def decoded(value: bytes) -> Count | None:
    """Return what :func:`encoded` has encoded; None for what is none of it."""
    return _decoded(value) if len(value) <= VALUE_BYTES_MAX else None


@lru_cache(maxsize=4096)
def _decoded(value: bytes) -> Count | None:
    # Another member wrote it: whatever it is, it must not raise.
    try:
        fields = decode(value)
    except WireError:
        return None
    match fields:
        case [bytes() as epoch, int() as total, int() | None as base] if (
            type(total) is int and type(base) is not bool
        ):
            return Count(epoch, total, base)
        case _:
            return None


def counted(
    attributes: Mapping[str, Write], writer: MemberId, name: str, amount: int
) -> tuple[str, bytes]:
    """
    Return the register that a writer must write to count *amount*, and its new value.

    Args:
        attributes: Of the record, as they are at this commit.
        writer: The id in the stamps of whoever counts.
        name: Of the counter.
        amount: To be added; may be negative.
    """
    register = register_of(writer, name)
    base = _bases(attributes, _counts(attributes, name)).get(name) or _held(attributes, name)
    held = attributes.get(register)
    before = decoded(held.value) if held is not None and held.value is not None else None
    if before is not None and before.epoch == base.epoch:
        amount += before.total
    return register, encoded(Count(base.epoch, within_64_bits(amount), _number(base.value)))


def shown(attributes: Mapping[str, Write]) -> dict[str, bytes]:
    """Return the value of each counter that something was counted on, by its visible name."""
    counts = _counts(attributes)
    bases = _bases(attributes, counts)
    sums: dict[str, int] = {}
    for name, count in counts:
        if count.epoch == bases[name].epoch:
            sums[name] = sums.get(name, 0) + count.total
    found: dict[str, bytes] = {}
    for name, total in sums.items():
        value = sum_of(bases[name].value, total)
        if value is not None:
            found[name] = value
    return found


def sum_of(base: bytes | None, amount: int) -> bytes | None:
    """Return an encoded int, or nothing, with *amount* added; None if *base* is no int."""
    number = 0 if base is None else _number(base)
    return None if number is None else encode("", within_64_bits(number + amount))


def within_64_bits(number: int) -> int:
    """Return the nearest int of 64 bits."""
    return max(INT_MIN, min(number, INT_MAX))


def _number(value: bytes | None) -> int | None:
    if not value or value[0] >= _INTS_BELOW:
        return None
    try:
        number: int = decode(value)
    except WireError:
        return None
    return number


def _counts(attributes: Mapping[str, Write], only: str | None = None) -> list[tuple[str, Count]]:
    found: list[tuple[str, Count]] = []
    for register, write in attributes.items():
        if write.value is None or not register.startswith(PREFIX):
            continue
        name = register[_NAME_AT:]
        count = decoded(write.value) if only is None or only == name else None
        # What is counted on is older than the count; anything else was made up.
        if count is not None and count.epoch[:_HLC_BYTES] <= write.hlc.to_bytes(_HLC_BYTES, "big"):
            found.append((name, count))
    return found


def _bases(attributes: Mapping[str, Write], counts: Iterable[tuple[str, Count]]) -> dict[str, Base]:
    """Return what each counter stands on that something was counted on."""
    bases: dict[str, Base] = {}
    for name, count in counts:
        base = bases.get(name) or _held(attributes, name)
        if count.epoch > base.epoch:
            base = Base(count.epoch, None if count.base is None else encode("", count.base))
        bases[name] = base
    return bases


def _held(attributes: Mapping[str, Write], name: str) -> Base:
    write = attributes.get(name)
    if write is None:
        return NOTHING
    return Base(write.hlc.to_bytes(_HLC_BYTES, "big") + write.member, write.value)
