"""One node, against ends that the test plays by hand: what it takes, refuses, and tells."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from replsession.config import Limits, NodeConfig, Timing
from replsession.errors import WireError
from replsession.events import (
    BecameReady,
    LinkRefused,
    MemberJoined,
    MemberLeft,
)
from replsession.identity import Address
from replsession.membership.membership import Dial
from replsession.messages import (
    Acknowledge,
    Deltas,
    Goodbye,
    Hello,
    Inquiry,
    Message,
    Neighbours,
    Ping,
    Probe,
    ProbeAnswer,
    RepairOffer,
    Status,
)
from replsession.node import Node
from replsession.session.change import Change
from replsession.session.delta import REGISTER, Delta, Write
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.record import INTERVAL, SECRET, Record
from replsession.session.stamp import Stamp
from replsession.wire.encoding import encode, encode_heartbeat
from replsession.wire.framing import HEAD
from tests.harness import (
    HOST,
    WALL_OFFSET_S,
    Hand,
    Network,
    heartbeat_of,
    of_kind,
    some_id,
    some_key,
    some_member,
)

KEY = some_key(1)
HASH, NEXT_HASH = b"h" * 16, b"n" * 16
TEN_SECONDS = {INTERVAL: encoded_limits(SessionLimits(10, None))}


def cluster(*numbers: int, limits: Limits | None = None, timing: Timing | None = None) -> Network:
    """Members that have found each other and are ready."""
    network = Network()
    for number in numbers:
        network.add(number, limits=limits, timing=timing)
    network.run(2.0)
    assert all(node.is_ready for node in network.nodes.values())
    return network


def facing(*, said_hello: bool = True, **bounds: int) -> tuple[Network, Hand]:
    """A ready member, and the test's end as member 9."""
    network = Network()
    network.add(1, limits=Limits(**bounds))
    network.run(1.0)
    hand = network.by_hand("m1", 9)
    if said_hello:
        hand.hello()
    return network, hand


def birth_of(number: int) -> Delta:
    """The birth of a session on member 9."""
    born = Stamp(5 << 16, some_id(9))
    written = {"x": Write(*born, REGISTER, b"\x01")}
    return Delta(some_key(number), born, 0, {born.member: born.hlc}, written, 0.0, born, 0.0)


def refusals(network: Network, name: str = "m1") -> list[str]:
    """Return why links were closed, in the order of the events."""
    return [event.reason for event in network.told(name, LinkRefused)]


def opened(
    network: Network, name: str, secret_hash: bytes | None = None
) -> dict[str, bytes] | None:
    """Open the session for a request; return its values."""
    found: list[dict[str, bytes] | None] = []

    def request(node: Node, now: float) -> None:
        record = node.open(KEY, now, secret_hash)
        found.append(record.values() if isinstance(record, Record) else None)

    network.input(name, request)
    return found[0]


def test_a_ready_member_says_so_with_every_sign_of_life() -> None:
    _, hand = facing()
    hand.live(3.0)

    assert len(of_kind(Status, hand.received)) >= 5
    assert hand.closed is None


def test_a_member_alone_is_ready_at_once_and_says_nothing() -> None:
    network = Network()
    node = network.add(1, alone=True)
    assert node.is_ready
    network.commit("m1", KEY, {**TEN_SECONDS, "x": b"\x01"}, birth=True)
    network.run(9.0)
    assert opened(network, "m1") == {"x": b"\x01"}
    network.run(30.0)

    assert opened(network, "m1") is None
    assert len(node.store) == 0
    assert network.datagrams == 0
    assert network.sent["m1"] == []
    assert [type(event) for event in network.events["m1"]] == [BecameReady]


def test_the_first_message_both_ways_is_hello() -> None:
    network, hand = facing(said_hello=False)

    assert hand.received == [
        Hello(some_id(1), "m1", 1, Address(HOST, 4001), ready=True, alive_ms=1000)
    ]
    assert len(network.nodes["m1"].membership.view) == 0
    hand.hello()
    assert [member.id for member in network.nodes["m1"].membership.view] == [some_id(9)]


@pytest.mark.parametrize(
    "message",
    [
        *(Ping(), Status(True), Goodbye(), Deltas(1, ()), Acknowledge(1)),
        *(RepairOffer(1, (0,) * 256), Probe(1), Inquiry(some_id(1)), Neighbours(())),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_before_hello_closes_the_link(message: Message) -> None:
    network, hand = facing(said_hello=False)
    hand.send(message)

    assert refusals(network) == [f"{type(message).__name__} before HELLO"]
    assert hand.closed == refusals(network)[0]
    assert network.told("m1", MemberJoined) == []


def test_a_certificate_that_names_another_member_closes_the_link() -> None:
    network, _ = facing(said_hello=False)
    hand = network.by_hand("m1", 8, certified=some_id(7))
    hand.hello()

    assert refusals(network) == ["the certificate names another member"]
    assert hand.closed == refusals(network)[0]
    assert len(network.nodes["m1"].membership.view) == 0


def test_our_own_id_closes_the_link() -> None:
    network, _ = facing(said_hello=False)
    hand = network.by_hand("m1", 1)
    hand.hello()

    assert refusals(network) == ["this is our own receiver"]
    assert hand.closed == refusals(network)[0]


def test_a_second_hello_closes_the_link() -> None:
    network, hand = facing()
    hand.hello()

    assert refusals(network) == ["a second HELLO"]
    assert [event.member.id for event in network.told("m1", MemberLeft)] == [some_id(9)]


@pytest.mark.parametrize("said_hello", [True, False])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (HEAD.pack(2, 2, 4), "wire version 2; this member speaks 1"),
        (HEAD.pack(2**22 + 1, 1, 4), "a frame of 4194305 bytes"),
        (HEAD.pack(0, 1, 4), "a frame of 0 bytes"),
        (HEAD.pack(3, 1, 99) + b"\x80", "unknown kind of message 99"),
        (HEAD.pack(3, 1, 4) + b"\xff", "not CBOR"),
        (HEAD.pack(3, 1, 2) + b"\x80", "an array of 1 was expected"),
        (b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n", "a frame of"),
    ],
)
def test_what_does_not_follow_the_format_closes_the_link(
    data: bytes, reason: str, said_hello: bool
) -> None:
    network, hand = facing(said_hello=said_hello)
    node = network.nodes["m1"]
    hand.send_bytes(data)

    (told,) = refusals(network)
    assert told.startswith(reason)
    assert hand.closed == told
    assert node.metrics.links_refused == 1
    assert [event.reason for event in network.told("m1", MemberLeft)] == [told] * said_hello
    assert list(node.membership.links) == []


def test_nothing_of_a_link_that_was_closed_is_heard() -> None:
    network, hand = facing()
    hand.send_bytes(HEAD.pack(3, 1, 99) + b"\x80" + encode(Deltas(1, (birth_of(1),))))
    hand.send(Deltas(2, (birth_of(2),)), Ping())
    hand.send_bytes(b"\xff" * 100)

    assert len(network.nodes["m1"].store) == 0
    assert len(refusals(network)) == 1


def test_what_came_before_a_bad_frame_counts() -> None:
    network, hand = facing()
    hand.send(Deltas(1, (birth_of(1),)))
    hand.send_bytes(HEAD.pack(3, 1, 99) + b"\x80")

    assert network.values("m1", some_key(1)) == {"x": b"\x01"}


def test_a_long_frame_is_refused_by_its_head() -> None:
    network, hand = facing(
        frame_bytes_max=6000, chunk_bytes=100, value_bytes_max=1000, piece_bytes=1000
    )
    hand.send_bytes(HEAD.pack(6001, 1, 5))

    assert refusals(network) == ["a frame of 6001 bytes; at most 6000"]


def test_the_trouble_of_one_link_is_not_that_of_another() -> None:
    network, hand = facing()
    other = network.by_hand("m1", 8)
    other.hello()
    hand.send_bytes(b"\xff" * 100)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)

    assert [delta.key for delta in other.deltas()] == [KEY]
    assert other.closed is None


def test_goodbye_ends_what_follows_it() -> None:
    network, hand = facing()
    hand.send(Goodbye(), Deltas(1, (birth_of(1),)))

    assert len(network.nodes["m1"].store) == 0
    assert hand.closed == "said goodbye"
    assert refusals(network) == []


def test_a_link_without_hello_is_closed_in_time() -> None:
    network, hand = facing(said_hello=False)
    network.run(2.9)
    assert hand.closed is None
    network.run(0.2)

    assert hand.closed == "no HELLO"
    assert refusals(network) == []


def test_links_beyond_the_bound_get_no_hello() -> None:
    network, _ = facing(said_hello=False, links_max=2)
    network.by_hand("m1", 8)
    third = network.by_hand("m1", 7)

    assert third.received == []
    assert third.closed == "too many links"
    third.hello()
    assert len(network.nodes["m1"].membership.view) == 0


@pytest.mark.parametrize(
    ("payload", "source", "refused"),
    [
        (encode_heartbeat(heartbeat_of(7)), HOST, 0),
        (encode_heartbeat(heartbeat_of(7)), "10.0.0.1", 1),
        (b"", HOST, 1),
        (b"\xff" * 1500, HOST, 1),
        (encode_heartbeat(heartbeat_of(7))[:-1], HOST, 1),
    ],
    ids=["right", "names another host", "empty", "noise", "cut off"],
)
def test_a_datagram_is_a_hint_or_nothing(payload: bytes, source: str, refused: int) -> None:
    network = cluster(1)
    network.input("m1", lambda node, now: node.datagram_received(payload, source, now))

    assert network.nodes["m1"].metrics.datagrams_refused == refused
    assert network.dials_refused == [some_member(7).address] * (1 - refused)
    assert network.sent["m1"] == []


def test_a_heartbeat_leaves_twice_a_second_with_the_address() -> None:
    network = cluster(1)
    before = network.datagrams
    network.run(10.0)

    assert network.datagrams - before == 20
    assert network.nodes["m1"].membership.candidates == {}


def test_what_is_ready_is_told_once() -> None:
    network, _ = facing()
    network.nodes["m1"].commit(Change(KEY, {"x": b"\x01"}, birth=True), network.now)
    first, second = network.nodes["m1"].ready(), network.nodes["m1"].ready()

    assert len(first.frames) == 1
    assert (second.frames, second.datagrams, second.links, second.events) == ([], [], [], [])


def test_the_node_wants_to_be_woken_in_time() -> None:
    network = cluster(1, 2)
    node = network.nodes["m1"]

    assert network.now < node.ready().wake_at <= network.now + 0.5


def test_a_receiver_that_is_bound_later_is_announced_under_its_address() -> None:
    network = Network()
    node = network.add(1)
    network.run(5.0)
    address = Address(HOST, 4077)
    network.input("m1", lambda node, now: node.listening("shop-1", address, now))
    hand = network.by_hand("m1", 9)

    assert (hand.got(Hello)[0].name, hand.got(Hello)[0].address) == ("shop-1", address)
    assert hand.got(Hello)[0].alive_ms == 0
    assert node.me.id == some_id(1)


def test_a_later_start_in_the_same_process_takes_the_sessions_over() -> None:
    network = cluster(1)
    network.commit("m1", KEY, {SECRET: HASH, "x": b"\x01"}, birth=True)
    network.commit("m1", some_key(2), {"x": b"\x01"}, birth=True)
    network.destroy("m1", some_key(2))
    network.nodes["m1"].store.forget({some_id(3): 7})
    later = Node(NodeConfig(), some_member(2), Random(2), network.now, WALL_OFFSET_S - network.now)
    later.adopt(network.nodes["m1"], network.now)

    record = later.open(KEY, network.now, HASH)
    assert isinstance(record, Record) and record.values() == {"x": b"\x01"}
    assert later.open(some_key(2), network.now) is None
    assert later.store.forgotten == {some_id(3): 7}
    again = later.commit(Change(KEY, {"x": b"\x02"}), network.now)
    assert again is not None and again.values() == {"x": b"\x02"}


def test_an_error_of_the_wire_never_leaves_the_node() -> None:
    network, hand = facing()
    node = network.nodes["m1"]
    try:
        node.bytes_received(hand.link, b"\x00" * 6, network.now)
        node.bytes_received(hand.link, b"\x00" * 6, network.now)
        node.bytes_received(12345, b"\x00" * 6, network.now)
    except WireError:
        pytest.fail("it did")
    assert node.metrics.links_refused == 1


def test_a_probe_is_answered_by_the_node() -> None:
    _, hand = facing()
    hand.send(Probe(41), Probe(42))

    assert hand.got(ProbeAnswer) == [ProbeAnswer(41), ProbeAnswer(42)]


def test_a_silent_end_is_asked_and_then_given_up() -> None:
    network, hand = facing()
    hand.is_hung = True
    network.run(3.1)
    assert len(hand.got(Probe)) == 1
    assert network.told("m1", MemberLeft) == []
    network.run(1.0)

    assert hand.closed == "silent for 4.0 s"
    assert [event.reason for event in network.told("m1", MemberLeft)] == ["silent for 4.0 s"]
    assert network.nodes["m1"].metrics.members_suspected == 1


def test_an_answer_to_the_probe_is_enough() -> None:
    network, hand = facing()
    hand.is_hung = True
    for _ in range(5):
        network.run(3.9)
        hand.send(ProbeAnswer(hand.got(Probe)[-1].number))

    assert hand.closed is None
    assert network.told("m1", MemberLeft) == []


def test_a_request_that_comes_before_the_late_timer_does_not_hide_that_we_were_stopped() -> None:
    network, hand = facing()
    hand.is_hung = True
    hand.live(2.0)
    network.now += 60.0
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.run(2.5)
    assert hand.got(Probe) == []
    assert network.told("m1", MemberLeft) == []

    network.run(1.0)
    assert len(hand.got(Probe)) == 1


def test_a_new_start_on_the_same_address_closes_the_old_link() -> None:
    network, hand = facing()
    again = network.by_hand("m1", 8, name="m9")
    again.member = replace(again.member, address=hand.member.address)
    again.hello()

    assert hand.closed == "replaced by a new start"
    node = network.nodes["m1"]
    assert [member.id for member in node.membership.view] == [some_id(8)]
    assert [peer.id for peer in node.peers] == [some_id(8)]


def test_after_stopping_nobody_is_dialled() -> None:
    network, hand = facing()
    node, now = network.nodes["m1"], network.now
    seed = Address(HOST, 4999)
    node.addresses_found([seed], now)
    node.stop(now)
    node.link_closed(hand.link, "closed by the other end", now)
    node.datagram_received(encode_heartbeat(heartbeat_of(3)), HOST, now)
    orders = list(node.ready().links)
    for later in (1.0, 5.0):
        node.timer_fired(now + later)
        orders += node.ready().links

    assert of_kind(Dial, orders) == []
