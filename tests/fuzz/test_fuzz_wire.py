"""
Anything may come over a link: it is an event and a closed link, or it is taken; never an exception.

And what was taken can be kept, swept, and sent on to others without harm to them.
"""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from operator import xor
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replsession.config import Limits
from replsession.events import LinkRefused, StateReceived
from replsession.messages import Acknowledge, Goodbye, StateChunk
from replsession.session.record import INTERVAL
from replsession.wire.encoding import encode
from replsession.wire.framing import HEAD, frame
from tests.harness import Hand, Network, some_key
from tests.strategies import KEY, MEMBERS, messages, whole_records

OURS = some_key(200)

items = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2**64)
    | st.floats()
    | st.binary(max_size=13)
    | st.text(max_size=4)
    | st.sampled_from([MEMBERS[0], KEY.locator, KEY.context, INTERVAL]),
    lambda inner: st.lists(inner, max_size=10) | st.dictionaries(st.integers(0, 3), inner),
    max_leaves=20,
)
bodies = st.binary(max_size=60) | items.map(cbor2.dumps) | st.lists(items).map(cbor2.dumps)
frames = st.builds(frame, st.integers(0, 26), bodies)
written = messages.map(encode)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A message with one byte changed, or cut off, or doubled."""
    data = bytearray(draw(written))
    at = draw(st.integers(0, len(data) - 1))
    match draw(st.integers(0, 2)):
        case 0:
            data[at] = draw(st.integers(0, 255))
        case 1:
            del data[at:]
        case _:
            data[at:at] = data[at : at + draw(st.integers(1, 20))]
    return bytes(data)


inputs = st.lists(st.one_of(st.binary(max_size=80), frames, damaged(), written), max_size=6)


def facing(*, ready: bool, said_hello: bool) -> tuple[Network, Hand]:
    """A member with one session of its own, and the test's end."""
    network = Network()
    limits = Limits(
        warm_records_max=2, frame_bytes_max=100_000, value_bytes_max=10_000, chunk_bytes=10_000
    )
    network.add(1, limits=limits)
    if ready:
        network.run(1.0)
    network.commit("m1", OURS, {"x": b"\x01"}, birth=True)
    hand = network.by_hand("m1", 9)
    if said_hello:
        hand.hello()
    return network, hand


def is_sound(network: Network, hand: Hand, said: int) -> None:
    """Check that the link is open, or closed with a reason, and that all else goes on."""
    node = network.nodes["m1"]
    refused = network.told("m1", LinkRefused)
    assert len(refused) == node.metrics.links_refused <= 1
    assert all(hand.closed == event.reason for event in refused)
    assert len(node.membership.links) == (hand.closed is None)
    assert network.values("m1", OURS) == {"x": b"\x01"}
    assert len(node.store) <= 1 + said
    digests = node.store.digests(network.now)
    for bucket, digest in enumerate(digests):
        assert reduce(xor, node.store.counted(bucket, network.now).values(), 0) == digest


@given(inputs, st.booleans(), st.booleans(), st.lists(st.integers(0, 500), max_size=4))
@settings(max_examples=100)
def test_any_bytes_close_the_link_or_are_taken(
    parts: list[bytes], ready: bool, said_hello: bool, cuts: list[int]
) -> None:
    network, hand = facing(ready=ready, said_hello=said_hello)
    stream = b"".join(parts)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in pairwise(places):
        hand.send_bytes(stream[start:end])
        is_sound(network, hand, said=len(stream))
    network.run(2.0)
    is_sound(network, hand, said=len(stream))

    other = network.by_hand("m1", 8)
    other.hello()
    other.send_deltas()
    network.run(0.1)
    assert [found.batch for found in other.got(Acknowledge)] == [1]


@given(st.lists(messages, max_size=6), st.booleans())
@settings(max_examples=100)
def test_what_was_taken_can_be_kept_and_sent_on(sent: list[Any], ready: bool) -> None:
    network, hand = facing(ready=ready, said_hello=True)
    for message in sent:
        if not isinstance(message, Goodbye):
            hand.send(message)
    node = network.nodes["m1"]
    for bucket in range(256):
        node.store.sweep(bucket, network.now + 3600, network.now)
    for record in list(node.store.records()):
        node.open(record.key, network.now + 3600)
    hand.close()
    network.run(2.0)
    joiner = network.add(2)
    network.run(3.0)

    assert joiner.is_ready
    assert joiner.metrics.links_refused == 0
    assert network.dials_refused.count(joiner.me.address) == 0
    assert network.values("m2", OURS) == {"x": b"\x01"}


@given(st.binary(max_size=10), st.binary(max_size=10) | items.map(cbor2.dumps))
@settings(max_examples=60)
def test_limits_that_another_member_made_up_hurt_nobody(name: bytes, value: bytes) -> None:
    network, hand = facing(ready=True, said_hello=True)
    content = [
        5,
        MEMBERS[1],
        5,
        MEMBERS[1],
        None,
        None,
        True,
        [],
        [INTERVAL, 5, MEMBERS[1], 0, value],
    ]
    item = [2, "/shop", name.ljust(12, b"."), 0, 0, None, 0, 0, 1, cbor2.dumps(content)]
    hand.send_bytes(frame(5, cbor2.dumps([1, item])))
    node = network.nodes["m1"]
    for bucket in range(256):
        node.store.sweep(bucket, network.now, network.now)

    # By such limits it may be over already.
    assert len(node.store) + node.metrics.records_refused == 2
    is_sound(network, hand, said=2)


@given(st.lists(st.binary(max_size=100) | items.map(cbor2.dumps), max_size=20))
@settings(max_examples=60)
def test_any_datagrams_are_hints_or_nothing(payloads: list[bytes]) -> None:
    network, _ = facing(ready=True, said_hello=False)
    for payload in payloads:
        network.input("m1", lambda node, now, data=payload: node.datagram_received(data, "", now))  # type: ignore[misc]
    network.run(1.0)

    assert len(network.nodes["m1"].membership.candidates) <= len(payloads)
    assert network.values("m1", OURS) == {"x": b"\x01"}


@pytest.mark.parametrize("count", [1, 50])
def test_what_never_becomes_a_frame_is_not_kept_without_end(count: int) -> None:
    network, hand = facing(ready=True, said_hello=True)
    hand.send_bytes(HEAD.pack(100_000, 1, 5))
    for _ in range(count):
        hand.send_bytes(bytes(1990))
    assert hand.closed is None

    hand.send_bytes(bytes(100_000 - 2 - count * 1990))
    assert hand.closed is not None
    assert len(network.told("m1", LinkRefused)) == 1


@given(st.lists(whole_records, max_size=5), st.integers(0, 3))
@settings(max_examples=60)
def test_a_donor_that_makes_things_up_gives_what_it_gives(records: list[Any], number: int) -> None:
    network, hand = facing(ready=False, said_hello=True)
    hand.send(StateChunk(number, number, number, tuple(records)))
    hand.send(StateChunk(number, number, number, tuple(records)))
    is_sound(network, hand, said=len(records))
    network.run(1.0)

    assert hand.closed is None
    assert network.told("m1", StateReceived) == []
