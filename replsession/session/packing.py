"""
Packing: a record as one ``bytes``, at rest in the store and as the content of a whole record on
the wire.

At rest sessions are bytes: a full garbage collection visits every object of a process, and a
million sessions made of objects stop it for about a second; bytes are not visited at all.

::

    at rest   offset  size  field
              0       8     counted: what the record adds to its bucket's digest, unsigned
              8       8     created, monotonic seconds, IEEE 754 double
              16      8     accessed, the same
              24      8     accessed_else, the same
              32      8     access_sent, the same
              40      8     ended_at, the same
              48      8     look_at: a sweep need not look at the record before; the same
              56      1     1 if asleep, plus 2 if released, plus 4 if unshared
              57      …     content

    content   one CBOR array: born hlc, born member, access hlc, access member,
              destroyed hlc or null, destroyed member or null, complete,
              [member, hlc, …] the version,
              [name, hlc, member, kind, value or null, …] the attributes

Times of the local clock stand outside the content, so that the content can travel as it is.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

import cbor2

from replsession.identity import Key, MemberId
from replsession.session.delta import Write
from replsession.session.principals import indexed_by
from replsession.session.record import Record
from replsession.session.stamp import Stamp

_HEAD = Struct(">QddddddB")
_LOOK_AT = Struct(">d")
HEAD_BYTES = _HEAD.size
_LONG, _MEMBER, _NULL = 0x1B, 0x48, 0xF6
"""First bytes in CBOR of a clock value, of a member's id, and of null (RFC 8949)."""


def content_fields(
    born: Stamp,
    access: Stamp,
    destroyed: Stamp | None,
    complete: bool,
    version: dict[MemberId, int],
    attributes: dict[str, Write],
) -> tuple[Any, ...]:
    """Return the content as what CBOR is made of; equal records give equal bytes."""
    flat_version: list[Any] = []
    for member in sorted(version):
        flat_version += (member, version[member])
    return (
        *born,
        *access,
        *(destroyed or (None, None)),
        complete,
        flat_version,
        flattened(attributes),
    )


def content_of(record: Record) -> bytes:
    """Return the content of *record* as one CBOR item."""
    return cbor2.dumps(
        content_fields(
            record.born,
            record.access,
            record.destroyed,
            record.complete,
            record.version,
            record.attributes,
        )
    )


def flattened(attributes: dict[str, Write]) -> list[Any]:
    """Return the attributes as one flat list, in the order of their names."""
    flat: list[Any] = []
    for name in sorted(attributes):
        flat.append(name)
        flat += attributes[name]
    return flat


def pack(record: Record, look_at: float) -> bytes:
    """Return *record* as bytes, its local times included; *look_at* is kept for sweeps."""
    head = _HEAD.pack(
        record.counted,
        record.created,
        record.accessed,
        record.accessed_else,
        record.access_sent,
        record.ended_at,
        look_at,
        record.asleep + 2 * record.released + 4 * record.unshared,
    )
    return head + content_of(record)


def unpack(key: Key, packed: bytes) -> Record:
    """Return the record that :func:`pack` packed; the key is kept by whoever keeps the bytes."""
    head: tuple[int, float, float, float, float, float, float, int] = _HEAD.unpack_from(packed)
    counted, created, accessed, accessed_else, access_sent, ended_at, _, flags = head
    fields = cbor2.loads(packed[HEAD_BYTES:])
    born = Stamp(fields[0], fields[1])
    record = Record(key, born, created, Stamp(fields[2], fields[3]), accessed)
    if fields[4] is not None:
        record.destroyed = Stamp(fields[4], fields[5])
    record.complete = fields[6]
    record.version = paired(fields[7])
    record.attributes = grouped(fields[8])
    record.counted = counted
    record.accessed_else = accessed_else
    record.access_sent = access_sent
    record.ended_at = ended_at
    record.asleep = bool(flags & 1)
    record.released = bool(flags & 2)
    record.unshared = bool(flags & 4)
    # What is packed was indexed by what it says.
    record.indexed = indexed_by(record)
    return record


def counted_in(packed: bytes) -> int:
    """Return what a packed record adds to its bucket's digest, without unpacking it."""
    return int.from_bytes(packed[:8], "big")


def is_asleep_in(packed: bytes) -> bool:
    """Tell whether a packed record sleeps."""
    return bool(packed[HEAD_BYTES - 1] & 1)


def is_ended_in(packed: bytes) -> bool:
    """Tell whether a packed record is that of a session that was ended."""
    # Where born and access stand in their usual lengths, what follows them is at a known place.
    at = HEAD_BYTES + 1
    if packed[at] == packed[at + 18] == _LONG and packed[at + 9] == packed[at + 27] == _MEMBER:
        return packed[at + 36] != _NULL
    return cbor2.loads(packed[HEAD_BYTES:])[4] is not None


def look_at_in(packed: bytes) -> float:
    """Return the time before which a sweep need not look at a packed record."""
    return _LOOK_AT.unpack_from(packed, 48)[0]  # type: ignore[no-any-return]


def paired(flat: list[Any]) -> dict[MemberId, int]:
    """Return ``[member, hlc, …]`` as a dict."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def grouped(flat: list[Any]) -> dict[str, Write]:
    """Return ``[name, hlc, member, kind, value, …]`` as a dict of writes."""
    return {flat[index]: Write(*flat[index + 1 : index + 5]) for index in range(0, len(flat), 5)}
