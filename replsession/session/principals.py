"""
Principals: whose session it is, and how all sessions of somebody end.

A login writes the register :data:`~replsession.session.record.PRINCIPAL`: the name, and the
*epochs* that the member knew at that moment. To end all sessions of somebody, a member writes its
own epoch of that name. A session lives only if the epochs that its login had seen cover all that
are known: so one that began on a member that was cut off ends when the two meet, and one that began
after the end, on a member that knew of it, lives.

::

    login     one CBOR array: name, then the epochs as one byte string: id of a member and its hlc,
              8 bytes each, in the order of the ids
    epochs    a record like that of a session, in a context of its own: one register for each
              member, under its id in hexadecimal; its stamp is the epoch, its value null

1. A map, not one number: of two members that end the sessions of somebody at the same time, neither
   may hide the other's end (docs/design.md, rule 10). Nor may the stamp of the login be compared:
   clocks are wrong.
2. The record of epochs travels, merges and is repaired as all records are. It is born wherever it
   is written first, so it may be born twice, and is never partial; nothing ends it but its age.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from types import MappingProxyType
from typing import Final, NamedTuple

import cbor2

from replsession.errors import WireError
from replsession.identity import INTERNAL, LOCATOR_BYTES, MEMBER_ID_BYTES, Key, MemberId
from replsession.session.codec import decode
from replsession.session.delta import Write
from replsession.session.record import PRINCIPAL, Record

NAME_BYTES_MAX: Final = 256
SHOWN_CHARACTERS_MAX: Final = 40
_ENTRY_BYTES = MEMBER_ID_BYTES + 8
Epochs = Mapping[MemberId, int]
NO_EPOCHS: Final[Epochs] = MappingProxyType({})


class Login(NamedTuple):
    """Whose session it is, and which ends of all sessions of that name its login had seen."""

    name: str
    seen: Epochs


def check_principal(name: object) -> str:
    """
    Return the name of a principal as a plain ``str``.

    Raises:
        TypeError: It is no str.
        ValueError: It has less than 1 or more than 256 bytes of UTF-8, or a NUL.
    """
    if not isinstance(name, str):
        raise TypeError(f"principal: got a {type(name).__name__}; allowed: a str")
    plain = str.__str__(name)
    try:
        size = len(plain.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= NAME_BYTES_MAX or "\0" in plain:
        shown = plain if len(plain) <= SHOWN_CHARACTERS_MAX else plain[:SHOWN_CHARACTERS_MAX] + "…"
        raise ValueError(
            f"principal: got {shown!r}; allowed: 1 to {NAME_BYTES_MAX} bytes of UTF-8 without NUL"
        )
    return plain


def encoded_login(login: Login) -> bytes:
    """Return the value of the register."""
    seen = b"".join(member + login.seen[member].to_bytes(8, "big") for member in sorted(login.seen))
    return cbor2.dumps([login.name, seen])


@lru_cache(maxsize=4096)
def decoded_login(value: bytes) -> Login | None:
    """Return what a register says; None if another member wrote something else."""
    try:
        fields = decode(value)
    except WireError:
        return None
    match fields:
        case [str(name), bytes(seen)] if name and not len(seen) % _ENTRY_BYTES:
            parts = range(0, len(seen), _ENTRY_BYTES)
            return Login(name, MappingProxyType(dict(_entry(seen, at) for at in parts)))
        case _:
            return None


def _entry(seen: bytes, at: int) -> tuple[MemberId, int]:
    middle = at + MEMBER_ID_BYTES
    return seen[at:middle], int.from_bytes(seen[middle : at + _ENTRY_BYTES], "big")


def login_of(record: Record) -> Login | None:
    """Return whose session it is, or None."""
    value = record.value(PRINCIPAL)
    return None if value is None else decoded_login(value)


def epochs_key(context: str, name: str) -> Key:
    """Return where the epochs of a principal of an application are kept."""
    hashed = blake2b(f"{context}\0{name}".encode(), digest_size=LOCATOR_BYTES)
    return Key(INTERNAL + context, hashed.digest())


def epochs_in(record: Record | None) -> Epochs:
    """Return what a record of epochs says, each member's own."""
    if record is None:
        return NO_EPOCHS
    return {write.member: write.hlc for write in record.attributes.values()}


def covers(login: Login, epochs: Epochs) -> bool:
    """Tell whether a login has seen all these ends, so that its session lives."""
    return all(login.seen.get(member, 0) >= hlc for member, hlc in epochs.items())


class PrincipalIndex:
    """Which sessions are whose. Kept by the store."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: dict[bytes, Key | dict[Key, None]] = {}
        """Most principals have one session, and garbage collections visit every dict."""

    def follow(self, record: Record) -> None:
        """Put a record where its register says, and take it away from where it was."""
        write = record.attributes.get(PRINCIPAL)
        indexed = record.indexed
        if write is (None if indexed is None else indexed[0]):
            return
        self.discard(record)
        record.indexed = indexed_by(record)
        if record.indexed is not None:
            self._put(record.indexed[1], record.key)

    def discard(self, record: Record) -> None:
        """Forget a record."""
        if record.indexed is None:
            return
        place, record.indexed = record.indexed[1], None
        held = self._keys[place]
        if isinstance(held, dict):
            del held[record.key]
        if not isinstance(held, dict) or not held:
            del self._keys[place]

    def keys(self, place: Key) -> tuple[Key, ...]:
        """Return the sessions of one principal, given where its epochs are kept."""
        held = self._keys.get(place.locator, {})
        return tuple(held) if isinstance(held, dict) else (held,)

    def _put(self, place: bytes, key: Key) -> None:
        held = self._keys.get(place)
        if held is None:
            self._keys[place] = key
        elif isinstance(held, dict):
            held[key] = None
        else:
            self._keys[place] = {held: None, key: None}


def indexed_by(record: Record) -> tuple[Write, bytes] | None:
    """Return the register of a record's principal, and the place in the index; None: nowhere."""
    write = record.attributes.get(PRINCIPAL)
    login = None if write is None else login_of(record)
    if write is None or login is None:
        return None
    return write, epochs_key(record.key.context, login.name).locator
