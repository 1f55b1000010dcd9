"""Write concerns between nodes: who must hold a write, who does, and who never will."""

from __future__ import annotations

import pytest

from replsession.concern import Asked, Concern
from replsession.config import Limits
from replsession.events import MemberLeft, OutboxOverflowed
from replsession.messages import Acknowledge, Deltas, StateCredit, Urge
from replsession.node import Node
from replsession.replication.acks import Ticket
from replsession.replication.outbox import HELD_ALL
from replsession.replication.pieces import whole
from replsession.session.change import Change
from replsession.session.record import Record
from tests.harness import Hand, Network, of_kind, some_id, some_key

KEY = some_key(1)
ONE, NINE = some_id(1), some_id(9)
WRITES: dict[str, bytes | None] = {"x": b"\x01"}
LATE_S = 1.0


def asked(
    concern: Concern = "all", timeout_s: float = LATE_S, expected: int | None = None
) -> Asked:
    return Asked(concern, timeout_s, expected)


def cluster(*numbers: int, **bounds: int) -> Network:
    """Members that have found each other and are ready."""
    network = Network()
    for number in numbers:
        network.add(number, limits=Limits(**bounds))
    network.run(2.0)
    assert all(node.is_ready for node in network.nodes.values())
    return network


def facing(**bounds: int) -> tuple[Network, Hand]:
    """A ready member, and the test's end as the ready member 9."""
    network = cluster(1, **bounds)
    hand = network.by_hand("m1", 9)
    hand.hello()
    hand.forget()
    return network, hand


def acknowledge(hand: Hand, *partial: int) -> None:
    """Acknowledge what came last, and say of these sessions that something is missing."""
    batch = hand.got(Deltas)[-1].batch
    hand.send(Acknowledge(batch, tuple(map(some_key, partial))))


def born(network: Network, name: str = "m1", ask: Asked | None = None) -> Ticket:
    """Begin a session with a write concern."""
    return network.commit_asking(name, ask or asked(), KEY, WRITES, birth=True)


def handed_out(network: Network, name: str = "m1") -> list[Ticket]:
    """The tickets that a member has handed out."""
    return of_kind(Ticket, network.done[name])


@pytest.mark.parametrize("concern", ["one", "majority", "all"])
@pytest.mark.parametrize("members", [2, 3, 5])
def test_it_is_met_without_any_time_passing(concern: Concern, members: int) -> None:
    network = cluster(*range(1, members + 1))
    before = network.now
    ticket = born(network, ask=asked(concern))

    assert (ticket.is_done, ticket.is_met, network.now) == (True, True, before)
    assert handed_out(network) == [ticket]
    needed = {"one": 1, "majority": members // 2, "all": members - 1}[concern]
    assert (ticket.needed, len(ticket.acknowledged) >= needed) == (needed, True)
    for name in ticket.acknowledged:
        assert network.values(name, KEY) == WRITES
    metrics = network.nodes["m1"].metrics
    assert (metrics.commits_waited, metrics.commits_short) == (1, 0)


def test_nobody_is_urged_for_a_commit_that_nobody_waits_for() -> None:
    network = cluster(1, 2)
    network.commit("m1", KEY, WRITES, birth=True)
    network.commit_asking("m1", asked("async"), KEY, {"x": b"\x02"})

    assert network.frames_of("m1", Urge) == []
    assert network.frames_of("m2", Acknowledge) == []
    assert network.nodes["m1"].metrics.commits_waited == 0
    network.commit_asking("m1", asked("one"), KEY, {"x": b"\x03"})
    assert len(network.frames_of("m1", Urge)) == 1
    # What was sent before and not acknowledged yet is acknowledged with it.
    assert len(network.frames_of("m2", Acknowledge)) == 3


def test_it_is_not_met_before_a_member_has_acknowledged() -> None:
    network = cluster(1, 2, 3)
    network.hold("m2", Acknowledge)
    network.hold("m3", Acknowledge)
    ticket = born(network, ask=asked("one"))
    assert (ticket.is_done, ticket.missing) == (False, ("m2", "m3"))
    network.release("m3")

    assert (ticket.is_met, ticket.acknowledged, ticket.missing) == (True, ("m3",), ("m2",))
    assert handed_out(network) == [ticket]


@pytest.mark.parametrize("concern", ["majority", "all"])
def test_at_its_deadline_it_says_who_is_missing(concern: Concern) -> None:
    network = cluster(1, 2, 3, 4)
    for name in ("m3", "m4"):
        network.hold(name, Acknowledge)
    ticket = born(network, ask=asked(concern, 0.4))
    network.run(0.399)
    assert not ticket.is_done
    network.run(0.001)

    assert (ticket.is_done, ticket.is_met) == (True, False)
    assert (ticket.acknowledged, ticket.missing) == (("m2",), ("m3", "m4"))
    assert network.nodes["m1"].metrics.commits_short == 1
    # It is not undone, and who was late has it as well.
    for name in network.nodes:
        assert network.values(name, KEY) == WRITES


def test_a_ticket_is_handed_out_once() -> None:
    network = cluster(1, 2)
    ticket = born(network)
    network.run(3.0)

    assert handed_out(network) == [ticket]


@pytest.mark.parametrize("concern", ["one", "majority", "all"])
@pytest.mark.parametrize("expected", [None, 3])
def test_alone_it_is_decided_at_once(concern: Concern, expected: int | None) -> None:
    network = cluster(1)
    ticket = born(network, ask=asked(concern, expected=expected))

    assert ticket.is_done
    assert ticket.is_met is (concern != "one" and expected is None)
    assert handed_out(network) == [], "who asked knows it already"
    assert network.values("m1", KEY) == WRITES
    assert network.nodes["m1"].metrics.commits_waited == 0
    assert network.nodes["m1"].metrics.commits_short == (not ticket.is_met)


@pytest.mark.parametrize("expected", [3, 5])
def test_of_two_halves_at_most_one_has_a_majority_of_those_expected(expected: int) -> None:
    network = cluster(*range(1, expected + 1))
    small = expected // 2
    for one in range(1, small + 1):
        for other in range(small + 1, expected + 1):
            network.part(f"m{one}", f"m{other}")
    network.run(6.0)

    inside = born(network, f"m{expected}", asked("majority", expected=expected))
    outside = network.commit_asking(
        "m1", asked("majority", expected=expected), some_key(2), WRITES, birth=True
    )
    assert (inside.is_met, inside.needed) == (True, small)
    assert (outside.is_done, outside.is_met) == (True, False)


def test_a_majority_counts_those_who_vanished_too() -> None:
    network = cluster(1, 2, 3)
    for name in ("m2", "m3"):
        network.part("m1", name)
    network.run(6.0)
    assert len(network.told("m1", MemberLeft)) == 2
    cut_off = born(network, ask=asked("majority"))
    others = network.commit_asking("m2", asked("majority"), some_key(2), WRITES, birth=True)

    assert (cut_off.is_met, others.is_met) == (False, True)


def test_restarts_under_one_name_do_not_grow_the_majority() -> None:
    network = cluster(1, 2, 3)
    for again in range(3):
        network.kill("m3")
        network.run(1.0)
        network.add(10 + again, name="m3", port=4003)
        network.run(3.0)
    ticket = born(network, ask=asked("majority"))

    assert (ticket.is_met, ticket.needed, sorted(ticket.names)) == (True, 1, ["m2", "m3"])


def test_who_said_goodbye_is_not_waited_for() -> None:
    network = cluster(1, 2, 3)
    network.hold("m2", Acknowledge)
    network.hold("m3", Acknowledge)
    ticket = born(network)
    network.release("m3")
    assert not ticket.is_done
    network.drop_held("m2")
    network.stop("m2")

    assert (ticket.is_met, ticket.needed, ticket.acknowledged) == (True, 1, ("m3",))


@pytest.mark.parametrize("concern", ["one", "majority", "all"])
def test_when_nobody_is_left_it_fails_at_once(concern: Concern) -> None:
    network = cluster(1, 2, 3)
    for name in ("m2", "m3"):
        network.hold(name, Acknowledge)
    ticket = born(network, ask=asked(concern, 60.0))
    before = network.now
    network.kill("m2")
    assert ticket.is_done is (concern == "all")
    network.kill("m3")

    assert (ticket.is_done, ticket.is_met, ticket.missing) == (True, False, ("m2", "m3"))
    assert network.now == before


@pytest.mark.parametrize("concern", ["one", "majority"])
def test_who_crashes_and_comes_back_is_asked_again(concern: Concern) -> None:
    network = cluster(1, 2, 3)
    for name in ("m2", "m3"):
        network.hold(name)
    ticket = born(network, ask=asked(concern, 60.0))
    network.kill("m2")
    assert not ticket.is_done
    again = network.add(12, name="m2", port=4002)
    network.run(2.0)

    assert again.is_ready
    assert (ticket.is_met, ticket.acknowledged, ticket.missing) == (True, ("m2",), ("m3",))
    assert network.values("m2", KEY) == WRITES


def test_a_member_without_its_state_is_not_asked() -> None:
    network = cluster(1, 2, chunk_bytes=100)
    for number in range(2, 12):
        network.commit("m1", some_key(number), {"x": bytes(100)}, birth=True)
    network.hold("m3", StateCredit)
    joiner = network.add(3)
    network.run(0.5)
    assert not joiner.is_ready
    assert len(network.nodes["m1"].membership.view) == 2
    ticket = born(network)

    assert (ticket.is_met, ticket.needed, ticket.acknowledged) == (True, 1, ("m2",))
    network.hold("m2", Acknowledge)
    waiting = network.commit_asking("m1", asked("one", 60.0), KEY, {"x": b"\x02"})
    assert waiting.missing == ("m2",)
    network.release("m3")
    network.run(1.0)
    assert joiner.is_ready
    assert (waiting.is_met, waiting.acknowledged) == (True, ("m3",))


def test_a_newcomer_does_not_stand_in_for_one_of_all() -> None:
    network = cluster(1, 2)
    network.hold("m2", Acknowledge)
    ticket = born(network, ask=asked(timeout_s=60.0))
    network.add(3)
    network.run(2.0)
    assert (ticket.is_done, ticket.missing) == (False, ("m2",))
    network.release("m2")

    assert (ticket.is_met, ticket.acknowledged) == (True, ("m2",))


def test_beyond_the_bound_a_commit_fails_at_once_and_is_kept() -> None:
    network, hand = facing(tickets_max=2)
    tickets = [
        network.commit_asking("m1", asked(), some_key(number), WRITES, birth=True)
        for number in (1, 2, 3)
    ]

    assert [ticket.is_done for ticket in tickets] == [False, False, True]
    assert not tickets[2].is_met
    assert network.nodes["m1"].metrics.commits_short == 1
    hand.acknowledge()
    assert [ticket.is_met for ticket in tickets] == [True, True, False]
    assert handed_out(network) == tickets[:2]
    assert network.values("m1", some_key(3)) == WRITES


def test_the_batch_with_the_write_counts_and_no_other() -> None:
    network, hand = facing()
    network.commit("m1", KEY, WRITES, birth=True)
    ticket = network.commit_asking("m1", asked(), KEY, {"x": b"\x02"})
    network.commit("m1", KEY, {"x": b"\x03"})
    before, batch, after = (message.batch for message in hand.got(Deltas))
    hand.send(Acknowledge(before), Acknowledge(77))
    assert not ticket.is_done
    hand.send(Acknowledge(batch))

    assert ticket.is_met
    assert after not in (before, batch)


def test_a_later_batch_with_a_write_of_the_same_session_stands_for_it() -> None:
    network, hand = facing()
    ticket = born(network)
    network.commit("m1", KEY, {"x": b"\x02"})
    hand.send(Acknowledge(hand.got(Deltas)[-1].batch))

    assert ticket.is_met


def test_a_member_that_has_the_session_in_part_does_not_hold_it() -> None:
    network, hand = facing()
    ticket = born(network, ask=asked(timeout_s=60.0))
    acknowledge(hand, 2, 1)
    assert not ticket.is_done
    network.commit_asking("m1", asked(timeout_s=60.0), KEY, {"x": b"\x02"})
    acknowledge(hand, 2)

    assert ticket.is_met


def test_a_whole_record_says_what_its_holder_has_of_ours() -> None:
    network, hand = facing()
    ticket = born(network, ask=asked(timeout_s=60.0))
    record = network.nodes["m1"].store.peek(KEY)
    assert record is not None
    news = whole(record, network.now)
    hand.send_deltas(news._replace(version={ONE: news.version[ONE] - 1}))
    hand.send_deltas(news._replace(complete=False))
    assert not ticket.is_done
    hand.send_deltas(news)

    assert (ticket.is_met, ticket.acknowledged) == (True, ("m9",))


def test_the_end_that_another_member_knows_of_stands_for_all() -> None:
    network, hand = facing()
    ticket = born(network, ask=asked(timeout_s=60.0))
    record = network.nodes["m1"].store.peek(KEY)
    assert record is not None
    ended = Record.from_delta(whole(record, network.now), network.now)
    ended.destroy(record.born._replace(hlc=record.born.hlc + 9, member=NINE), network.now)
    hand.send_deltas(whole(ended, network.now))

    assert ticket.is_met
    assert network.values("m1", KEY) is None


def test_an_end_and_a_birth_are_waited_for_together() -> None:
    network, hand = facing()
    network.commit("m1", KEY, WRITES, birth=True)
    hand.acknowledge()
    tickets: list[Ticket] = []

    def login(node: Node, now: float) -> None:
        node.commit(Change(KEY, {}, destroy=True), now)
        node.commit(Change(some_key(2), dict(WRITES), birth=True), now)
        tickets.append(node.acknowledgement(asked(), (KEY, some_key(2)), now))

    network.input("m1", login)
    (ticket,) = tickets
    assert ticket.marks[KEY] == HELD_ALL
    acknowledge(hand, 2)
    assert not ticket.is_done
    network.commit("m1", some_key(2), {"x": b"\x02"})
    acknowledge(hand)

    assert ticket.is_met


def test_what_an_overflow_has_thrown_away_is_sent_again() -> None:
    network, hand = facing(window_bytes=1, outbox_deltas_max=5)
    network.commit("m1", some_key(50), WRITES, birth=True)
    ticket = born(network, ask=asked(timeout_s=60.0))
    for number in range(2, 9):
        network.commit("m1", some_key(number), WRITES, birth=True)
    assert len(network.told("m1", OutboxOverflowed)) == 1
    for _ in range(8):
        if not ticket.is_done:
            hand.acknowledge()

    assert (ticket.is_met, ticket.acknowledged) == (True, ("m9",))
    assert [news.since for news in hand.deltas() if news.key == KEY] == [None]


def test_on_a_new_link_the_record_is_sent_again() -> None:
    network, hand = facing()
    ticket = born(network, ask=asked("one", 60.0))
    network.commit_asking("m1", asked("async"), some_key(2), WRITES, birth=True)
    # The member stays in the view: it dials anew before it is found to be gone.
    again = network.by_hand("m1", 9)
    again.hello()
    hand.close()
    assert not ticket.is_done
    keys = [news.key for news in again.deltas() if news.since is None]
    assert KEY in keys
    again.acknowledge()

    assert (ticket.is_met, ticket.acknowledged) == (True, ("m9",))


def test_what_was_committed_before_can_be_asked_for_later() -> None:
    network, hand = facing(piece_bytes=100, chunk_bytes=150)
    big: dict[str, bytes | None] = {f"n{number}": bytes(90) for number in range(4)}
    network.commit("m1", KEY, big, birth=True)
    hand.acknowledge()
    hand.forget()
    tickets: list[Ticket] = []
    network.input(
        "m1",
        lambda node, now: tickets.append(node.acknowledgement(asked(), (KEY,), now, again=True)),
    )
    (ticket,) = tickets
    batches = hand.got(Deltas)
    pieces = [news.piece for batch in batches for news in batch.deltas]
    assert len(pieces) == 4 and len(batches) > 1
    for batch in batches[:-1]:
        hand.send(Acknowledge(batch.batch))
    assert not ticket.is_done, "not all of its pieces are there"
    hand.send(Acknowledge(batches[-1].batch))

    assert (ticket.is_met, ticket.acknowledged) == (True, ("m9",))


def test_while_a_member_is_slow_what_is_joined_keeps_what_it_stands_for() -> None:
    network, hand = facing(window_bytes=1)
    network.commit("m1", KEY, WRITES, birth=True)
    tickets = [
        network.commit_asking("m1", asked(timeout_s=60.0), KEY, {f"n{number}": b"\x01"})
        for number in range(3)
    ]
    assert len(hand.deltas()) == 1
    hand.acknowledge()
    assert [ticket.is_done for ticket in tickets] == [False] * 3
    acknowledge(hand)

    assert [ticket.is_met for ticket in tickets] == [True] * 3
    assert len(hand.deltas()) == 2


def test_many_tickets_are_each_met_by_their_own_session() -> None:
    network, hand = facing(chunk_bytes=1)
    tickets = {
        number: network.commit_asking("m1", asked(), some_key(number), WRITES, birth=True)
        for number in range(1, 11)
    }
    for batch in hand.got(Deltas)[::-1]:
        hand.send(Acknowledge(batch.batch))
        (news,) = batch.deltas
        number = news.key.locator[0]
        assert tickets.pop(number).is_met
        assert not any(ticket.is_done for ticket in tickets.values())


def test_with_a_stopped_member_there_is_an_end_too() -> None:
    network, hand = facing()
    ticket = born(network, ask=asked(timeout_s=60.0))
    hand.live(4.0)
    assert not ticket.is_done
    hand.live(3.0)

    assert hand.closed == "acknowledges nothing"
    assert (ticket.is_done, ticket.is_met, ticket.missing) == (True, False, ("m9",))
