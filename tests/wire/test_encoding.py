"""Messages as bytes: each comes back as it was, and nothing else is one."""

from __future__ import annotations

import dataclasses
from dataclasses import fields
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replsession import messages as m
from replsession.errors import WireError
from replsession.identity import Address
from replsession.session.delta import Delta
from replsession.session.stamp import HLC_MAX
from replsession.wire.encoding import (
    KINDS,
    answer_frame,
    batch_frame,
    chunk_frame,
    decode,
    decode_heartbeat,
    encode,
    encode_heartbeat,
    encode_item,
    records_frame,
    request_frame,
)
from replsession.wire.framing import HEAD, FrameReader, frame
from replsession.wire.repairs import BUCKETS
from tests.strategies import KEY, MEMBERS, deltas, heartbeats, messages, messages_by_kind

A, B, _ = MEMBERS
BOUND = 2**24
kinds = st.integers(0, 30)
items = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**65)
    | st.floats()
    | st.binary(max_size=13)
    | st.text(max_size=5)
    | st.sampled_from([A, KEY.locator, KEY.context]),
    lambda inner: st.lists(inner, max_size=10) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=25,
)


def shortened(value: object) -> str:
    """Return a name for a test's parameter."""
    return repr(value)[:40]


def sent_and_read(encoded: bytes) -> m.Message:
    """Return the one message in a frame."""
    ((kind, body),) = FrameReader(BOUND).feed(encoded)
    return decode(kind, body)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_message_of_each_kind_comes_back_as_it_was(kind: int) -> None:
    @given(messages_by_kind[KINDS[kind]])
    @settings(max_examples=40)
    def check(message: m.Message) -> None:
        encoded = encode(message)
        assert sent_and_read(encoded) == message
        assert encode(sent_and_read(encoded)) == encoded
        assert encoded[5] == kind

    check()


@given(messages)
def test_a_body_is_canonical_cbor_without_floats_tags_and_maps(message: m.Message) -> None:
    body = encode(message)[HEAD.size :]
    value = cbor2.loads(body)

    assert cbor2.dumps(value, canonical=True) == body
    assert isinstance(value, list)
    pending: list[Any] = [value]
    while pending:
        part = pending.pop()
        assert isinstance(part, list | int | bytes | str | None)
        pending += part if isinstance(part, list) else []


def types_in(value: Any) -> Any:
    """Return the types of a value and of everything in it; a named tuple equals a plain one."""
    if dataclasses.is_dataclass(value):
        return type(value), [types_in(getattr(value, part.name)) for part in fields(value)]
    if isinstance(value, dict):
        return dict, [(types_in(key), types_in(value[key])) for key in sorted(value)]
    if isinstance(value, tuple):
        return type(value), [types_in(part) for part in value]
    return type(value)


@given(messages)
def test_what_came_back_has_the_types_that_were_sent(message: m.Message) -> None:
    assert types_in(sent_and_read(encode(message))) == types_in(message)


@given(heartbeats)
def test_a_heartbeat_comes_back_as_it_was(heartbeat: m.Heartbeat) -> None:
    assert decode_heartbeat(encode_heartbeat(heartbeat)) == heartbeat


@given(st.integers(0, 2**64 - 1), st.lists(deltas, max_size=40))
@settings(max_examples=40)
def test_items_encoded_before_make_the_same_frame(number: int, sent: list[Delta]) -> None:
    encoded = [encode_item(delta) for delta in sent]

    assert batch_frame(number, encoded) == encode(m.Deltas(number, tuple(sent)))
    chunk = m.StateChunk(3, number, 256, tuple(sent))
    assert chunk_frame(3, number, 256, encoded) == encode(chunk)
    wanted = (KEY, KEY)
    request = m.RepairRequest(3, number, wanted, tuple(sent))
    assert request_frame(3, number, wanted, encoded) == encode(request)
    records = m.RepairRecords(number, 4, (), tuple(sent))
    assert records_frame(number, 4, (), encoded) == encode(records)
    for unknown in ((KEY,), ()):
        answer = m.RecordAnswer(number, unknown, tuple(sent))
        assert answer_frame(number, unknown, encoded) == encode(answer)


@pytest.mark.parametrize("kind", [0, 99, 255])
def test_an_unknown_kind_is_refused(kind: int) -> None:
    with pytest.raises(WireError, match=f"unknown kind of message {kind}"):
        decode(kind, b"\x80")


HELLO: list[Any] = [A, "a", 1, "h", 4000, True, 0]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (1, HELLO[:-1]),
        (1, [*HELLO, 0]),
        (1, [b"short", *HELLO[1:]]),
        (1, [A, "x" * 257, *HELLO[2:]]),
        (1, [A, "a", -1, *HELLO[3:]]),
        (1, [A, "a", 1, "x" * 257, *HELLO[4:]]),
        (1, [*HELLO[:4], 0, True, 0]),
        (1, [*HELLO[:4], 65536, True, 0]),
        (1, [*HELLO[:5], 1, 0]),
        (1, [*HELLO[:6], 2**64]),
        (2, []),
        (2, [1]),
        (3, [0]),
        (4, [None]),
        (5, []),
        (5, [-1]),
        (5, [1, []]),
        (5, [1, 2]),
        (6, []),
        (6, [1]),
        (6, [True, []]),
        (6, [1, 2]),
        (6, [1, [*KEY, "/"]]),
        (6, [1, [], []]),
        (7, [[*KEY, 1, A]]),
        (7, [[*KEY, HLC_MAX, A, 0]]),
        (7, [[*KEY, 1, A, -1]]),
        (7, [[*KEY, 1, A, 0.5]]),
        (8, [["/"]]),
        (8, [["/", b"short"]]),
        (13, []),
        (13, [1]),
        (13, [1, BUCKETS + 1]),
        (14, [-1]),
        (15, [1]),
        (15, [1, 2]),
        (15, [1, 2, BUCKETS + 1]),
        (15, [1, 2, 3, 4]),
        (16, [1]),
        (17, [1, 2, 3, [A]]),
        (17, [1, 2, 3, [A, HLC_MAX]]),
        (17, [1, 2, -3, []]),
        (25, []),
        (25, [1]),
        (25, [[*KEY, "/"]]),
        (25, [[], []]),
        (25, [[], 1]),
        (27, [0]),
        (28, []),
        (28, [["/"]]),
        (28, [["/", b"short"]]),
        (28, [[*KEY], 1]),
        (26, [[*KEY, 1]]),
        (26, [[*KEY, HLC_MAX, A]]),
        (26, [[*KEY, 1, b"short"]]),
        (26, [[], []]),
    ],
    ids=shortened,
)
def test_a_body_that_is_not_as_the_table_says_is_refused(kind: int, body: list[Any]) -> None:
    with pytest.raises(WireError):
        decode(kind, cbor2.dumps(body))


@given(messages, st.data())
def test_a_body_with_something_behind_it_is_refused(
    message: m.Message, data: st.DataObject
) -> None:
    ((kind, body),) = FrameReader(BOUND).feed(encode(message))

    with pytest.raises(WireError):
        decode(kind, body + data.draw(st.binary(min_size=1, max_size=9)))
    with pytest.raises(WireError):
        decode(kind, body[: data.draw(st.integers(0, len(body) - 1))])


@given(kinds, st.binary(max_size=300))
@settings(max_examples=200)
def test_any_bytes_are_a_message_or_a_wire_error(kind: int, body: bytes) -> None:
    try:
        message = decode(kind, body)
    except WireError:
        return
    assert type(decode(kind, encode(message)[HEAD.size :])) is type(message) is KINDS[kind]


@given(kinds, items)
@settings(max_examples=150)
def test_any_cbor_is_a_message_or_a_wire_error(kind: int, value: Any) -> None:
    try:
        message = decode(kind, cbor2.dumps(value))
    except WireError:
        return
    assert type(message) is KINDS[kind]


@given(messages, st.data())
@settings(max_examples=120)
def test_a_changed_message_is_a_message_or_a_wire_error(
    message: m.Message, data: st.DataObject
) -> None:
    ((kind, body),) = FrameReader(BOUND).feed(encode(message))
    value = cbor2.loads(body)
    place = value
    while place and isinstance(inner := place[data.draw(st.integers(0, len(place) - 1))], list):
        place = inner
    if place:
        place[data.draw(st.integers(0, len(place) - 1))] = data.draw(items)
    try:
        decode(kind, cbor2.dumps(value))
    except WireError as error:
        assert str(error)


@given(st.binary(max_size=100) | items.map(cbor2.dumps))
def test_any_datagram_is_a_heartbeat_or_a_wire_error(payload: bytes) -> None:
    try:
        heartbeat = decode_heartbeat(payload)
    except WireError:
        return
    assert decode_heartbeat(encode_heartbeat(heartbeat)) == heartbeat


@pytest.mark.parametrize(
    "body",
    [
        [A, "h"],
        [A, "h", 0],
        [A, "h", 65536],
        [b"", "h", 4000],
        [A, b"h", 4000],
        [A, "h" * 257, 4000],
        [A, "h", 4000, 1],
    ],
    ids=shortened,
)
def test_a_heartbeat_that_is_not_as_the_table_says_is_refused(body: list[Any]) -> None:
    with pytest.raises(WireError):
        decode_heartbeat(cbor2.dumps(body))


def test_a_heartbeat_fits_into_one_datagram() -> None:
    assert len(encode_heartbeat(m.Heartbeat(A, Address("h" * 256, 65535)))) < 512


def test_frames_of_messages_follow_one_another() -> None:
    stream = encode(m.Ping()) + encode(m.Acknowledge(7)) + frame(3, b"\x80")

    assert [decode(*found) for found in FrameReader(BOUND).feed(stream)] == [
        m.Ping(),
        m.Acknowledge(7),
        m.Goodbye(),
    ]
