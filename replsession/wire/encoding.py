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
    6     Acknowledge    batch, [context, locator …] flat: partial
    7     Accesses       [context, locator, hlc, member, idle ms …] flat
    8     RecordRequest  [context, locator …] flat
    9     RepairOffer    round, digests (256 × 8 bytes in one byte string)
    10    RepairAnswer   round, buckets (one byte each in one byte string)
    11    LeafDigests    round, step, first, [bucket, leaves …] flat; leaves are 9 bytes each in one
                         byte string: the second byte of the locator, the digest
    12    RecordDigests  round, step, next or null, leaves (2 bytes each in one byte string: the
                         first two of the locator), [context, locator, digest …] flat
    13    StateRequest   transfer, bucket
    14    StateRefused   transfer
    15    StateChunk     transfer, number, bucket, item…
    16    StateCredit    transfer, number
    17    StateEnd       transfer, chunks, sent at ms, [member, hlc …] flat
    18    Probe          number
    19    ProbeAnswer    number
    20    Inquiry        member
    21    Testimony      member, heard ms
    22    Neighbours     [member, name, incarnation, host, port …] flat
    23    RepairRequest  round, step, [context, locator …] flat, item…
    24    RepairRecords  round, step, [context, locator …] flat, item…
    25    RecordAnswer   number, [context, locator …] flat: unknown, item…
    27    Urge           –
    28    RecordInquiry  number, [context, locator …] flat
    26    Expirations    [context, locator, hlc, member …] flat

    datagram  Heartbeat  member, host, port

    item, by its first element (see wire/items.py)
    0     delta          context, locator, born hlc, born member, since, hlc, member, age ms,
                         [name, kind, value or null …] flat
    1     tombstone      context, locator, born hlc, born member, destroyed hlc, destroyed member,
                         age ms
    2     whole record   context, locator, age ms, idle ms, asleep ms or null, transfer, number,
                         pieces, content (session/packing.py); asleep: for so long; null: awake
    3     joined delta   as a delta, but [name, hlc, kind, value or null …] flat: several writes of
                         one member, each attribute with the clock value of its own

    kind   0 a value, 1 what one writer has counted (session/counter.py); of both, and of kinds that
           are unknown, the newest write stays
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cbor2

from replsession import messages as m
from replsession.errors import WireError
from replsession.identity import Address, Key
from replsession.session.delta import Delta
from replsession.session.stamp import Stamp
from replsession.wire import items, repairs
from replsession.wire.checks import (
    array,
    below,
    boolean,
    count,
    hlc,
    item_of,
    key_at,
    member_id,
    port,
    rows,
    text,
)
from replsession.wire.framing import frame
from replsession.wire.items import stream_item as stream_item  # part of this module's offer
from replsession.wire.repairs import BUCKETS, flat_keys, read_keys


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


def _expirations(message: m.Expirations) -> Sequence[Any]:
    return ([part for over in message.expirations for part in (*over.key, *over.access)],)


def _read_expirations(body: list[Any]) -> m.Expirations:
    (flat,) = array(body, 1)
    return m.Expirations(
        tuple(
            m.Expiration(key_at(row), Stamp(hlc(row[2]), member_id(row[3])))
            for row in rows(flat, 4)
        )
    )


def _read_state_request(body: list[Any]) -> m.StateRequest:
    transfer, bucket = array(body, 2)
    return m.StateRequest(count(transfer), below(bucket, BUCKETS + 1))


def _state_end(message: m.StateEnd) -> Sequence[Any]:
    flat = [part for pair in message.forgotten.items() for part in pair]
    return (message.transfer, message.chunks, message.sent_at_ms, flat)


def _read_state_end(body: list[Any]) -> m.StateEnd:
    transfer, chunks, sent_at_ms, flat = array(body, 4)
    forgotten = {member_id(row[0]): hlc(row[1]) for row in rows(flat, 2)}
    return m.StateEnd(count(transfer), count(chunks), count(sent_at_ms), forgotten)


def _read_deltas(body: list[Any]) -> m.Deltas:
    return m.Deltas(count(item_of(body, 0)), tuple(map(items.delta_of, body[1:])))


def _read_acknowledge(body: list[Any]) -> m.Acknowledge:
    batch, partial = array(body, 2)
    return m.Acknowledge(count(batch), read_keys(partial))


def _read_record_answer(body: list[Any]) -> m.RecordAnswer:
    number, unknown = count(item_of(body, 0)), read_keys(item_of(body, 1))
    return m.RecordAnswer(number, unknown, tuple(map(items.delta_of, body[2:])))


def _read_record_inquiry(body: list[Any]) -> m.RecordInquiry:
    number, keys = array(body, 2)
    return m.RecordInquiry(count(number), read_keys(keys))


def _read_state_chunk(body: list[Any]) -> m.StateChunk:
    transfer, number, bucket = (count(item_of(body, index)) for index in range(3))
    records = tuple(map(items.delta_of, body[3:]))
    return m.StateChunk(transfer, number, below(bucket, BUCKETS + 1), records)


def _read_testimony(body: list[Any]) -> m.Testimony:
    member, heard_ms = array(body, 2)
    return m.Testimony(member_id(member), count(heard_ms))


def _neighbours(message: m.Neighbours) -> Sequence[Any]:
    flat: list[Any] = []
    for known in message.members:
        flat += (known.member, known.name, known.incarnation, *known.address)
    return (flat,)


def _read_neighbours(body: list[Any]) -> m.Neighbours:
    (flat,) = array(body, 1)
    return m.Neighbours(tuple(_neighbour(*row) for row in rows(flat, 5)))


def _neighbour(member: Any, name: Any, incarnation: Any, host: Any, port_: Any) -> m.Neighbour:
    address = Address(text(host, 256), port(port_))
    return m.Neighbour(member_id(member), text(name, 256), count(incarnation), address)


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
    (6, m.Acknowledge, lambda x: (x.batch, flat_keys(x.partial)), _read_acknowledge),
    (7, m.Accesses, _accesses, _read_accesses),
    (
        8,
        m.RecordRequest,
        lambda x: (flat_keys(x.keys),),
        lambda body: m.RecordRequest(read_keys(*array(body, 1))),
    ),
    (9, m.RepairOffer, repairs.offer, repairs.read_offer),
    (10, m.RepairAnswer, repairs.answer, repairs.read_answer),
    (11, m.LeafDigests, repairs.leaf_digests, repairs.read_leaf_digests),
    (12, m.RecordDigests, repairs.record_digests, repairs.read_record_digests),
    (13, m.StateRequest, lambda x: (x.transfer, x.bucket), _read_state_request),
    (14, m.StateRefused, lambda x: (x.transfer,), _counts(m.StateRefused, 1)),
    (
        15,
        m.StateChunk,
        lambda x: (x.transfer, x.number, x.bucket, *map(items.item, x.records)),
        _read_state_chunk,
    ),
    (16, m.StateCredit, lambda x: (x.transfer, x.number), _counts(m.StateCredit, 2)),
    (17, m.StateEnd, _state_end, _read_state_end),
    (18, m.Probe, lambda x: (x.number,), _counts(m.Probe, 1)),
    (19, m.ProbeAnswer, lambda x: (x.number,), _counts(m.ProbeAnswer, 1)),
    (20, m.Inquiry, lambda x: (x.member,), lambda body: m.Inquiry(member_id(*array(body, 1)))),
    (21, m.Testimony, lambda x: (x.member, x.heard_ms), _read_testimony),
    (22, m.Neighbours, _neighbours, _read_neighbours),
    (23, m.RepairRequest, repairs.request, repairs.read_request),
    (24, m.RepairRecords, repairs.records, repairs.read_records),
    (
        25,
        m.RecordAnswer,
        lambda x: (x.number, flat_keys(x.unknown), *map(items.item, x.records)),
        _read_record_answer,
    ),
    (27, m.Urge, _nothing, _empty(m.Urge)),
    (28, m.RecordInquiry, lambda x: (x.number, flat_keys(x.keys)), _read_record_inquiry),
    (26, m.Expirations, _expirations, _read_expirations),
)
_WRITERS = {message: (kind, write) for kind, message, write, _ in _TABLE}
_READERS = {kind: read for kind, _, _, read in _TABLE}
_DELTAS = _WRITERS[m.Deltas][0]
_STATE_CHUNK = _WRITERS[m.StateChunk][0]
_REPAIR_REQUEST = _WRITERS[m.RepairRequest][0]
_REPAIR_RECORDS = _WRITERS[m.RepairRecords][0]
_RECORD_ANSWER = _WRITERS[m.RecordAnswer][0]
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


def chunk_frame(transfer: int, number: int, bucket: int, encoded: Sequence[bytes]) -> bytes:
    """Return the frame of a :class:`StateChunk` whose items are encoded already."""
    return _frame_of(_STATE_CHUNK, (transfer, number, bucket), encoded)


def request_frame(round_: int, step: int, wanted: Sequence[Key], encoded: Sequence[bytes]) -> bytes:
    """Return the frame of a :class:`RepairRequest` whose items are encoded already."""
    return _frame_of(_REPAIR_REQUEST, (round_, step, flat_keys(wanted)), encoded)


def records_frame(round_: int, step: int, left: Sequence[Key], encoded: Sequence[bytes]) -> bytes:
    """Return the frame of a :class:`RepairRecords` whose items are encoded already."""
    return _frame_of(_REPAIR_RECORDS, (round_, step, flat_keys(left)), encoded)


def _frame_of(kind: int, fields: Sequence[Any], encoded: Sequence[bytes]) -> bytes:
    head = items.array_head(len(fields) + len(encoded))
    return frame(kind, b"".join((head, *map(cbor2.dumps, fields), *encoded)))


def answer_frame(number: int, unknown: tuple[Key, ...], encoded: Sequence[bytes]) -> bytes:
    """Return the frame of a :class:`RecordAnswer` whose items are encoded already."""
    return _frame_of(_RECORD_ANSWER, (number, flat_keys(unknown)), encoded)


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
