"""
Counters: sums to which every writer adds in a register of its own, so that no count meets another.

A counter ``name`` is what the application stored under that name, the *base*, plus what the
registers of all writers have counted on it. A register's name is ``"\\0+"``, the writer's member id
in hex, and the name of the counter; its value is one CBOR array::

    [epoch, total]

1. Only its writer writes a register, so of two values the one with the greater stamp is newer and
   has all of the other: merging needs nothing that other registers do not have.
2. The *epoch* is the stamp of the base that was counted on: its clock value as 8 bytes, since an
   int in a value has a sign, and its member; no bytes where there was no base. Only registers
   whose epoch is exactly the stamp of the present base are added. So an assignment or a removal
   starts the count anew, and what was counted on the same base adds up, whoever counted. A register
   whose base is not here yet counts nothing until that arrives.
3. A base that is no int hides what was counted on it.
4. What is shown stays within 64 bits: a sum beyond is shown as the nearest number within.

Source: grow-only counters and their reset, Almeida, Shoker, Baquero, "Delta State Replicated Data
Types", 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import cbor2

from replsession.errors import WireError
from replsession.identity import MEMBER_ID_BYTES, MemberId
from replsession.session.codec import decode, encode
from replsession.session.delta import Write
from replsession.session.format import INT_MAX, INT_MIN

PREFIX = "\0+"
VALUE_BYTES_MAX = 40
"""No count takes more."""
_NAME_AT = len(PREFIX) + 2 * MEMBER_ID_BYTES
_INTS_BELOW = 0x40
"""First bytes of ints in CBOR are below it, those of everything else are not."""


class Count(NamedTuple):
    """What one writer has counted on one base."""

    epoch: bytes
    total: int


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
        case [bytes() as epoch, int() as total] if type(total) is int:
            return Count(epoch, total)
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
    epoch = _epoch(attributes, name)
    held = attributes.get(register)
    before = decoded(held.value) if held is not None and held.value is not None else None
    if before is not None and before.epoch == epoch:
        amount += before.total
    return register, encoded(Count(epoch, within_64_bits(amount)))


def shown(attributes: Mapping[str, Write]) -> dict[str, bytes]:
    """Return the value of each counter that something was counted on, by its visible name."""
    sums: dict[str, int] = {}
    for register, write in attributes.items():
        if write.value is None or not register.startswith(PREFIX):
            continue
        name, count = register[_NAME_AT:], decoded(write.value)
        if count is not None and count.epoch == _epoch(attributes, name):
            sums[name] = sums.get(name, 0) + count.total
    found: dict[str, bytes] = {}
    for name, total in sums.items():
        base = attributes.get(name)
        value = sum_of(None if base is None else base.value, total)
        if value is not None:
            found[name] = value
    return found


def sum_of(base: bytes | None, amount: int) -> bytes | None:
    """Return an encoded int, or nothing, with *amount* added; None if *base* is no int."""
    number = 0
    if base is not None:
        if not base or base[0] >= _INTS_BELOW:
            return None
        try:
            number = decode(base)
        except WireError:
            return None
    return encode("", within_64_bits(number + amount))


def within_64_bits(number: int) -> int:
    """Return the nearest int of 64 bits."""
    return max(INT_MIN, min(number, INT_MAX))


def _epoch(attributes: Mapping[str, Write], name: str) -> bytes:
    base = attributes.get(name)
    return b"" if base is None else base.hlc.to_bytes(8, "big") + base.member
