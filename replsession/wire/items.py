"""
Items: deltas, tombstones and whole records as CBOR. The table is in ``wire/encoding.py``.

The values of attributes are byte strings that nobody looks into on the way.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, NoReturn

import cbor2

from replsession.config import VALUE_BYTES_CEILING
from replsession.errors import WireError
from replsession.identity import Key
from replsession.session.delta import Delta, Piece, Write
from replsession.session.packing import content_fields
from replsession.session.stamp import Stamp
from replsession.wire.checks import (
    array,
    boolean,
    count,
    hlc,
    item_of,
    key_at,
    member_id,
    octets,
    rows,
    text,
)

DELTA, TOMBSTONE, RECORD, JOINED = range(4)
NAME_MAX = 1024
KINDS_MAX = 256
DEPTH_MAX = 8
AGE_MS_MAX = 2**53 - 1
"""Greatest age that is sent: what somebody claims must not make our own items refused."""


def loaded(data: bytes) -> list[Any]:
    """
    Return the one CBOR array in *data*.

    Raises:
        WireError: it is not one, or something follows it.
    """
    stream = BytesIO(data)
    try:
        value = cbor2.load(
            stream,
            semantic_decoders=_NO_TAGS,
            max_depth=DEPTH_MAX,
            allow_indefinite=False,
            allow_duplicate_keys=False,
        )
    except Exception as error:
        raise WireError(f"not CBOR: {type(error).__name__}") from error
    if stream.tell() != len(data):
        raise WireError(f"{len(data) - stream.tell()} bytes follow an array")
    if type(value) is not list:
        raise WireError("an array was expected")
    return value


class _NoTags(dict[int, Any]):
    """Asked for the decoder of each tag, the built-in ones included, before it would run."""

    def __missing__(self, tag: int) -> NoReturn:
        raise WireError(f"the tag {tag} was found")


_NO_TAGS = _NoTags()


def array_head(length: int) -> bytes:
    """Return the head of a CBOR array, so that encoded items can be put behind it."""
    if length < 24:
        return bytes((0x80 | length,))
    if length < 1 << 8:
        return bytes((0x98, length))
    if length < 1 << 16:
        return b"\x99" + length.to_bytes(2, "big")
    return b"\x9a" + length.to_bytes(4, "big")


def milliseconds(seconds: float) -> int:
    """
    Return an age for the wire; what is negative by rounding is none.

    Rounded, not cut: 1001 ms read as 1.001 s must be 1001 ms again when it travels on.
    """
    return min(max(0, round(seconds * 1000)), AGE_MS_MAX)


def stream_item(
    key: Key,
    born: Stamp,
    since: int,
    stamp: Stamp,
    age_s: float,
    writes: dict[str, Write],
) -> bytes:
    """Return a stream delta as bytes, straight from what a commit knows: the hot path."""
    flat: list[Any] = []
    for name, write in writes.items():
        flat += (name, write.kind, write.value)
    return cbor2.dumps((DELTA, *key, *born, since, *stamp, milliseconds(age_s), flat))


def item(delta: Delta) -> tuple[Any, ...]:
    """Return a delta as what CBOR is made of."""
    if delta.destroyed is not None:
        age = milliseconds(delta.destroyed_age_s)
        return (TOMBSTONE, *delta.key, *delta.born, *delta.destroyed, age)
    if delta.since is not None:
        return _stream_fields(delta, delta.since)
    return (
        RECORD,
        *delta.key,
        milliseconds(delta.age_s),
        milliseconds(delta.idle_s),
        None if delta.asleep_s is None else milliseconds(delta.asleep_s),
        *(delta.piece or (0, 0, 1)),
        cbor2.dumps(
            content_fields(
                delta.born, delta.access, None, delta.complete, delta.version, delta.attributes
            )
        ),
    )


def _stream_fields(delta: Delta, since: int) -> tuple[Any, ...]:
    writer = delta.writer
    is_joined = any(write.hlc != writer.hlc for write in delta.attributes.values())
    flat: list[Any] = []
    for name, write in delta.attributes.items():
        flat += (name, write.hlc) if is_joined else (name,)
        flat += (write.kind, write.value)
    form = JOINED if is_joined else DELTA
    return (form, *delta.key, *delta.born, since, *writer, milliseconds(delta.age_s), flat)


def delta_of(value: Any) -> Delta:
    """
    Return the delta in one item.

    Raises:
        WireError: it is none.
    """
    form = item_of(value, 0)
    if form in (DELTA, JOINED):
        return _stream_delta(value, is_joined=form == JOINED)
    if form == TOMBSTONE:
        return _tombstone(value)
    if form == RECORD:
        return _whole_record(value)
    raise WireError("an item of an unknown form")


def _value(value: Any) -> bytes | None:
    return None if value is None else octets(value, most=VALUE_BYTES_CEILING)


def _kind(value: Any) -> int:
    if count(value) >= KINDS_MAX:
        raise WireError("a kind of register of 0 to 255 was expected")
    return count(value)


def _stream_delta(value: list[Any], *, is_joined: bool) -> Delta:
    fields = array(value, 10)
    stamp = Stamp(hlc(fields[6]), member_id(fields[7]))
    if is_joined:
        attributes = {
            text(row[0], NAME_MAX): Write(hlc(row[1]), stamp.member, _kind(row[2]), _value(row[3]))
            for row in rows(fields[9], 4)
        }
    else:
        attributes = {
            text(row[0], NAME_MAX): Write(*stamp, _kind(row[1]), _value(row[2]))
            for row in rows(fields[9], 3)
        }
    return Delta(
        key_at(fields[1:3]),
        Stamp(hlc(fields[3]), member_id(fields[4])),
        hlc(fields[5]),
        {stamp.member: stamp.hlc},
        attributes,
        count(fields[8]) / 1000,
        stamp,
        0.0,
    )


def _tombstone(value: list[Any]) -> Delta:
    fields = array(value, 8)
    destroyed = Stamp(hlc(fields[5]), member_id(fields[6]))
    return Delta(
        key_at(fields[1:3]),
        Stamp(hlc(fields[3]), member_id(fields[4])),
        None,
        {},
        {},
        0.0,
        destroyed,
        0.0,
        destroyed=destroyed,
        destroyed_age_s=count(fields[7]) / 1000,
    )


def _whole_record(value: list[Any]) -> Delta:
    fields = array(value, 10)
    piece = Piece(count(fields[6]), count(fields[7]), count(fields[8]))
    if piece.number >= piece.pieces:
        raise WireError("a piece beyond the last one")
    content = array(loaded(octets(fields[9])), 9)
    if content[4] is not None or content[5] is not None:
        raise WireError("an ended session travels as a tombstone")
    attributes = {
        text(row[0], NAME_MAX): Write(hlc(row[1]), member_id(row[2]), _kind(row[3]), _value(row[4]))
        for row in rows(content[8], 5)
    }
    return Delta(
        key_at(fields[1:3]),
        Stamp(hlc(content[0]), member_id(content[1])),
        None,
        {member_id(row[0]): hlc(row[1]) for row in rows(content[7], 2)},
        attributes,
        count(fields[3]) / 1000,
        Stamp(hlc(content[2]), member_id(content[3])),
        count(fields[4]) / 1000,
        boolean(content[6]),
        None if piece.pieces == 1 else piece,
        asleep_s=None if fields[5] is None else count(fields[5]) / 1000,
    )
