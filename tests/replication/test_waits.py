"""Waits: tickets and lookups meet the links, and whoever is done is handed out once."""

from __future__ import annotations

import pytest

from replsession.concern import Asked
from replsession.config import Limits, Timing
from replsession.messages import Acknowledge, Deltas, RecordAnswer, Status
from replsession.node import Node
from replsession.replication.acks import Ticket
from replsession.replication.freshness import Lookup
from replsession.replication.waits import Waits
from tests.harness import Hand, Network, some_id, some_key

KEY, OTHER, UNKNOWN = some_key(1), some_key(2), some_key(3)
NINE = some_id(9)
ALL = Asked("all", 1.0)
WRITES: dict[str, bytes | None] = {"x": b"\x01"}


def member(*, ready: bool = True, **bounds: int) -> tuple[Network, Hand, Waits]:
    """A ready member, the test's end as another one, and the room of who waits."""
    network = Network()
    node = network.add(1, limits=Limits(**bounds))
    network.run(1.0)
    hand = network.by_hand("m1", 9)
    hand.hello(ready=ready)
    hand.forget()
    return network, hand, node.waits


def born(network: Network, asked: Asked = ALL) -> Ticket:
    """Begin a session with a write concern."""
    return network.commit_asking("m1", asked, KEY, WRITES, birth=True)


def looked_up(network: Network) -> Lookup:
    """Begin a request for a session that is unknown here."""
    found = network.look_up("m1", UNKNOWN)
    assert isinstance(found, Lookup)
    return found


def whole_ones(hand: Hand) -> list[object]:
    """The sessions that were sent whole."""
    return [news.key for news in hand.deltas() if news.since is None]


def test_it_is_idle_until_somebody_waits_and_after_all_were_handed_out() -> None:
    network, hand, waits = member()
    assert waits.is_idle
    ticket = born(network)
    assert not waits.is_idle
    hand.acknowledge()
    assert ticket.is_done and waits.is_idle

    lookup = looked_up(network)
    assert not waits.is_idle
    hand.send(RecordAnswer(1, (UNKNOWN,), ()))
    assert lookup.is_done and waits.is_idle
    assert network.done["m1"] == [ticket, lookup]


def test_both_are_handed_out_together_and_once() -> None:
    network, hand, _ = member()
    ticket, lookup = born(network), looked_up(network)
    node = network.nodes["m1"]
    # Both in one turn, as bytes of two links may come.
    for message in (Acknowledge(hand.got(Deltas)[-1].batch), RecordAnswer(1, (UNKNOWN,), ())):
        node.inbox.received(node.peers.get(NINE), message, 10, network.now)  # type: ignore[arg-type]

    assert node.ready().done == [ticket, lookup]
    assert node.ready().done == []


def test_it_wants_to_be_woken_for_the_first_who_has_waited_long_enough() -> None:
    network, _, waits = member()
    assert waits.next_at(7.0) == 7.0
    born(network, Asked("all", 0.2))
    assert waits.next_at(1e9) == network.now + 0.2
    looked_up(network)

    assert waits.next_at(1e9) == network.now + 0.2
    network.run(0.2)
    assert waits.next_at(1e9) == network.now + Timing().fresh_timeout_s - 0.2


@pytest.mark.parametrize("ready", [True, False])
def test_only_members_with_their_state_are_asked(ready: bool) -> None:
    network, hand, _ = member(ready=ready)
    ticket = born(network, Asked("one", 1.0))

    assert ticket.is_done is not ready
    if ready:
        hand.acknowledge()
    assert ticket.acknowledged == ("m9",) * ready


def test_a_member_that_becomes_ready_is_sent_what_is_waited_for() -> None:
    network, first, _ = member()
    ticket = born(network, Asked("one", 5.0))
    second = network.by_hand("m1", 8)
    second.hello(ready=False)
    second.forget()
    assert whole_ones(second) == []
    second.send(Status(True))
    assert whole_ones(second) == [KEY]
    second.acknowledge()

    assert (ticket.is_met, ticket.acknowledged) == (True, ("m8",))
    assert whole_ones(first) == []


def test_who_has_acknowledged_and_says_that_it_is_ready_is_sent_nothing() -> None:
    network, hand, _ = member()
    ticket = born(network, Asked("one", 5.0))
    hand.acknowledge()
    assert ticket.is_met
    hand.forget()
    for _ in range(3):
        hand.send(Status(True))

    assert hand.deltas() == []


def test_a_sign_of_life_does_not_send_a_record_again_and_again() -> None:
    network, hand, _ = member()
    born(network, Asked("one", 60.0))
    for _ in range(5):
        hand.send(Status(True))

    # Each sign of life of a ready member says that it is ready.
    assert len(whole_ones(hand)) <= 1


@pytest.mark.parametrize("again", [False, True])
def test_what_was_committed_earlier_is_sent_whole(again: bool) -> None:
    network, hand, _ = member()
    network.commit("m1", KEY, WRITES, birth=True)
    network.commit("m1", OTHER, WRITES, birth=True)
    hand.acknowledge()
    hand.forget()
    tickets: list[Ticket] = []

    def ask(node: Node, now: float) -> None:
        tickets.append(node.acknowledgement(ALL, (KEY, OTHER), now, again=again))

    network.input("m1", ask)
    assert whole_ones(hand) == ([KEY, OTHER] if again else [])
    if again:
        hand.acknowledge()
    assert tickets[0].is_met is again


def test_nothing_is_sent_for_a_ticket_that_is_decided_already() -> None:
    network, hand, _ = member(tickets_max=1)
    network.commit("m1", OTHER, WRITES, birth=True)
    born(network)
    hand.forget()
    tickets: list[Ticket] = []
    network.input(
        "m1",
        lambda node, now: tickets.append(node.acknowledgement(ALL, (OTHER,), now, again=True)),
    )

    assert tickets[0].is_done
    assert hand.deltas() == []


def test_an_answer_to_come_is_lost_with_its_link() -> None:
    network, hand, _ = member()
    hand.live(1.0)
    ticket, lookup = born(network), looked_up(network)
    hand.close()

    assert (ticket.is_done, ticket.is_met) == (True, False)
    assert lookup.is_done and lookup.is_certain, "there is nobody left who could know it"


def test_what_is_met_and_what_is_not_is_counted() -> None:
    network, hand, _ = member()
    hand.live(1.0)
    metrics = network.nodes["m1"].metrics
    met = born(network)
    hand.acknowledge()
    late = network.commit_asking("m1", Asked("all", 0.1), KEY, {"x": b"\x02"})
    network.run(0.1)
    assert (met.is_met, late.is_met) == (True, False)
    assert (metrics.commits_waited, metrics.commits_short) == (2, 1)

    hand.close()
    at_once = network.commit_asking("m1", Asked("one", 0.1), KEY, {"x": b"\x03"})
    assert (at_once.is_done, at_once.is_met) == (True, False)
    assert (metrics.commits_waited, metrics.commits_short) == (2, 2)
