"""The state transfer at work: both sides, each against an end that the test plays by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replsession.config import Limits, Timing
from replsession.events import (
    BecameReady,
    DonorLost,
    StateGivenUp,
    StateProgress,
    StateReceived,
    StateRequested,
    StateSkipped,
)
from replsession.identity import Key
from replsession.messages import (
    Hello,
    Ping,
    StateChunk,
    StateCredit,
    StateEnd,
    StateRefused,
    StateRequest,
    Status,
)
from replsession.node import Node
from replsession.session.delta import REGISTER, Delta, Write
from replsession.session.stamp import Stamp
from replsession.wire.encoding import encode
from tests.harness import Hand, Network, some_id, some_key

DONOR = some_id(9)
BORN = Stamp(5 << 16, DONOR)


def whole_record(number: int, value: bytes = b"\x01") -> Delta:
    """A whole record as a donor sends it."""
    written = {"x": Write(BORN.hlc, DONOR, REGISTER, value)}
    return Delta(
        some_key(number), BORN, None, {DONOR: BORN.hlc}, written, 5.0, BORN, 1.0, complete=True
    )


def joiner(**timing: float) -> tuple[Network, Hand]:
    """A member that has asked the test's end for its state."""
    network = Network()
    network.add(1, timing=Timing(**timing))
    hand = network.by_hand("m1", 9)
    hand.hello()
    assert hand.got(StateRequest) == [StateRequest(1, 0)]
    return network, hand


def donor(records: int, size: int = 10, **bounds: int) -> tuple[Network, Hand]:
    """A ready member with some sessions, and the test's end as one that joins."""
    network = Network()
    network.add(1, limits=Limits(**bounds))
    network.run(1.0)
    for number in range(1, records + 1):
        network.commit("m1", some_key(number), {"x": bytes(size)}, birth=True)
    hand = network.by_hand("m1", 9)
    hand.hello(ready=False)
    return network, hand


def test_the_first_member_is_ready_after_looking_for_others() -> None:
    network = Network()
    node = network.add(1)
    network.run(0.9)
    assert not node.is_ready
    network.run(0.1)

    assert node.is_ready
    assert [type(event) for event in network.events["m1"]] == [StateSkipped, BecameReady]


def test_a_member_asks_as_soon_as_one_is_ready() -> None:
    network, _ = joiner()

    assert [event.donor.id for event in network.told("m1", StateRequested)] == [DONOR]
    assert not network.nodes["m1"].is_ready


def test_a_member_that_is_not_ready_is_asked_when_it_becomes_so() -> None:
    network = Network()
    network.add(1)
    hand = network.by_hand("m1", 9)
    hand.hello(ready=False)
    assert hand.got(StateRequest) == []

    hand.send(Status(True))
    assert hand.got(StateRequest) == [StateRequest(1, 0)]


def test_two_that_start_together_do_not_wait_for_each_other() -> None:
    network = Network()
    for number in (1, 2):
        network.add(number)
    network.run(1.25)

    for name in ("m1", "m2"):
        assert network.nodes[name].is_ready
        assert network.told(name, StateRequested) == []


def test_chunks_are_merged_as_they_come_and_credited() -> None:
    network, hand = joiner()
    hand.send(StateChunk(1, 1, 2, (whole_record(1), whole_record(2))))
    assert network.values("m1", some_key(1)) == {"x": b"\x01"}
    hand.send(StateChunk(1, 2, 4, (whole_record(3),)))

    assert hand.got(StateCredit) == [StateCredit(1, 1), StateCredit(1, 2)]
    assert not network.nodes["m1"].is_ready


def test_after_the_end_the_member_is_ready_and_says_so() -> None:
    network, hand = joiner()
    hand.send(StateChunk(1, 1, 2, (whole_record(1), whole_record(2))))
    network.run(0.25)
    hand.send(StateEnd(1, 1, 1700000000123, {some_id(3): 77}))

    (received,) = network.told("m1", StateReceived)
    assert received.donor.id == DONOR
    assert received.sent_at_ms == 1700000000123
    assert received.took_s == pytest.approx(0.25)
    assert received.sessions == {"/shop": 2}
    assert received.bytes["/shop"] > 0
    assert network.nodes["m1"].is_ready
    assert Status(True) in hand.received
    assert network.nodes["m1"].store.forgotten == {some_id(3): 77}


def test_a_chunk_that_comes_twice_is_counted_once() -> None:
    network, hand = joiner()
    for _ in range(3):
        hand.send(StateChunk(1, 1, 1, (whole_record(1),)))
    hand.send(StateEnd(1, 1, 0, {}))

    assert [event.sessions for event in network.told("m1", StateReceived)] == [{"/shop": 1}]


def test_an_empty_state_is_a_state() -> None:
    network, hand = joiner()
    hand.send(StateEnd(1, 0, 0, {}))

    assert [event.sessions for event in network.told("m1", StateReceived)] == [{}]


def test_an_end_before_all_chunks_came_is_no_end() -> None:
    network, hand = joiner()
    hand.send(StateChunk(1, 1, 1, (whole_record(1),)))
    hand.send(StateEnd(1, 2, 0, {some_id(3): 77}))

    assert not network.nodes["m1"].is_ready
    assert [event.donor.id for event in network.told("m1", DonorLost)] == [DONOR]
    assert network.nodes["m1"].store.forgotten == {}


@pytest.mark.parametrize("transfer", [0, 2])
def test_what_belongs_to_another_transfer_ends_nothing(transfer: int) -> None:
    network, hand = joiner()
    hand.send(StateRefused(transfer), StateEnd(transfer, 0, 0, {}))

    assert not network.nodes["m1"].is_ready
    assert network.told("m1", DonorLost) == []


def test_a_chunk_of_another_transfer_is_merged_all_the_same() -> None:
    network, hand = joiner()
    hand.send(StateChunk(77, 1, 256, (whole_record(1),)))
    hand.send(StateEnd(1, 0, 0, {}))

    assert network.values("m1", some_key(1)) == {"x": b"\x01"}
    assert network.nodes["m1"].is_ready


def test_a_donor_that_refuses_is_asked_again_after_a_pause() -> None:
    network, hand = joiner()
    hand.send(StateRefused(1))
    assert [(event.donor.id, event.reason) for event in network.told("m1", DonorLost)] == [
        (DONOR, "refused")
    ]
    hand.live(0.5)
    assert hand.got(StateRequest) == [StateRequest(1, 0)]

    hand.live(1.0)
    assert hand.got(StateRequest) == [StateRequest(1, 0), StateRequest(2, 0)]


def test_a_donor_that_stalls_is_given_up() -> None:
    network, hand = joiner()
    hand.live(4.0)
    hand.send(StateChunk(1, 1, 0, ()))
    hand.live(4.5)
    assert network.told("m1", DonorLost) == []

    hand.live(1.0)
    assert [event.reason for event in network.told("m1", DonorLost)] == ["stalled"]


def test_a_donor_that_leaves_is_told_and_the_next_one_is_asked() -> None:
    network, hand = joiner()
    other = network.by_hand("m1", 8)
    other.hello()
    hand.close("connection reset")

    assert other.got(StateRequest) == [StateRequest(2, 0)]
    assert [event.donor.id for event in network.told("m1", DonorLost)] == [DONOR]
    other.send(StateEnd(2, 0, 0, {}))
    assert network.nodes["m1"].is_ready


def test_a_donor_whose_link_breaks_is_not_taken_for_gone_before_it_is() -> None:
    network = Network()
    network.add(1, limits=Limits(chunk_bytes=100))
    network.run(1.0)
    for number in range(1, 12):
        network.commit("m1", some_key(number), {"x": bytes(100)}, birth=True)
    network.hold("m2", StateCredit)
    node = network.add(2)
    network.run(1.5)
    assert len(node.store) == 4, "a part of it has come"
    (link,) = node.membership.links
    network.input("m2", lambda node, now: node.link_closed(link, "connection reset", now))

    # The donor is dialled again at once, and found to be there.
    assert not node.is_ready
    assert network.told("m2", StateSkipped) == []


def test_a_donor_that_leaves_after_the_end_is_not_lost() -> None:
    network, hand = joiner()
    hand.send(StateEnd(1, 0, 0, {}))
    hand.close("connection reset")

    assert network.told("m1", DonorLost) == []


def test_a_donor_whose_place_was_taken_is_heard_no_more() -> None:
    network, hand = joiner()
    other = network.by_hand("m1", 8)
    again = replace(hand.member, id=other.member.id, incarnation=99)
    hello = Hello(again.id, again.name, again.incarnation, again.address, True, 0)

    def both_in_one_turn(node: Node, now: float) -> None:
        node.bytes_received(other.link, encode(hello), now)
        node.bytes_received(hand.link, encode(StateEnd(1, 0, 0, {})), now)

    network.input("m1", both_in_one_turn)
    assert hand.closed == "replaced by a new start"
    assert [event.reason for event in network.told("m1", DonorLost)] == ["its link is gone"]
    assert [request.transfer for request in other.got(StateRequest)] == [2]
    other.send(StateEnd(2, 0, 0, {}))
    assert network.nodes["m1"].is_ready
    assert network.nodes["m1"].metrics.links_refused == 0


def test_after_sixty_seconds_the_member_goes_on_with_what_it_has() -> None:
    network, hand = joiner()
    hand.send(StateChunk(1, 1, 1, (whole_record(1),)))
    for _ in range(70):
        hand.send(StateRefused(hand.got(StateRequest)[-1].transfer))
        hand.live(1.0)

    (given_up,) = network.told("m1", StateGivenUp)
    assert given_up.waited_s == pytest.approx(60, abs=1)
    assert network.nodes["m1"].is_ready
    assert network.values("m1", some_key(1)) == {"x": b"\x01"}
    assert len(network.told("m1", BecameReady)) == 1


def test_a_donor_sends_everything_and_then_the_end() -> None:
    network, hand = donor(3)
    network.nodes["m1"].store.forget({some_id(3): 77})
    hand.send(StateRequest(5, 0))
    (chunk,) = hand.got(StateChunk)
    assert (chunk.transfer, chunk.number) == (5, 1)
    assert [record.key for record in chunk.records] == [some_key(number) for number in (1, 2, 3)]
    assert all(record.complete and record.since is None for record in chunk.records)
    assert hand.got(StateEnd) == []

    hand.send(StateCredit(5, 1))
    (end,) = hand.got(StateEnd)
    assert (end.transfer, end.chunks, end.forgotten) == (5, 1, {some_id(3): 77})


def test_a_donor_without_sessions_sends_the_end_in_its_next_turn() -> None:
    network, hand = donor(0)
    hand.send(StateRequest(5, 0))
    network.run(0.25)

    assert [(end.transfer, end.chunks) for end in hand.got(StateEnd)] == [(5, 0)]


def test_a_donor_waits_for_credits() -> None:
    _, hand = donor(8, 100, chunk_bytes=50, transfer_window_chunks=2)
    hand.send(StateRequest(5, 0))
    assert [chunk.number for chunk in hand.got(StateChunk)] == [1, 2]
    hand.send(StateCredit(5, 1))
    assert [chunk.number for chunk in hand.got(StateChunk)] == [1, 2, 3]
    hand.send(StateCredit(99, 1), Ping())
    assert [chunk.number for chunk in hand.got(StateChunk)] == [1, 2, 3]

    for number in range(2, 9):
        hand.send(StateCredit(5, number))
    assert [chunk.number for chunk in hand.got(StateChunk)] == list(range(1, 9))
    assert [end.chunks for end in hand.got(StateEnd)] == [8]


def test_ended_sessions_travel_with_their_age_as_long_as_they_are_remembered() -> None:
    network, hand = donor(2)
    network.destroy("m1", some_key(1))
    hand.acknowledge()
    hand.live(10.0)
    hand.send(StateRequest(5, 0))

    ended, alive = hand.got(StateChunk)[0].records
    assert (ended.key, ended.attributes) == (some_key(1), {})
    assert ended.destroyed is not None
    assert ended.destroyed_age_s == pytest.approx(10.0)
    assert alive.destroyed is None
    assert alive.age_s == pytest.approx(10.0)


def test_a_member_without_its_state_refuses() -> None:
    _, hand = joiner()
    hand.send(StateRequest(3, 0))

    assert hand.got(StateRefused) == [StateRefused(3)]


def test_a_donor_serves_so_many_at_once() -> None:
    network, first = donor(1, transfers_at_once_max=1)
    second = network.by_hand("m1", 8)
    second.hello(ready=False)
    first.send(StateRequest(1, 0))
    second.send(StateRequest(1, 0))
    assert second.got(StateRefused) == [StateRefused(1)]

    first.send(StateCredit(1, 1))
    second.send(StateRequest(2, 0))
    assert len(second.got(StateChunk)) == 1


def test_a_joiner_that_goes_silent_leaves_room_for_the_next_one() -> None:
    network, first = donor(1, transfers_at_once_max=1)
    second = network.by_hand("m1", 8)
    second.hello(ready=False)
    first.send(StateRequest(1, 0))
    for _ in range(6):
        first.live(1.0)
        second.send(Ping())
    second.send(StateRequest(1, 0))

    assert second.got(StateRefused) == []
    assert len(second.got(StateChunk)) == 1


def test_a_joiner_that_asks_again_begins_anew() -> None:
    _, hand = donor(1, transfers_at_once_max=1)
    hand.send(StateRequest(1, 0), StateRequest(2, 0))
    hand.send(StateCredit(1, 1))
    assert hand.got(StateEnd) == []
    hand.send(StateCredit(2, 1))

    assert [end.transfer for end in hand.got(StateEnd)] == [2]


def test_a_request_that_comes_twice_or_late_begins_nothing() -> None:
    _, hand = donor(3, 100, chunk_bytes=50, transfer_window_chunks=1)
    hand.send(StateRequest(2, 0), StateCredit(2, 1))
    hand.send(StateRequest(2, 0), StateRequest(1, 0))

    assert [(chunk.transfer, chunk.number) for chunk in hand.got(StateChunk)] == [(2, 1), (2, 2)]


def test_a_donor_begins_where_it_is_asked_to_and_says_which_buckets_are_complete() -> None:
    network, hand = donor(5, 100, chunk_bytes=250, transfer_window_chunks=9)
    network.commit("m1", Key("/other", some_key(4).locator), {"x": bytes(100)}, birth=True)
    hand.send(StateRequest(1, 3))
    chunks = [
        ([record.key.locator[0] for record in chunk.records], chunk.bucket)
        for chunk in hand.got(StateChunk)
    ]

    assert chunks == [([3, 4], 4), ([4, 5], 6)]


def test_a_donor_that_is_asked_for_nothing_sends_what_it_has_forgotten() -> None:
    network, hand = donor(3)
    network.nodes["m1"].store.forget({some_id(3): 77})
    hand.send(StateRequest(5, 256))
    network.run(0.25)

    assert hand.got(StateChunk) == []
    assert [(end.chunks, end.forgotten) for end in hand.got(StateEnd)] == [(0, {some_id(3): 77})]


def test_a_long_record_is_complete_with_its_last_piece() -> None:
    network, hand = donor(1, chunk_bytes=1, piece_bytes=50, transfer_window_chunks=9)
    network.commit("m1", some_key(7), {f"n{n}": bytes(40) for n in range(3)}, birth=True)
    hand.send(StateRequest(1, 0))

    assert [chunk.bucket for chunk in hand.got(StateChunk)] == [2, 7, 7, 8]


def test_the_next_donor_is_asked_for_what_is_not_finished() -> None:
    network, hand = joiner()
    other = network.by_hand("m1", 8)
    other.hello()
    hand.send(StateChunk(1, 1, 40, (whole_record(1), whole_record(40))))
    network.run(1.0)
    hand.close("connection reset")
    assert other.got(StateRequest) == [StateRequest(2, 40)]
    network.run(0.5)
    other.send(StateChunk(2, 1, 200, (whole_record(40), whole_record(90))))
    other.send(StateEnd(2, 1, 0, {some_id(3): 77}))

    (received,) = network.told("m1", StateReceived)
    assert received.donor.id == some_id(8)
    assert received.sessions == {"/shop": 3}
    assert received.took_s == pytest.approx(1.5)
    assert network.nodes["m1"].is_ready


def test_what_follows_a_chunk_that_is_missing_is_not_finished() -> None:
    network, hand = joiner()
    other = network.by_hand("m1", 8)
    other.hello()
    hand.send(StateChunk(1, 1, 20, (whole_record(1),)))
    hand.send(StateChunk(1, 3, 90, (whole_record(3),)))
    hand.close("connection reset")

    assert other.got(StateRequest) == [StateRequest(2, 20)]


def test_a_donor_that_is_asked_again_goes_on_too() -> None:
    _, hand = joiner()
    hand.send(StateChunk(1, 1, 20, (whole_record(1),)))
    hand.send(StateEnd(1, 2, 0, {}))
    hand.live(1.5)

    assert hand.got(StateRequest) == [StateRequest(1, 0), StateRequest(2, 20)]


def test_who_is_refused_asks_the_next_one_at_once() -> None:
    network, hand = joiner()
    other = network.by_hand("m1", 8)
    other.hello()
    hand.send(StateRefused(1))

    assert other.got(StateRequest) == [StateRequest(2, 0)]


def test_a_long_transfer_says_how_far_it_is_by_what_comes_and_not_by_a_timer() -> None:
    network, hand = joiner()
    hand.send(StateChunk(1, 1, 64, (whole_record(1),)))
    assert network.told("m1", StateProgress) == []
    hand.live(2.0)
    network.run(1.1)
    assert network.told("m1", StateProgress) == []

    hand.send(StateChunk(1, 2, 128, (whole_record(2),)))
    hand.send(StateChunk(1, 3, 192, (whole_record(3),)))

    (told,) = network.told("m1", StateProgress)
    assert (told.donor.id, told.progress, told.sessions) == (DONOR, 0.5, {"/shop": 2})
    assert told.bytes["/shop"] > 0


def test_how_it_ended_is_kept() -> None:
    network, hand = joiner()
    assert network.nodes["m1"].transfers.outcome is None
    network.run(0.5)
    hand.send(StateEnd(1, 0, 0, {}))
    transfers = network.nodes["m1"].transfers
    assert transfers.outcome == network.told("m1", StateReceived)[0]
    assert transfers.ended_at == network.now
