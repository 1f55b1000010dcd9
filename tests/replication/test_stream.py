"""The stream: what comes in is applied and acknowledged, and what is missing is asked for."""

from __future__ import annotations

import pytest

from replsession.concern import Asked
from replsession.config import Limits, Timing
from replsession.events import OutboxOverflowed
from replsession.identity import Key
from replsession.messages import (
    Acknowledge,
    Deltas,
    RecordRequest,
    RepairAnswer,
    RepairOffer,
    Urge,
)
from replsession.replication.stream import KEYS_IN_MESSAGE_MAX
from replsession.session.delta import REGISTER, Delta, Piece, Write
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.record import INTERVAL
from replsession.session.stamp import Stamp
from tests.harness import Hand, Network, some_id, some_key

KEY = some_key(1)
NINE = some_id(9)
BORN = Stamp(5 << 16, NINE)
TENTH_S = 10.0
SOON_S = Timing().acknowledge_within_s
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


def stream(since: int, hlc: int, /, **written: bytes | None) -> Delta:
    """The writes of one request of member 9."""
    writes = {name: Write(hlc, NINE, REGISTER, value) for name, value in written.items()}
    return Delta(KEY, BORN, since, {NINE: hlc}, writes, 0.0, Stamp(hlc, NINE), 0.0)


def test_what_comes_is_applied_and_then_acknowledged() -> None:
    network, hand = member()
    hand.send(
        Deltas(7, (stream(0, BORN.hlc, x=b"\x01"), stream(BORN.hlc, BORN.hlc + 1, y=b"\x02")))
    )
    network.run(SOON_S)

    assert network.values("m1", KEY) == {"x": b"\x01", "y": b"\x02"}
    assert hand.got(Acknowledge) == [Acknowledge(7)]
    assert network.nodes["m1"].metrics.deltas_received == 2


def test_what_comes_twice_is_acknowledged_twice() -> None:
    network, hand = member()
    for batch in (7, 8, 7):
        hand.send(Deltas(batch, (stream(0, BORN.hlc, x=b"\x01"),)))
    network.run(SOON_S)

    assert hand.got(Acknowledge) == [Acknowledge(7), Acknowledge(8), Acknowledge(7)]
    assert network.values("m1", KEY) == {"x": b"\x01"}


def test_a_quarter_of_the_window_is_acknowledged_at_once() -> None:
    _, hand = member(window_bytes=4000)
    hand.send(Deltas(1, (stream(0, BORN.hlc, x=bytes(500)),)))
    assert hand.got(Acknowledge) == []
    hand.send(Deltas(2, (stream(0, BORN.hlc, x=bytes(500)),)))

    assert hand.got(Acknowledge) == [Acknowledge(1), Acknowledge(2)]
    hand.send(Deltas(3, (stream(0, BORN.hlc, x=bytes(500)),)))
    assert hand.got(Acknowledge) == [Acknowledge(1), Acknowledge(2)]


def test_acknowledged_deltas_are_counted() -> None:
    network, hand = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    hand.acknowledge()
    hand.acknowledge()

    assert network.nodes["m1"].metrics.deltas_acknowledged == 1


def test_a_member_that_acknowledges_nothing_is_given_up() -> None:
    network, hand = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    hand.live(4.5)
    assert hand.closed is None

    hand.live(1.0)
    assert hand.closed == "acknowledges nothing"


def test_while_a_member_is_slow_its_deltas_are_joined() -> None:
    network, hand = member(window_bytes=1)
    for number in range(10):
        network.commit("m1", KEY, {"x": bytes([number]), f"n{number}": b"\x01"}, birth=number == 0)
    assert len(hand.deltas()) == 1
    hand.acknowledge()
    first, rest = hand.deltas()

    assert rest.since == first.writer.hlc
    assert rest.attributes["x"].value == bytes([9])
    assert len(rest.attributes) == 10


def test_a_logout_while_a_member_is_slow_ends_the_session_there() -> None:
    network, hand = member(window_bytes=1)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.commit("m1", KEY, {"x": b"\x02"})
    network.destroy("m1", KEY)
    hand.acknowledge()

    assert [delta.destroyed is not None for delta in hand.deltas()] == [False, True]


def test_a_member_that_is_too_slow_is_left_to_repair_and_nobody_waits() -> None:
    network, hand = member(window_bytes=1, outbox_deltas_max=5)
    for number in range(1, 20):
        network.commit("m1", some_key(number), {"x": b"\x01"}, birth=True)

    overflows = network.told("m1", OutboxOverflowed)
    assert [(event.member.id, event.deltas) for event in overflows] == [(NINE, 6)] * 3
    assert network.nodes["m1"].metrics.outboxes_overflowed == 3
    hand.acknowledge()
    hand.live(0.5)
    assert len(hand.got(RepairOffer)) == 0
    hand.live(5.0)
    assert len(hand.got(RepairOffer)) >= 1


def test_what_was_thrown_away_is_repaired_as_soon_as_there_is_room() -> None:
    network = Network()
    network.add(1, limits=Limits(window_bytes=1, outbox_deltas_max=5))
    network.run(1.0)
    hand = network.by_hand("m1", 9)
    hand.hello()
    hand.live(5.5)
    hand.send(RepairAnswer(hand.got(RepairOffer)[-1].round, ()))
    rounds = len(hand.got(RepairOffer))
    for number in range(1, 8):
        network.commit("m1", some_key(number), {"x": b"\x01"}, birth=True)
    hand.acknowledge()
    hand.live(0.5)

    assert len(hand.got(RepairOffer)) == rounds + 1


def test_after_a_gap_the_record_is_asked_for() -> None:
    network, hand = member()
    hand.send(Deltas(1, (stream(0, BORN.hlc, x=b"\x01"), stream(BORN.hlc + 5, BORN.hlc + 9))))
    assert hand.got(RecordRequest) == [RecordRequest((KEY,))]

    hand.live(1.5)
    assert len(hand.got(RecordRequest)) == 2
    assert network.nodes["m1"].metrics.gaps == 1


def test_a_record_that_is_asked_for_comes_whole() -> None:
    network, hand = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    hand.forget()
    hand.send(RecordRequest((some_key(77), KEY)))

    (record,) = hand.deltas()
    assert (record.key, record.since, record.complete) == (KEY, None, True)
    assert record.version == {some_id(1): record.born.hlc}


def test_a_sleeping_record_is_given_when_asked() -> None:
    network, hand = member()
    hand.live(5.5)
    hand.send(RepairAnswer(hand.got(RepairOffer)[-1].round, ()))
    network.commit("m1", KEY, {**LIMITS, "x": b"\x01"}, birth=True)
    hand.acknowledge()
    hand.live(TENTH_S * 12)
    assert network.nodes["m1"].store.counted(KEY.locator[0], network.now) == {}
    hand.forget()
    hand.send(RecordRequest((KEY,)))

    assert [delta.attributes["x"].value for delta in hand.deltas()] == [b"\x01"]


def test_who_writes_to_an_ended_session_gets_the_tombstone() -> None:
    network, hand = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.destroy("m1", KEY)
    hand.forget()
    hand.send(Deltas(1, (stream(BORN.hlc, BORN.hlc + 5, x=b"\x02"),)))

    assert [delta.destroyed is not None for delta in hand.deltas()] == [True]


def test_a_buried_session_is_told_to_everybody() -> None:
    network, hand = member()
    other = network.by_hand("m1", 8)
    other.hello()
    network.nodes["m1"].store.forget({NINE: BORN.hlc})
    hand.send(Deltas(1, (stream(BORN.hlc, BORN.hlc + 5, x=b"\x02"),)))

    for end in (hand, other):
        assert [(delta.key, delta.destroyed is not None) for delta in end.deltas()] == [(KEY, True)]


def test_a_gap_is_filled_by_the_writer_if_it_can_be_asked() -> None:
    network, hand = member()
    other = network.by_hand("m1", 8)
    other.hello()
    hand.send_deltas(stream(0, BORN.hlc, x=b"\x01"))
    other.send_deltas(stream(BORN.hlc + 1, BORN.hlc + 2, y=b"\x02"))

    assert hand.got(RecordRequest) == [RecordRequest((KEY,))]
    assert other.got(RecordRequest) == []


def test_a_gap_is_filled_by_who_sent_it_if_its_writer_is_out_of_reach() -> None:
    network, hand = member()
    other = network.by_hand("m1", 8)
    other.hello()
    hand.send_deltas(stream(0, BORN.hlc, x=b"\x01"))
    hand.close()
    other.forget()
    other.send_deltas(stream(BORN.hlc + 1, BORN.hlc + 2, y=b"\x02"))

    assert other.got(RecordRequest) == [RecordRequest((KEY,))]


def test_if_whom_to_ask_is_gone_everybody_is_asked() -> None:
    network, hand = member()
    other = network.by_hand("m1", 8)
    other.hello()
    hand.send_deltas(stream(0, BORN.hlc, x=b"\x01"))
    other.forget()
    network.nodes["m1"].intake.want(KEY, some_id(77), network.now)
    network.run(0.6)

    assert other.got(RecordRequest) == hand.got(RecordRequest) == [RecordRequest((KEY,))]


# What an acknowledgement says, and what it means.


def of_another(since: int, hlc: int, number: int = 2) -> Delta:
    """A write to another session, whose birth never came unless *since* is 0."""
    return stream(since, hlc, x=b"\x02")._replace(key=some_key(number))


def test_what_is_not_here_whole_is_named_in_the_acknowledgement() -> None:
    network, hand = member()
    hand.send(Deltas(7, (stream(0, BORN.hlc), of_another(BORN.hlc, BORN.hlc + 1))))
    hand.send(Deltas(8, (stream(BORN.hlc, BORN.hlc + 1),)))
    network.run(SOON_S)

    assert hand.got(Acknowledge) == [Acknowledge(7, (some_key(2),)), Acknowledge(8)]


def test_what_became_whole_within_the_batch_is_not_named() -> None:
    network, hand = member()
    late = stream(BORN.hlc, BORN.hlc + 5, x=b"\x02")
    record = late._replace(since=None, version={NINE: BORN.hlc + 5})
    hand.send(Deltas(7, (late, record)))
    network.run(SOON_S)

    assert hand.got(Acknowledge) == [Acknowledge(7)]
    assert network.values("m1", KEY) == {"x": b"\x02"}


def test_after_a_gap_the_session_is_named() -> None:
    network, hand = member()
    hand.send(Deltas(7, (stream(0, BORN.hlc, x=b"\x01"), stream(BORN.hlc + 5, BORN.hlc + 9))))
    network.run(SOON_S)

    assert hand.got(Acknowledge) == [Acknowledge(7, (KEY,))]


def test_pieces_are_named_until_all_of_them_are_there() -> None:
    network, hand = member()
    whole = stream(0, BORN.hlc)._replace(since=None)
    for number in (0, 2, 1):
        written = {f"n{number}": Write(BORN.hlc, NINE, REGISTER, b"\x01")}
        piece = whole._replace(attributes=written, piece=Piece(4, number, 3))
        hand.send(Deltas(10 + number, (piece,)))
    network.run(SOON_S)

    assert hand.got(Acknowledge) == [
        Acknowledge(10, (KEY,)),
        Acknowledge(12, (KEY,)),
        Acknowledge(11),
    ]


def test_an_ended_session_is_never_named() -> None:
    network, hand = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.destroy("m1", KEY)
    hand.forget()
    hand.send(Deltas(7, (stream(BORN.hlc, BORN.hlc + 5, x=b"\x02"),)))
    network.run(SOON_S)

    assert hand.got(Acknowledge) == [Acknowledge(7)]


def test_an_urge_is_answered_at_once() -> None:
    _, hand = member()
    hand.send(Deltas(7, (stream(0, BORN.hlc),)), Urge(), Deltas(8, (stream(0, BORN.hlc),)))
    # The second came in the same moment, so it is told of as well.
    assert hand.got(Acknowledge) == [Acknowledge(7), Acknowledge(8)]
    hand.send(Deltas(9, (stream(0, BORN.hlc),)))

    assert len(hand.got(Acknowledge)) == 2


def test_a_record_that_was_asked_for_is_acknowledged_like_a_write() -> None:
    network, hand = member()
    ticket = network.commit_asking("m1", Asked("all", 60.0), KEY, {"x": b"\x01"}, birth=True)
    hand.send(Acknowledge(hand.got(Deltas)[-1].batch, (KEY,)), RecordRequest((KEY,)))
    assert not ticket.is_done
    hand.send(Acknowledge(hand.got(Deltas)[-1].batch))

    assert ticket.is_met


@pytest.mark.parametrize("batch", [1, 5])
def test_an_acknowledgement_of_a_batch_that_was_never_sent_is_nothing(batch: int) -> None:
    network, hand = member()
    ticket = network.commit_asking("m1", Asked("all", 60.0), KEY, {"x": b"\x01"}, birth=True)
    sent = hand.got(Deltas)[-1].batch
    hand.send(Acknowledge(sent + batch), Acknowledge(sent + batch, (KEY,)))

    assert not ticket.is_done
    assert network.nodes["m1"].metrics.deltas_acknowledged == 0


def test_very_many_records_are_asked_for_in_several_messages() -> None:
    network, hand = member()
    node = network.nodes["m1"]
    for number in range(KEYS_IN_MESSAGE_MAX + 5):
        node.intake.want(Key("/shop", number.to_bytes(12, "big")), None, network.now)
    hand.live(0.5)

    asked = [len(request.keys) for request in hand.got(RecordRequest)]
    assert asked == [KEYS_IN_MESSAGE_MAX, 5]


def test_who_sends_less_of_a_sleeping_session_gets_it() -> None:
    network, hand = member()
    network.commit("m1", KEY, {**LIMITS, "x": b"\x01"}, birth=True)
    (sent,) = hand.deltas()
    network.nodes["m1"].store.put_to_sleep(KEY, network.now, 0.0)
    hand.forget()
    less = sent._replace(since=None, attributes={}, complete=True)
    hand.send_deltas(less)

    (record,) = hand.deltas()
    assert record.asleep_s == 0.0
    assert record.attributes["x"].value == b"\x01"
