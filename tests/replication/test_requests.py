"""Requests: what the application asks and writes on one member, and what others hear of it."""

from __future__ import annotations

import pytest

from replsession.config import Limits
from replsession.messages import Access, Accesses
from replsession.replication.requests import ACCESS_RESOLUTION_S
from replsession.session.change import Change
from replsession.session.delta import REGISTER, Delta, Write
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.record import INTERVAL, SECRET
from replsession.session.stamp import Stamp
from tests.harness import Hand, Network, some_id, some_key

KEY = some_key(1)
NINE = some_id(9)
TENTH_S = 10.0
LIMITS = {INTERVAL: encoded_limits(SessionLimits(TENTH_S * 10, None))}


def member(**bounds: int) -> tuple[Network, Hand]:
    """A ready member, and the test's end as a ready member 9."""
    network = Network()
    network.add(1, limits=Limits(**bounds))
    network.run(1.0)
    hand = network.by_hand("m1", 9)
    hand.hello()
    hand.forget()
    return network, hand


def read(network: Network, secret_hash: bytes | None = None) -> dict[str, bytes] | None:
    """A request reads the session on member 1."""
    found = network.nodes["m1"].open(KEY, network.now, secret_hash)
    values = None if found is None else found.values()
    network.input("m1", lambda node, now: None)
    return values


@pytest.mark.parametrize(
    ("secret_hash", "is_found"), [(None, True), (b"hash", True), (b"other", False), (b"", False)]
)
def test_a_session_opens_with_the_id_it_has_now(secret_hash: bytes | None, is_found: bool) -> None:
    network, _ = member()
    network.commit("m1", KEY, {SECRET: b"hash", "x": b"\x01"}, birth=True)

    assert read(network, secret_hash) == ({"x": b"\x01"} if is_found else None)


def test_a_session_without_an_id_opens_with_none() -> None:
    network, _ = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)

    assert read(network, b"hash") is None


def test_a_partial_session_is_neither_served_nor_written_to() -> None:
    network, hand = member()
    born = Stamp(5 << 16, NINE)
    written = {"x": Write(born.hlc + 9, NINE, REGISTER, b"\x01")}
    stamp = Stamp(born.hlc + 9, NINE)
    hand.send_deltas(Delta(KEY, born, born.hlc, {NINE: stamp.hlc}, written, 0.0, stamp, 0.0))

    assert len(network.nodes["m1"].store) == 1
    assert read(network) is None
    assert network.nodes["m1"].commit(Change(KEY, {"y": b"\x02"}), network.now) is None


def test_an_ended_session_takes_nothing_more() -> None:
    network, _ = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.destroy("m1", KEY)
    node = network.nodes["m1"]

    assert read(network) is None
    for change in (Change(KEY, {"y": b"\x02"}), Change(KEY, {}, birth=True)):
        assert node.commit(change, network.now) is None
    assert node.metrics.commits == 2


@pytest.mark.parametrize(("later_s", "is_over"), [(99.9, False), (100.0, True), (1e6, True)])
def test_a_session_that_was_idle_for_too_long_is_not_served(later_s: float, is_over: bool) -> None:
    network, _ = member()
    network.commit("m1", KEY, LIMITS, birth=True)

    record = network.nodes["m1"].open(KEY, network.now + later_s)
    assert (record is None) is is_over


def test_each_request_puts_the_end_off() -> None:
    network, _ = member()
    network.commit("m1", KEY, LIMITS, birth=True)
    node = network.nodes["m1"]

    for number in range(1, 20):
        assert node.open(KEY, network.now + number * 90.0) is not None


def test_accesses_at_the_same_moment_are_one() -> None:
    network, _ = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    node, at = network.nodes["m1"], network.now + 5.0
    record = node.open(KEY, at)
    assert record is not None
    access, before = record.access, record.accessed_before
    node.open(KEY, at + ACCESS_RESOLUTION_S / 2)
    assert (record.access, record.accessed, record.accessed_before) == (access, at, before)

    node.open(KEY, at + ACCESS_RESOLUTION_S * 2)
    assert record.access > access
    assert record.accessed_before == at


def test_a_commit_travels_as_a_delta_with_what_was_written() -> None:
    network, hand = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.run(0.5)
    network.commit("m1", KEY, {"y": b"\x02", "x": None})
    first, second = hand.deltas()

    assert (first.since, second.since) == (0, first.writer.hlc)
    assert first.born == second.born == first.writer
    assert first.writer < second.writer
    assert {name: write.value for name, write in first.attributes.items()} == {"x": b"\x01"}
    assert {name: write.value for name, write in second.attributes.items()} == {
        "y": b"\x02",
        "x": None,
    }
    assert second.age_s == 0.5


def test_with_nobody_there_a_commit_makes_no_frame() -> None:
    network = Network()
    network.add(1)
    network.run(1.0)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)

    assert network.sent["m1"] == []
    assert network.values("m1", KEY) == {"x": b"\x01"}


def test_a_read_sends_nothing_before_a_tenth_of_the_interval() -> None:
    network, hand = member()
    network.commit("m1", KEY, LIMITS, birth=True)
    hand.acknowledge()
    hand.live(TENTH_S - 2)
    read(network)
    hand.live(1.5)

    assert hand.got(Accesses) == []


def test_after_a_tenth_of_the_interval_the_access_is_announced_once() -> None:
    network, hand = member()
    network.commit("m1", KEY, LIMITS, birth=True)
    hand.acknowledge()
    hand.live(TENTH_S)
    for _ in range(5):
        read(network)
    assert hand.got(Accesses) == []
    hand.live(1.0)
    for _ in range(5):
        read(network)
        hand.live(0.5)

    ((access,),) = [message.accesses for message in hand.got(Accesses)]
    assert access.key == KEY
    assert access.access.member == some_id(1)
    assert 0 <= access.idle_s <= 1.0
    assert network.nodes["m1"].metrics.accesses_sent == 1


def test_accesses_of_many_sessions_leave_in_one_message() -> None:
    network, hand = member()
    for number in range(1, 21):
        network.commit("m1", some_key(number), LIMITS, birth=True)
    hand.acknowledge()
    hand.live(TENTH_S)
    for number in range(1, 21):
        network.input("m1", lambda node, now, at=number: node.open(some_key(at), now))  # type: ignore[misc]
    hand.live(1.5)

    assert [len(message.accesses) for message in hand.got(Accesses)] == [20]


def test_a_write_announces_the_access_by_itself() -> None:
    network, hand = member()
    network.commit("m1", KEY, LIMITS, birth=True)
    hand.live(TENTH_S / 2)
    hand.acknowledge()
    hand.live(TENTH_S / 2)
    read(network)
    network.commit("m1", KEY, {"x": b"\x01"})
    hand.live(1.5)
    hand.acknowledge()

    assert hand.got(Accesses) == []


def test_an_access_elsewhere_keeps_the_session_alive_here() -> None:
    network, hand = member()
    network.commit("m1", KEY, LIMITS, birth=True)
    hand.acknowledge()
    hand.live(TENTH_S * 9)
    access = Access(KEY, Stamp(1 << 62, NINE), 2.0)
    hand.send(Accesses((access,)))
    hand.live(TENTH_S * 5)

    record = network.nodes["m1"].open(KEY, network.now)
    assert record is not None


@pytest.mark.parametrize("interval_s", [2.0, 40.0])
def test_how_often_depends_on_the_interval_of_the_session(interval_s: float) -> None:
    network, hand = member()
    limits = {INTERVAL: encoded_limits(SessionLimits(interval_s, None))}
    network.commit("m1", KEY, limits, birth=True)
    hand.acknowledge()
    for _ in range(40):
        hand.live(0.5)
        read(network)

    # Over 20 s, each time a tenth has passed, but in batches a second apart.
    expected = 20 / max(1.0, interval_s / 10)
    assert expected - 2 <= len(hand.got(Accesses)) <= expected + 1


def test_nobody_hears_of_accesses_when_nobody_is_there() -> None:
    network = Network()
    network.add(1)
    network.run(1.0)
    network.commit("m1", KEY, LIMITS, birth=True)
    network.run(TENTH_S)
    read(network)
    network.run(2.0)

    assert network.sent["m1"] == []
    assert network.nodes["m1"].metrics.accesses_sent == 0
