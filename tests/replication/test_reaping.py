"""The reaper: what is over falls asleep, is told, judged, woken, and dropped in the end."""

from __future__ import annotations

from math import inf

import pytest

from replsession.config import Limits, Timing
from replsession.events import SessionExpired
from replsession.identity import Key
from replsession.messages import Access, Accesses, Deltas, Expiration, Expirations, Goodbye
from replsession.node import Node
from replsession.session.change import Change
from replsession.session.delta import REGISTER, Delta, Write
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.record import INTERVAL, SECRET, Record
from replsession.session.stamp import Stamp
from tests.harness import Hand, Network, of_kind, some_id, some_key

KEY = some_key(1)
ONE, NINE = some_id(1), some_id(9)
IDLE_S = 20.0
TIMING = Timing(repair_interval_s=1e6, sweep_interval_s=0.05)
GRACE_S = TIMING.expiry_grace_s + IDLE_S / 10
WRITES: dict[str, bytes | None] = {
    SECRET: b"hash",
    INTERVAL: encoded_limits(SessionLimits(IDLE_S, None)),
    "x": b"\x01",
}


def member(**bounds: int) -> tuple[Network, Hand, Node]:
    """A ready member, the test's end as a ready member 9 that may have news, and the node."""
    network = Network()
    node = network.add(1, limits=Limits(**bounds), timing=TIMING)
    network.run(1.0)
    hand = network.by_hand("m1", 9)
    hand.hello()
    hand.forget()
    settled(node, -inf)
    return network, hand, node


def settled(node: Node, at: float) -> None:
    """Say since when all members have told their news."""
    node.reaper.settled_at = lambda now: at


def born_here(network: Network, hand: Hand, *keys: Key) -> None:
    """Begin sessions on member 1."""
    for key in keys or (KEY,):
        network.commit("m1", key, WRITES, birth=True)
    hand.acknowledge()
    hand.forget()


def born_there(hand: Hand) -> Stamp:
    """Begin the session on member 9; return the stamp of its birth."""
    born = Stamp(5 << 16, NINE)
    writes = {name: Write(*born, REGISTER, value) for name, value in WRITES.items()}
    hand.send_deltas(Delta(KEY, born, 0, {NINE: born.hlc}, writes, 0.0, born, 0.0))
    hand.forget()
    return born


def held(node: Node, key: Key = KEY) -> Record:
    """Return the record of a session."""
    record = node.store.peek(key)
    assert record is not None
    return record


def notices(hand: Hand) -> list[Expiration]:
    """Return the notices that came."""
    return [over for message in hand.got(Expirations) for over in message.expirations]


def test_who_served_it_last_says_so_when_it_is_over() -> None:
    network, hand, node = member()
    node.report("/shop")
    born_here(network, hand)
    hand.live(IDLE_S - 0.1)
    assert notices(hand) == []
    hand.live(0.5)

    assert notices(hand) == [Expiration(KEY, held(node).access)]
    assert held(node).asleep
    assert network.told("m1", SessionExpired) == [SessionExpired(KEY, b"hash")]
    assert (node.metrics.sessions_expired, node.metrics.expirations_sent) == (1, 1)


def test_who_did_not_waits_for_the_grace_and_says_nothing() -> None:
    network, hand, node = member()
    born_there(hand)
    hand.live(IDLE_S + GRACE_S - 0.1)
    assert not held(node).asleep
    hand.live(0.5)

    assert held(node).asleep
    assert notices(hand) == []
    assert network.nodes["m1"].metrics.sessions_expired == 1


def test_listeners_hear_nothing_of_the_end_of_what_was_never_whole() -> None:
    network, hand, node = member()
    node.report("/shop")
    stamp = Stamp(9 << 16, NINE)
    born = Stamp(5 << 16, NINE)
    writes = {INTERVAL: Write(*stamp, REGISTER, WRITES[INTERVAL])}
    hand.send_deltas(Delta(KEY, born, 1, {NINE: stamp.hlc}, writes, 0.0, stamp, 0.0))
    hand.live(IDLE_S + GRACE_S + 1.0)

    assert held(node).asleep
    assert network.told("m1", SessionExpired) == []


def test_notices_leave_together() -> None:
    network, hand, _ = member()
    keys = [some_key(number) for number in range(1, 21)]
    born_here(network, hand, *keys)
    hand.live(IDLE_S + 2.5)

    assert sorted(over.key for over in notices(hand)) == sorted(keys)
    assert len(hand.got(Expirations)) <= 3


def test_notices_are_bounded_and_the_others_reap_alone() -> None:
    network, hand, node = member(expirations_max=3)
    born_here(network, hand, *(Key("/shop", bytes([7]) * 11 + bytes([n])) for n in range(8)))
    hand.live(IDLE_S + 2.0)

    assert len(notices(hand)) == 3
    assert node.metrics.expirations_dropped == 5


def test_nobody_is_told_when_nobody_is_there() -> None:
    network = Network()
    node = network.add(1, timing=TIMING)
    network.run(1.0)
    network.commit("m1", KEY, WRITES, birth=True)
    network.run(IDLE_S + 1.0)

    assert node.reaper.notices == {}
    assert node.metrics.sessions_expired == 1


def test_what_woke_before_it_was_told_is_not_told() -> None:
    network, hand, node = member()
    born_here(network, hand)
    node.reaper.announce_at = network.now + IDLE_S + 1.0
    hand.live(IDLE_S + 0.2)
    assert list(node.reaper.notices) == [KEY]
    network.commit("m1", KEY, {"x": b"\x02"})
    hand.live(2.0)

    assert notices(hand) == []


@pytest.mark.parametrize(
    ("access", "later_s", "is_asleep", "is_released"),
    [
        ("same", IDLE_S + 0.1, True, True),
        ("same", IDLE_S - 0.1, False, True),
        ("later", IDLE_S + 0.1, True, True),
        ("later", IDLE_S - 0.1, False, True),
        ("earlier", IDLE_S + 0.1, False, False),
        ("earlier", IDLE_S - 0.1, False, False),
    ],
)
def test_a_notice_lets_its_receiver_judge(
    access: str, later_s: float, is_asleep: bool, is_released: bool
) -> None:
    _, hand, node = member()
    born = born_there(hand)
    hand.live(later_s)
    known = {"same": 0, "later": 1, "earlier": -1}[access]
    hand.send(Expirations((Expiration(KEY, Stamp(born.hlc + known, NINE)),)))

    record = held(node)
    assert record.asleep is is_asleep
    assert record.released is is_released
    answered = [access for message in hand.got(Accesses) for access in message.accesses]
    assert len(answered) == (access != "same" and not is_asleep and later_s < IDLE_S)


def test_after_a_notice_there_is_no_grace_any_more() -> None:
    _, hand, node = member()
    born = born_there(hand)
    hand.live(IDLE_S - 0.5)
    hand.send(Expirations((Expiration(KEY, born),)))
    assert not held(node).asleep
    hand.live(0.8)

    assert held(node).asleep


def test_a_fresher_access_is_the_answer_to_a_notice_and_told_to_all() -> None:
    network, hand, node = member()
    other = network.by_hand("m1", 8)
    other.hello()
    born = born_there(hand)
    for _ in range(2):
        # The first one is told, the second one comes too soon after it.
        hand.live(0.5)
        network.input("m1", lambda node, now: node.open(KEY, now))
    hand.forget()
    for _ in range(2):
        hand.live(IDLE_S / 2 - 0.6)
    other.send()
    assert hand.got(Accesses) == []
    hand.send(Expirations((Expiration(KEY, born),)))
    (answer,) = [access for message in hand.got(Accesses) for access in message.accesses]

    assert answer.access == held(node).access
    assert answer.access.member == ONE
    hand.live(1.0)
    assert len(hand.got(Accesses)) == 2, "and once more, as everybody is told"


def test_the_answer_wakes_who_gave_the_notice() -> None:
    network, hand, node = member()
    born_here(network, hand)
    hand.live(IDLE_S + 0.5)
    (over,) = notices(hand)
    hand.send(Accesses((Access(KEY, Stamp(over.access.hlc + 1, NINE), 3.0),)))

    assert not held(node).asleep
    assert held(node).values() == {"x": b"\x01"}
    assert node.metrics.sessions_woken == 1


def test_a_notice_of_what_is_not_here_or_over_changes_nothing() -> None:
    network, hand, node = member()
    born_here(network, hand)
    network.destroy("m1", KEY)
    hand.forget()
    stamp = Stamp(1 << 62, NINE)
    hand.send(Expirations((Expiration(KEY, stamp), Expiration(some_key(2), stamp))))

    assert held(node).destroyed is not None
    assert len(node.store) == 1
    assert hand.got(Accesses) == []
    assert node.clock.last >= 1 << 62


@pytest.mark.parametrize(("settled_later_s", "stays"), [(-0.5, True), (0.5, False)])
def test_what_sleeps_goes_when_all_have_told_their_news(
    settled_later_s: float, stays: bool
) -> None:
    network, hand, node = member()
    born_here(network, hand)
    hand.live(IDLE_S + 0.2)
    settled(node, held(node).ended_at + settled_later_s)
    hand.live(1.0)

    assert (node.store.peek(KEY) is not None) is stays


def test_who_joins_drops_nothing_that_sleeps() -> None:
    network = Network()
    node = network.add(1, timing=TIMING)
    hand = network.by_hand("m1", 9)
    hand.hello()
    stamp = Stamp(5 << 16, NINE)
    record = Delta(KEY, stamp, None, {}, {}, 0.0, stamp, 0.0, asleep_s=3.0)
    hand.send_deltas(record)
    settled(node, inf)
    hand.live(1.0)

    assert not node.is_ready
    assert held(node).asleep


def test_sleeping_sessions_are_bounded_at_once() -> None:
    _, hand, node = member(sleeping_bytes_max=400)
    stamp = Stamp(5 << 16, NINE)
    written = {"x": Write(*stamp, REGISTER, bytes(100))}
    for number in range(1, 9):
        record = Delta(some_key(number), stamp, None, {}, written, 0.0, stamp, 0.0)
        hand.send_deltas(record._replace(asleep_s=100.0 - number))
        assert node.store.sleepers.bytes <= 400

    kept = [key for bucket in range(256) for key in node.store.keys(bucket)]
    assert 0 < len(kept) < 8
    assert kept == [some_key(number) for number in range(9 - len(kept), 9)]
    assert node.metrics.sleeping_dropped == 8 - len(kept)


class TestNames:
    def test_who_gives_up_what_only_it_had_writes_to_it_under_another_name(self) -> None:
        network, hand, node = member()
        born_here(network, hand)
        hand.live(IDLE_S + 0.2)
        asleep = held(node)
        settled(node, inf)
        hand.live(0.5)
        assert node.store.peek(KEY) is None
        assert node.writer == ONE

        born = asleep.born
        writes = {"x": Write(born.hlc, ONE, REGISTER, b"\x01")}
        old = Delta(KEY, born, None, {ONE: born.hlc}, writes, 0.0, born, 0.0)
        hand.send_deltas(old)
        hand.forget()
        network.commit("m1", some_key(2), WRITES, birth=True)
        assert node.writer == ONE, "other sessions are written to as before"
        network.commit("m1", KEY, {"x": b"\x02"})

        assert node.writer != ONE
        assert node.me.id == node.membership.me.id == ONE
        sent = hand.deltas()[-1]
        assert (sent.since, sent.writer.member) == (0, node.writer)
        assert held(node).version == {ONE: born.hlc, node.writer: sent.writer.hlc}
        assert node.metrics.writers_renamed == 1
        network.commit("m1", KEY, {"x": b"\x03"})
        assert hand.deltas()[-1].since == sent.writer.hlc

    def test_what_all_were_told_before_it_slept_is_not_given_up(self) -> None:
        network, hand, node = member()
        born_here(network, hand)
        hand.live(5.0)
        settled(node, network.now)
        hand.live(IDLE_S)
        assert node.store.peek(KEY) is not None
        settled(node, inf)
        hand.live(0.5)

        assert node.store.peek(KEY) is None
        assert node.reaper.given_up == {}

    def test_what_others_wrote_is_not_given_up(self) -> None:
        _, hand, node = member()
        born_there(hand)
        hand.live(IDLE_S + GRACE_S + 0.5)
        settled(node, inf)
        hand.live(0.5)

        assert node.store.peek(KEY) is None
        assert node.reaper.given_up == {}

    def test_too_many_to_remember_make_another_name(self) -> None:
        network, hand, node = member(given_up_max=3)
        born_here(network, hand, *(some_key(number) for number in range(1, 5)))
        hand.live(IDLE_S + 1.0)
        settled(node, inf)
        hand.live(1.0)

        assert len(node.store) == 0
        assert node.writer != ONE
        assert node.reaper.given_up == {}


class TestShutdown:
    def test_what_was_served_last_here_ends_for_all_before_the_goodbye(self) -> None:
        network, hand, node = member(chunk_bytes=300, window_bytes=1)
        node.report("/shop")
        keys = [some_key(number) for number in range(10, 40)]
        born_here(network, hand, *keys, Key("/other", bytes(12)))
        born_there(hand)
        network.events["m1"].clear()
        hand.forget()
        node.reaper.end_served("/shop", network.now)
        network.input("m1", lambda node, now: node.stop(now))

        ended = [delta for delta in hand.deltas() if delta.destroyed is not None]
        assert sorted(delta.key for delta in ended) == keys
        assert isinstance(hand.received[-1], Goodbye)
        assert len(of_kind(Deltas, hand.received)) > 3
        assert sorted(event.key for event in network.told("m1", SessionExpired)) == keys
        assert held(node).destroyed is None

    def test_what_sleeps_is_over_already(self) -> None:
        network, hand, node = member()
        born_here(network, hand)
        hand.live(IDLE_S + 0.5)
        hand.forget()
        node.reaper.end_served("/shop", network.now)
        network.input("m1", lambda node, now: None)

        assert held(node).asleep
        assert hand.deltas() == []

    def test_an_ended_session_takes_no_late_write(self) -> None:
        network, hand, node = member()
        born_here(network, hand)
        node.reaper.end_served("/shop", network.now)

        assert node.commit(Change(KEY, {"x": b"\x02"}), network.now) is None
