"""Principals at work on one member: who ends, who is told, and what others may send."""

from __future__ import annotations

from replsession.config import Limits
from replsession.events import SessionChanged
from replsession.identity import Key
from replsession.messages import Deltas
from replsession.node import Node
from replsession.session.change import Change
from replsession.session.codec import encode
from replsession.session.delta import REGISTER, Delta, Write
from replsession.session.principals import (
    NO_EPOCHS,
    Login,
    encoded_login,
    epochs_in,
    epochs_key,
    login_of,
)
from replsession.session.record import PRINCIPAL, SECRET, Record
from replsession.session.stamp import Stamp
from tests.harness import Hand, Network, some_id, some_key

KEY = some_key(1)
CONTEXT = KEY.context
PLACE = epochs_key(CONTEXT, "alice")
NINE = some_id(9)
BORN = Stamp(5 << 16, NINE)


def member(**bounds: int) -> tuple[Network, Hand, Node]:
    """A ready member, the test's end as a ready member 9, and the node."""
    network = Network()
    node = network.add(1, limits=Limits(**bounds))
    network.run(1.0)
    hand = network.by_hand("m1", 9)
    hand.hello()
    hand.forget()
    return network, hand, node


def log_in(network: Network, number: int = 1, name: str = "alice") -> Key:
    """Begin a session on member 1, as somebody's."""
    key = some_key(number)
    network.commit("m1", key, {SECRET: b"hash", PRINCIPAL: encode("", name)}, birth=True)
    return key


def login_there(key: Key = KEY, **epochs: int) -> Delta:
    """Return the birth of a session of alice's on member 9."""
    login = encoded_login(Login("alice", {some_id(9): hlc for hlc in epochs.values()}))
    writes = {PRINCIPAL: Write(*BORN, REGISTER, login), "x": Write(*BORN, REGISTER, b"\x01")}
    return Delta(key, BORN, 0, {NINE: BORN.hlc}, writes, 0.0, BORN, 0.0)


def end_there(hlc: int = 99 << 16) -> Delta:
    """Return the end of all of alice's sessions, as member 9 tells it."""
    stamp = Stamp(hlc, NINE)
    epoch = {NINE.hex(): Write(*stamp, REGISTER, b"\xf6")}
    return Delta(PLACE, stamp, 0, {NINE: hlc}, epoch, 0.0, stamp, 0.0)


def end_all(network: Network) -> int:
    """End all of alice's sessions on member 1."""
    ended: list[int] = []
    network.input(
        "m1", lambda node, now: ended.append(node.requests.end_all(CONTEXT, "alice", now))
    )
    return ended[0]


def held(node: Node, key: Key = KEY) -> Record:
    """Return a record."""
    record = node.store.peek(key)
    assert record is not None
    return record


def sent(hand: Hand) -> list[Delta]:
    """Return what member 9 was sent."""
    return [delta for message in hand.got(Deltas) for delta in message.deltas]


def test_a_login_says_which_ends_its_member_knew() -> None:
    network, _, node = member()
    log_in(network)
    assert login_of(held(node)) == Login("alice", NO_EPOCHS)
    end_all(network)
    key = log_in(network, 2)
    assert login_of(held(node, key)) == Login("alice", epochs_in(held(node, PLACE)))


def test_the_end_of_all_is_told_with_the_end_of_each() -> None:
    network, hand, node = member()
    one, two, bobs = log_in(network, 1), log_in(network, 2), log_in(network, 3, "bob")
    hand.acknowledge()
    hand.forget()

    assert end_all(network) == 2

    ended = [delta.key for delta in sent(hand) if delta.destroyed is not None]
    assert sorted(ended) == sorted((one, two))
    assert [delta.key for delta in sent(hand) if delta.destroyed is None] == [PLACE]
    assert node.open(bobs, network.now, is_final=True) is not None
    assert node.metrics.sessions_ended_with_principal == 2


def test_it_may_be_said_twice_and_for_nobody() -> None:
    network, _, node = member()
    assert end_all(network) == 0
    log_in(network)
    assert end_all(network) == 1
    assert end_all(network) == 0
    assert len(epochs_in(held(node, PLACE))) == 1


def test_what_another_member_ended_ends_here_and_listeners_hear_of_it() -> None:
    network, hand, node = member()
    node.report(CONTEXT)
    log_in(network)
    hand.send_deltas(end_there())
    assert held(node).destroyed is not None
    (told,) = network.told("m1", SessionChanged)
    assert (told.key, told.destroyed, told.secret_hash) == (KEY, True, b"hash")


def test_a_session_that_comes_after_the_end_it_has_not_seen_is_ended_and_not_reported() -> None:
    network, hand, node = member()
    node.report(CONTEXT)
    hand.send_deltas(end_there())
    hand.forget()
    hand.send_deltas(login_there())
    assert held(node).destroyed is not None
    assert [delta.key for delta in sent(hand) if delta.destroyed] == [KEY]
    assert network.told("m1", SessionChanged) == []


def test_a_session_that_has_seen_it_lives() -> None:
    _, hand, node = member()
    hand.send_deltas(end_there(99 << 16), login_there(seen=99 << 16))
    assert held(node).is_served


def test_a_request_that_is_under_way_cannot_write() -> None:
    network, _, node = member()
    log_in(network)
    # The end came by a way on which nobody judged: as when it was taken over from an earlier start.
    end_all(network)
    assert node.commit(Change(KEY, {"x": b"\x01"}), network.now) is None


def test_nobody_can_end_the_record_of_ends() -> None:
    _, hand, node = member()
    hand.send_deltas(end_there())
    stamp = Stamp(200 << 16, NINE)
    destroyed = Delta(PLACE, stamp, None, {}, {}, 0.0, stamp, 0.0, destroyed=stamp)
    hand.send_deltas(destroyed)
    assert held(node, PLACE).destroyed is None
    assert hand.closed is None


def test_the_record_of_ends_is_whole_without_its_birth() -> None:
    network, hand, node = member()
    stamp = Stamp(99 << 16, NINE)
    later = end_there()._replace(born=Stamp(1 << 16, some_id(8)))
    hand.send_deltas(later)
    assert held(node, PLACE).complete
    log_in(network)
    assert end_all(network) == 1
    assert epochs_in(held(node, PLACE))[NINE] == stamp.hlc


def test_a_login_too_many_ends_the_least_recently_used() -> None:
    network, _, node = member()
    node.principals.sessions_max[CONTEXT] = 2
    log_in(network, 1)
    network.run(1.0)
    log_in(network, 2)
    network.run(1.0)
    network.input("m1", lambda node, now: node.open(some_key(1), now))
    network.run(1.0)
    log_in(network, 3)
    assert [held(node, some_key(n)).destroyed is None for n in (1, 2, 3)] == [True, False, True]
    assert node.metrics.principals_bounded == 1
    # Another name has a bound of its own.
    log_in(network, 4, "bob")
    assert held(node, some_key(1)).destroyed is None


def test_what_a_member_made_up_is_nobodys() -> None:
    network, hand, node = member()
    writes = {PRINCIPAL: Write(*BORN, REGISTER, b"\x01")}
    hand.send_deltas(login_there()._replace(attributes=writes))
    end_all(network)
    assert held(node).is_served
    assert login_of(held(node)) is None
