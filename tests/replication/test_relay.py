"""Relaying: who hands on, to whom, and what; and that nothing is handed on twice."""

from __future__ import annotations

from itertools import combinations

import pytest

from replsession import messages as m
from replsession.config import Limits
from replsession.identity import MemberId
from replsession.replication.relay import LinkedWith, is_own, targets
from replsession.session.delta import REGISTER, Delta, Write
from replsession.session.stamp import Stamp
from tests.harness import Hand, Network, some_id, some_key

ME, X, P, Z, Q = (some_id(number) for number in (1, 9, 8, 7, 6))
KEY = some_key(1)
BORN = Stamp(5 << 16, X)


def linked(**neighbours: str) -> LinkedWith:
    """Who says that it has links with whom, in the letters of this file; ``m`` is ME."""
    ids = {"m": ME, "x": X, "p": P, "z": Z, "q": Q}
    return {
        ids[name.lower()]: {ids[other]: None for other in others}
        for name, others in neighbours.items()
    }


@pytest.mark.parametrize(
    ("linked_with", "expected"),
    [
        (linked(x="mp", p="mx"), []),
        (linked(x="m", p="m"), [P]),
        (linked(x="mp", p="m"), []),
        (linked(x="m", p="mx"), []),
        (linked(p="m"), []),
        (linked(x="m"), []),
        (linked(x="m", p=""), []),
        (linked(x="", p="m"), []),
        (linked(x="m", p="m", z="m"), [P, Z]),
        (linked(x="mz", p="m", z="mx"), [P]),
        (linked(), []),
    ],
    ids=[
        "they reach each other",
        "they do not",
        "the writer says it does",
        "the other says it does",
        "nothing of the writer yet",
        "nobody else",
        "the other does not count us",
        "the writer does not count us",
        "two cannot be reached",
        "one of two",
        "nobody",
    ],
)
def test_to_whom_is_handed_on(linked_with: LinkedWith, expected: list[MemberId]) -> None:
    assert targets(ME, X, linked_with) == expected


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_of_those_who_can_exactly_one_does(count: int) -> None:
    relays = [some_id(number) for number in range(20, 20 + count)]
    all_of_them = dict.fromkeys(relays)
    doing: list[MemberId] = []
    for relay in relays:
        others = {other: dict.fromkeys([*relays, X, P]) for other in relays if other != relay}
        if targets(relay, X, {X: dict(all_of_them), P: dict(all_of_them), **others}) == [P]:
            doing.append(relay)

    assert len(doing) == 1


def test_the_work_is_spread_over_the_pairs() -> None:
    relays = [some_id(number) for number in (20, 21, 22)]
    far = [some_id(number) for number in range(100, 116)]
    doing = {
        relay
        for one, other in combinations(far, 2)
        for relay in relays
        if targets(relay, one, {one: dict.fromkeys(relays), other: dict.fromkeys(relays)})
    }

    assert len(doing) == len(relays)


def delta_of(member: MemberId, hlc: int = BORN.hlc, since: int = 0, **written: bytes) -> Delta:
    """The writes of one request."""
    writes = {name: Write(hlc, member, REGISTER, value) for name, value in written.items()}
    return Delta(KEY, BORN, since, {member: hlc}, writes, 0.0, Stamp(hlc, member), 0.0)


def tombstone_of(member: MemberId) -> Delta:
    """The end of the session, made by a member."""
    end = Stamp(9 << 16, member)
    return Delta(KEY, BORN, None, {}, {}, 0.0, end, 0.0, destroyed=end)


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        (delta_of(X), True),
        (delta_of(P), False),
        (tombstone_of(X), True),
        (tombstone_of(P), False),
        (delta_of(X)._replace(since=None), False),
    ],
    ids=["a delta", "another's delta", "a tombstone", "another's tombstone", "a whole record"],
)
def test_what_is_a_member_s_own(delta: Delta, expected: bool) -> None:
    assert is_own(delta, X) is expected


def between(**bounds: int) -> tuple[Network, Hand, Hand]:
    """A member between 9 and 8, who have no link with each other."""
    network = Network()
    network.add(1, limits=Limits(**bounds))
    network.run(1.0)
    hands = network.by_hand("m1", 9), network.by_hand("m1", 8)
    for hand in hands:
        hand.hello()
        row = m.Neighbour(ME, "m1", 1, network.nodes["m1"].me.address)
        hand.send(m.Neighbours((row,)))
        hand.forget()
    return network, *hands


def test_a_delta_and_a_tombstone_are_handed_on_as_they_came() -> None:
    network, writer, other = between()
    sent = (delta_of(X, x=b"\x01"), delta_of(X, BORN.hlc + 1, BORN.hlc, y=b"\x02"), tombstone_of(X))
    for delta in sent:
        writer.send_deltas(delta)
        other.acknowledge()

    assert tuple(other.deltas()) == sent
    assert writer.deltas() == []
    assert network.nodes["m1"].metrics.deltas_relayed == 3


def test_what_was_handed_on_is_not_handed_on_again() -> None:
    network, writer, other = between()
    writer.send_deltas(delta_of(Z, x=b"\x01"), delta_of(P, x=b"\x02"), tombstone_of(Z))

    assert other.deltas() == []
    assert network.nodes["m1"].metrics.deltas_relayed == 0


def test_whole_records_are_not_handed_on() -> None:
    _, writer, other = between()
    writer.send_deltas(delta_of(X, x=b"\x01")._replace(since=None))

    assert other.deltas() == []


def test_accesses_are_handed_on_if_they_are_the_sender_s() -> None:
    network, writer, other = between()
    own, foreign = (m.Access(KEY, Stamp(7 << 16, member), 1.0) for member in (X, Z))
    writer.send(m.Accesses((own, foreign)), m.Accesses((foreign,)))

    assert other.got(m.Accesses) == [m.Accesses((own,))]
    assert network.nodes["m1"].metrics.deltas_relayed == 1


def test_while_the_window_is_shut_nothing_of_two_writers_is_joined() -> None:
    network, writer, other = between(window_bytes=1)
    writer.send_deltas(delta_of(X, x=b"\x01"))
    network.commit("m1", KEY, {"a": b"\x01"})
    writer.send_deltas(delta_of(X, BORN.hlc + 1, BORN.hlc, x=b"\x02"))
    network.commit("m1", KEY, {"b": b"\x01"})
    writer.send_deltas(delta_of(X, BORN.hlc + 2, BORN.hlc + 1, x=b"\x03"))
    for _ in range(5):
        other.acknowledge()

    came = [(one.writer.member, sorted(one.attributes)) for one in other.deltas()]
    assert came == [(X, ["x"]), (ME, ["a", "b"]), (X, ["x"]), (X, ["x"])]


def test_when_the_two_meet_nothing_is_handed_on_any_more() -> None:
    network, writer, other = between()
    address = network.nodes["m1"].me.address
    rows = tuple(m.Neighbour(member, "m", 1, address) for member in (ME, P))
    writer.send(m.Neighbours(rows), m.Deltas(1, (delta_of(X, x=b"\x01"),)))

    assert other.deltas() == []
    assert network.nodes["m1"].metrics.deltas_relayed == 0
