"""
Messages as bytes: this table is the specification of wire version 1.

Every body is one CBOR array of definite length, with integers in their shortest form and no
floats, tags or maps, so equal messages are equal bytes. Times are whole milliseconds. ``[x…]`` is
an array of ``x``, written flat where it says so.

::

    kind  message        body
    1     Hello          member, name, incarnation, host, port, ready, alive ms
    2     Status         ready
    3     Goodbye        –
    4     Ping           –
    5     Deltas         batch, item…
    6     Acknowledge    batch
    7     Accesses       [context, locator, hlc, member, idle ms …] flat
    8     RecordRequest  [context, locator …] flat
    9     RepairOffer    round, digests (256 × 8 bytes in one byte string)
    10    RepairAnswer   round, buckets (one byte each in one byte string)
    11    BucketDigests  round, bucket, [context, locator, digest …] flat
    12    BucketAnswer   round, bucket, [context, locator …] flat
    13    StateRequest   transfer
    14    StateRefused   transfer
    15    StateChunk     transfer, number, item…
    16    StateCredit    transfer, number
    17    StateEnd       transfer, chunks, sent at ms, [member, hlc …] flat

    datagram  Heartbeat  member, host, port

    item, by its first element (see wire/items.py)
    0     delta          context, locator, born hlc, born member, since, hlc, member, age ms,
                         [name, kind, value or null …] flat
    1     tombstone      context, locator, born hlc, born member, destroyed hlc, destroyed member,
                         age ms
    2     whole record   context, locator, age ms, idle ms, transfer, number, pieces, content
                         (session/packing.py)
    3     joined delta   as a delta, but [name, hlc, kind, value or null …] flat: several writes of
                         one member, each attribute with the clock value of its own
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any

import cbor2

from replsession import messages as m
from replsession.errors import WireError
from replsession.identity import Address, Key
from replsession.session.delta import Delta
from replsession.session.stamp import Stamp
from replsession.wire import items
from replsession.wire.checks import (
    array,
    boolean,
    count,
    hlc,
    item_of,
    key_at,
    member_id,
    octets,
    port,
    rows,
    text,
)
from replsession.wire.framing import frame
from replsession.wire.items import stream_item as stream_item  # part of this module's offer

BUCKETS = 256
_DIGESTS = Struct(f">{BUCKETS}Q")


def _hello(message: m.Hello) -> Sequence[Any]:
    return (
        message.member,
        message.name,
        message.incarnation,
        *message.address,
        message.ready,
        message.alive_ms,
    )


def _read_hello(body: list[Any]) -> m.Hello:
    member, name, incarnation, host, port_, ready, alive_ms = array(body, 7)
    return m.Hello(
        member_id(member),
        text(name, 256),
        count(incarnation),
        Address(text(host, 256), port(port_)),
        boolean(ready),
        count(alive_ms),
    )


def _accesses(message: m.Accesses) -> Sequence[Any]:
    flat: list[Any] = []
    for access in message.accesses:
        flat += (*access.key, *access.access, items.milliseconds(access.idle_s))
    return (flat,)


def _read_accesses(body: list[Any]) -> m.Accesses:
    (flat,) = array(body, 1)
    return m.Accesses(
        tuple(
            m.Access(key_at(row), Stamp(hlc(row[2]), member_id(row[3])), count(row[4]) / 1000)
            for row in rows(flat, 5)
        )
    )


def _keys(keys: tuple[Key, ...]) -> list[Any]:
    return [part for key in keys for part in key]


def _read_keys(flat: Any) -> tuple[Key, ...]:
    return tuple(key_at(row) for row in rows(flat, 2))


def _bucket_digests(message: m.BucketDigests) -> Sequence[Any]:
    flat = [part for key, digest in message.digests.items() for part in (*key, digest)]
    return (message.round, message.bucket, flat)


def _read_bucket_digests(body: list[Any]) -> m.BucketDigests:
    round_, bucket, flat = array(body, 3)
    digests = {key_at(row): count(row[2]) for row in rows(flat, 3)}
    return m.BucketDigests(count(round_), _bucket(bucket), digests)


def _bucket(value: Any) -> int:
    if count(value) >= BUCKETS:
        raise WireError("no such bucket")
    return count(value)


def _read_repair_offer(body: list[Any]) -> m.RepairOffer:
    round_, digests = array(body, 2)
    return m.RepairOffer(count(round_), _DIGESTS.unpack(octets(digests, exactly=BUCKETS * 8)))


def _read_repair_answer(body: list[Any]) -> m.RepairAnswer:
    round_, buckets = array(body, 2)
    return m.RepairAnswer(count(round_), tuple(octets(buckets, most=BUCKETS)))


def _read_bucket_answer(body: list[Any]) -> m.BucketAnswer:
    round_, bucket, flat = array(body, 3)
    return m.BucketAnswer(count(round_), _bucket(bucket), _read_keys(flat))


def _state_end(message: m.StateEnd) -> Sequence[Any]:
    flat = [part for pair in message.forgotten.items() for part in pair]
    return (message.transfer, message.chunks, message.sent_at_ms, flat)


def _read_state_end(body: list[Any]) -> m.StateEnd:
    transfer, chunks, sent_at_ms, flat = array(body, 4)
    forgotten = {member_id(row[0]): hlc(row[1]) for row in rows(flat, 2)}
    return m.StateEnd(count(transfer), count(chunks), count(sent_at_ms), forgotten)


def _read_deltas(body: list[Any]) -> m.Deltas:
    return m.Deltas(count(item_of(body, 0)), tuple(map(items.delta_of, body[1:])))


def _read_state_chunk(body: list[Any]) -> m.StateChunk:
    transfer, number = count(item_of(body, 0)), count(item_of(body, 1))
    return m.StateChunk(transfer, number, tuple(map(items.delta_of, body[2:])))


def _nothing(message: m.Message) -> Sequence[Any]:
    return ()


def _empty(kind: type[Any]) -> Callable[[list[Any]], m.Message]:
    def read(body: list[Any]) -> m.Message:
        array(body, 0)
        message: m.Message = kind()
        return message

    return read


def _counts(kind: type[Any], length: int) -> Callable[[list[Any]], m.Message]:
    def read(body: list[Any]) -> m.Message:
        message: m.Message = kind(*map(count, array(body, length)))
        return message

    return read


def _read_status(body: list[Any]) -> m.Status:
    return m.Status(boolean(*array(body, 1)))


_Rows = tuple[int, type[Any], Callable[[Any], Sequence[Any]], Callable[[list[Any]], m.Message]]

_TABLE: tuple[_Rows, ...] = (
    (1, m.Hello, _hello, _read_hello),
    (2, m.Status, lambda x: (x.ready,), _read_status),
    (3, m.Goodbye, _nothing, _empty(m.Goodbye)),
    (4, m.Ping, _nothing, _empty(m.Ping)),
    (5, m.Deltas, lambda x: (x.batch, *map(items.item, x.deltas)), _read_deltas),
    (6, m.Acknowledge, lambda x: (x.batch,), _counts(m.Acknowledge, 1)),
    (7, m.Accesses, _accesses, _read_accesses),
    (
        8,
        m.RecordRequest,
        lambda x: (_keys(x.keys),),
        lambda body: m.RecordRequest(_read_keys(*array(body, 1))),
    ),
    (9, m.RepairOffer, lambda x: (x.round, _DIGESTS.pack(*x.digests)), _read_repair_offer),
    (10, m.RepairAnswer, lambda x: (x.round, bytes(x.buckets)), _read_repair_answer),
    (11, m.BucketDigests, _bucket_digests, _read_bucket_digests),
    (
        12,
        m.BucketAnswer,
        lambda x: (x.round, x.bucket, _keys(x.wanted)),
        _read_bucket_answer,
    ),
    (13, m.StateRequest, lambda x: (x.transfer,), _counts(m.StateRequest, 1)),
    (14, m.StateRefused, lambda x: (x.transfer,), _counts(m.StateRefused, 1)),
    (
        15,
        m.StateChunk,
        lambda x: (x.transfer, x.number, *map(items.item, x.records)),
        _read_state_chunk,
    ),
    (16, m.StateCredit, lambda x: (x.transfer, x.number), _counts(m.StateCredit, 2)),
    (17, m.StateEnd, _state_end, _read_state_end),
)
_WRITERS = {message: (kind, write) for kind, message, write, _ in _TABLE}
_READERS = {kind: read for kind, _, _, read in _TABLE}
_DELTAS = _WRITERS[m.Deltas][0]
_STATE_CHUNK = _WRITERS[m.StateChunk][0]
KINDS: dict[int, type[Any]] = {kind: message for kind, message, _, _ in _TABLE}


def encode(message: m.Message) -> bytes:
    """Return the frame of *message*."""
    kind, write = _WRITERS[type(message)]
    return frame(kind, cbor2.dumps(write(message)))


def decode(kind: int, body: bytes) -> m.Message:
    """
    Return the message in a frame.

    Raises:
        WireError: unknown kind, or a body that is not as the table says.
    """
    read = _READERS.get(kind)
    if read is None:
        raise WireError(f"unknown kind of message {kind}")
    return read(items.loaded(body))


def batch_frame(batch: int, encoded: Sequence[bytes]) -> bytes:
    """Return the frame of a :class:`Deltas` whose items are encoded already, once for everybody."""
    body = items.array_head(len(encoded) + 1) + cbor2.dumps(batch) + b"".join(encoded)
    return frame(_DELTAS, body)


def chunk_frame(transfer: int, number: int, encoded: Sequence[bytes]) -> bytes:
    """Return the frame of a :class:`StateChunk` whose items are encoded already."""
    head = items.array_head(len(encoded) + 2) + cbor2.dumps(transfer) + cbor2.dumps(number)
    return frame(_STATE_CHUNK, head + b"".join(encoded))


def encode_heartbeat(heartbeat: m.Heartbeat) -> bytes:
    """Return the payload of a heartbeat's datagram; the channel signs it."""
    return cbor2.dumps((heartbeat.member, *heartbeat.address))


def decode_heartbeat(payload: bytes) -> m.Heartbeat:
    """
    Return the heartbeat in a datagram whose signature was right.

    Raises:
        WireError: it is not as the table says.
    """
    member, host, port_ = array(items.loaded(payload), 3)
    return m.Heartbeat(member_id(member), Address(text(host, 256), port(port_)))


def encode_item(delta: Delta) -> bytes:
    """Return one delta, tombstone or whole record as an item."""
    return cbor2.dumps(items.item(delta))


def decode_item(encoded: bytes) -> Delta:
    """
    Return the delta in an item that stands alone.

    Raises:
        WireError: it is none.
    """
    return items.delta_of(items.loaded(encoded))
