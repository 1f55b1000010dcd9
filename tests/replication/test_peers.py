"""Peers: messages become frames for links, and items go into every outbox."""

from __future__ import annotations

import pytest

from replsession.config import Limits, Timing
from replsession.messages import (
    Acknowledge,
    Deltas,
    Goodbye,
    Message,
    Ping,
    RecordAnswer,
    RepairRequest,
    StateChunk,
    Urge,
)
from replsession.metrics import Metrics
from replsession.replication.outbox import Item
from replsession.replication.peers import UNNUMBERED, Peer, Peers
from replsession.replication.pieces import pieces, whole
from replsession.replication.transfer import Donor
from replsession.session.delta import REGISTER, Delta, Write
from replsession.session.record import Record
from replsession.session.stamp import Stamp
from replsession.wire import encoding
from tests.harness import decoded, of_kind, some_id, some_key

ONE, TWO = some_id(1), some_id(2)
BORN = Stamp(5, ONE)


def peers(**bounds: int) -> Peers:
    """Two peers, on the links 10 and 20."""
    room = Peers(Limits(**bounds), Timing(), encoding, Metrics())
    room.link_up(ONE, 10)
    room.link_up(TWO, 20)
    return room


def peer(room: Peers, member: bytes = ONE) -> Peer:
    """Return a peer that is there."""
    found = room.get(member)
    assert found is not None
    return found


def taken(room: Peers) -> list[tuple[int, Message]]:
    """Take the frames out, as the node does."""
    frames, room.frames = room.frames, []
    return [(link, message) for link, frame in frames for message in decoded(frame)]


def record_of(*sizes: int) -> Record:
    """A record whose attributes have values of these sizes."""
    record = Record(some_key(1), BORN, 0.0, BORN, 0.0)
    record.complete = True
    record.version = {ONE: 5}
    for number, size in enumerate(sizes):
        record.attributes[f"n{number}"] = Write(5, ONE, REGISTER, bytes(size))
    return record


def delta(number: int = 1) -> Delta:
    """A delta without attributes."""
    return Delta(some_key(number), BORN, 0, {ONE: 5}, {}, 0.0, BORN, 0.0)


def item(number: int = 1) -> Item:
    """The delta on its way."""
    return Item(some_key(number), encoding.encode_item(delta(number)))


def test_a_message_goes_to_its_member() -> None:
    room = peers()
    room.send(TWO, Ping())
    room.send(some_id(3), Ping())

    assert taken(room) == [(20, Ping())]


def test_a_link_without_a_hello_can_be_written_to() -> None:
    room = peers()
    room.send_on(99, Ping())

    assert taken(room) == [(99, Ping())]


def test_a_frame_that_is_made_already_goes_to_its_peer() -> None:
    room = peers()
    room.send_frame(peer(room, TWO), encoding.request_frame(1, 2, (), ()))

    assert taken(room) == [(20, RepairRequest(1, 2, (), ()))]


def test_what_goes_to_all_is_encoded_once() -> None:
    room = peers()
    room.send_to_all(Goodbye())
    first, second = (frame for _, frame in room.frames)

    assert first is second
    assert taken(room) == [(10, Goodbye()), (20, Goodbye())]


def test_with_nobody_there_nothing_is_written() -> None:
    room = Peers(Limits(), Timing(), encoding, Metrics())
    room.send_to_all(Goodbye())
    room.put_for_all(item())
    room.flush(0.0)

    assert taken(room) == []
    assert len(room) == 0


def test_an_item_goes_to_everybody_as_the_same_bytes() -> None:
    room = peers()
    room.put_for_all(item())
    room.flush(0.0)

    assert taken(room) == [(10, Deltas(1, (delta(),))), (20, Deltas(1, (delta(),)))]
    assert room.metrics.deltas_sent == 2
    room.flush(0.0)
    assert taken(room) == []


def test_items_of_one_turn_leave_in_one_frame() -> None:
    room = peers()
    for number in range(5):
        room.put_for_all(item(number))
    room.flush(0.0)

    assert [len(batch.deltas) for _, batch in taken(room) if isinstance(batch, Deltas)] == [5, 5]


def test_a_message_is_sent_ahead_of_what_waits() -> None:
    room = peers()
    room.put_for_all(item())
    room.send(ONE, Ping())
    room.flush(0.0)

    assert [type(message) for link, message in taken(room) if link == 10] == [Ping, Deltas]


def test_a_long_record_travels_in_pieces_and_is_whole_on_arrival() -> None:
    room = peers(piece_bytes=100, chunk_bytes=150)
    record = record_of(90, 90, 90)
    assert room.put_record(peer(room), record, 0.0)
    room.flush(0.0)
    batches = [message for _, message in taken(room) if isinstance(message, Deltas)]
    deltas = [news for batch in batches for news in batch.deltas]
    copy = Record.from_delta(deltas[0], 0.0)
    for news in deltas:
        copy.merge(peer(room, TWO).assembly.arrived(news), 0.0)

    assert len(batches) > 1
    assert (copy.attributes, copy.version) == (record.attributes, record.version)
    assert copy.complete


def test_two_records_in_pieces_are_two_transfers() -> None:
    room = peers(piece_bytes=100)
    transfers = [
        encoding.decode_item(encoded).piece
        for _ in range(2)
        for encoded in room.encoded_record(record_of(90, 90), 0.0)
    ]

    assert len(dict.fromkeys(transfers)) == 4


def test_a_record_for_which_there_is_no_room_is_left_to_repair() -> None:
    room = peers(outbox_deltas_max=2, window_bytes=1)
    assert room.put_record(peer(room), record_of(), 0.0)
    assert room.put_record(peer(room), record_of(), 0.0)
    assert not peer(room).outbox.needs_repair

    assert not room.put_record(peer(room), record_of(), 0.0)
    assert peer(room).outbox.needs_repair
    assert not peer(room, TWO).outbox.needs_repair
    assert len(peer(room).outbox) == 2


def test_a_slow_member_loses_its_outbox_and_nobody_else_does() -> None:
    room = peers(outbox_deltas_max=2, window_bytes=1)
    room.put_for_all(item())
    room.flush(0.0)
    acknowledged = peer(room, TWO).outbox
    acknowledged.acknowledged(1)
    for number in range(3):
        room.put_for_all(item(number))
        room.flush(0.0)
        for batch in list(acknowledged.in_flight):
            acknowledged.acknowledged(batch)

    assert room.overflowed == [(ONE, 3)]
    assert room.metrics.outboxes_overflowed == 1
    assert (peer(room).outbox.needs_repair, acknowledged.needs_repair) == (True, False)


def test_a_member_without_a_link_gets_nothing_and_begins_anew_with_the_next_one() -> None:
    room = peers()
    room.put_for_all(item())
    room.link_down(ONE)
    room.link_down(ONE)
    room.flush(0.0)
    assert [link for link, _ in taken(room)] == [20]
    assert (room.get(ONE), len(room)) == (None, 1)

    room.link_up(ONE, 11)
    room.flush(0.0)
    assert taken(room) == []
    assert {found.id: found.link for found in room} == {TWO: 20, ONE: 11}


def test_chunks_of_a_transfer_leave_within_their_window() -> None:
    room = peers(chunk_bytes=1, transfer_window_chunks=3)
    encoded = [encoding.encode_item(delta(number)) for number in range(5)]
    items = ((item, number + 1) for number, item in enumerate(encoded))
    peer(room).donor = Donor(7, items, 0.0)
    room.flush(0.0)
    room.flush(0.0)

    chunks = of_kind(StateChunk, [message for _, message in taken(room)])
    assert [(chunk.transfer, chunk.number) for chunk in chunks] == [(7, 1), (7, 2), (7, 3)]
    assert [chunk.records for chunk in chunks] == [(delta(number),) for number in range(3)]
    assert [chunk.bucket for chunk in chunks] == [1, 2, 3]


def test_an_item_for_one_member_goes_to_that_one_only() -> None:
    room = peers()
    assert room.put_for(TWO, item())
    assert not room.put_for(some_id(3), item())
    room.flush(0.0)

    assert taken(room) == [(20, Deltas(1, (delta(),)))]


def test_an_outbox_that_overflows_by_an_item_for_one_is_told() -> None:
    room = peers(window_bytes=1, outbox_deltas_max=2)
    for number in range(1, 4):
        room.put_for(ONE, item(number))

    assert room.overflowed == [(ONE, 3)]
    assert room.metrics.outboxes_overflowed == 1


# Acknowledgements, and who waits for them.


def test_what_is_applied_is_acknowledged_together_and_a_little_later() -> None:
    room = peers()
    for batch in (7, 8):
        room.applied(peer(room), batch, 10, 100.0)
    soon = 100.0 + room.timing.acknowledge_within_s
    assert room.acknowledge_at(1e9) == soon
    assert room.acknowledge_at(100.0) == 100.0
    room.flush(soon - 0.001)
    assert taken(room) == []
    room.flush(soon)

    assert taken(room) == [(10, Acknowledge(7)), (10, Acknowledge(8))]
    assert room.acknowledge_at(1e9) == 1e9
    room.flush(1e6)
    assert taken(room) == []


def test_an_acknowledgement_names_what_is_missing_in_its_own_batch() -> None:
    room = peers()
    room.applied(peer(room), 7, 10, 100.0, (some_key(1), some_key(2)))
    room.applied(peer(room), 8, 10, 100.0)
    room.applied(peer(room, TWO), 7, 10, 100.0, (some_key(3),))
    room.flush(101.0)

    assert taken(room) == [
        (10, Acknowledge(7, (some_key(1), some_key(2)))),
        (10, Acknowledge(8)),
        (20, Acknowledge(7, (some_key(3),))),
    ]
    room.applied(peer(room), 7, 10, 102.0)
    room.flush(103.0)
    assert taken(room) == [(10, Acknowledge(7))], "it is not said again"


def test_who_is_urged_acknowledges_at_once() -> None:
    room = peers()
    room.applied(peer(room), 7, 10, 100.0)
    room.applied(peer(room, TWO), 9, 10, 100.0)
    room.urged(peer(room), 100.001)
    assert room.acknowledge_at(1e9) == 100.001
    room.flush(100.001)

    assert taken(room) == [(10, Acknowledge(7))]


def test_an_urge_is_for_what_came_before_it() -> None:
    room = peers()
    room.urged(peer(room), 100.0)
    assert room.acknowledge_at(1e9) == 1e9
    room.flush(100.0)
    room.applied(peer(room), 7, 10, 101.0)
    room.flush(101.0)

    assert taken(room) == []
    assert room.acknowledge_at(1e9) == 101.0 + room.timing.acknowledge_within_s


def test_a_second_urge_puts_nothing_off() -> None:
    room = peers()
    room.applied(peer(room), 7, 10, 100.0)
    for now in (100.002, 100.005):
        room.urged(peer(room), now)

    assert room.acknowledge_at(1e9) == 100.002


@pytest.mark.parametrize(("number", "urges"), [(1, True), (2, False)])
def test_an_urge_follows_the_batches_with_what_is_waited_for(number: int, urges: bool) -> None:
    room = peers(chunk_bytes=1)
    room.tracked[some_key(1)] = 1
    for _ in range(3):
        room.put_for_all(item(number))
    room.flush(0.0)

    for link in (10, 20):
        kinds = [type(message) for to, message in taken_of(room, link) if to == link]
        assert kinds == [Deltas] * 3 + [Urge] * urges


def taken_of(room: Peers, link: int) -> list[tuple[int, Message]]:
    """Take out the frames for one link."""
    frames = room.frames
    room.frames = [frame for frame in frames if frame[0] != link]
    return [(to, message) for to, frame in frames if to == link for message in decoded(frame)]


def test_while_the_window_is_shut_nobody_is_urged() -> None:
    room = peers(window_bytes=1)
    room.tracked[some_key(1)] = 1
    room.put_for_all(item(2))
    room.flush(0.0)
    taken(room)
    room.put_for_all(item(1))
    room.flush(0.0)
    assert taken(room) == []
    peer(room).outbox.acknowledged(1)
    room.flush(0.0)

    assert [(link, type(message)) for link, message in taken(room)] == [(10, Deltas), (10, Urge)]


@pytest.mark.parametrize("sizes", [(), (90, 90, 90)])
def test_a_whole_record_stands_for_what_it_has_when_its_last_piece_is_there(
    sizes: tuple[int, ...],
) -> None:
    room = peers(piece_bytes=100, chunk_bytes=1)
    room.tracked[some_key(1)] = 1
    record = record_of(*sizes)
    assert room.put_record(peer(room), record, 0.0, 77)
    room.flush(0.0)
    marks = [batch.marks for batch in peer(room).outbox.in_flight.values()]

    assert marks == [{some_key(1): 0}] * (len(sizes) - 1) + [{some_key(1): 77}]


def test_an_answer_is_sent_ahead_of_what_waits() -> None:
    room = peers(window_bytes=1)
    room.put_for_all(item(1))
    room.flush(0.0)
    room.put_for_all(item(2))
    taken(room)
    room.send_answer(peer(room), 7, (some_key(3),), [encoding.encode_item(delta(4))])
    room.flush(0.0)

    assert taken(room) == [(10, RecordAnswer(7, (some_key(3),), (delta(4),)))]


def test_a_member_has_the_name_of_its_link() -> None:
    room = Peers(Limits(), Timing(), encoding, Metrics())
    room.link_up(ONE, 10, "shop-1")
    room.link_up(TWO, 20)

    assert (peer(room).name, peer(room, TWO).name) == ("shop-1", "")


def test_what_a_former_link_owed_is_not_acknowledged_on_the_next() -> None:
    room = peers()
    room.applied(peer(room), 7, 10, 100.0, (some_key(1),))
    room.link_down(ONE)
    room.link_up(ONE, 30)
    room.flush(200.0)

    assert taken(room) == []


def test_a_record_goes_to_everybody_in_the_same_pieces() -> None:
    room = peers(piece_bytes=100)
    room.put_record_for_all(record_of(90, 90, 90), 0.0)
    room.flush(0.0)
    batches = [(link, batch) for link, batch in taken(room) if isinstance(batch, Deltas)]

    assert [link for link, _ in batches] == [10, 20]
    assert batches[0][1] == batches[1][1]
    numbers = [delta.piece.number for delta in batches[0][1].deltas if delta.piece is not None]
    assert numbers == [0, 1, 2]


def test_where_a_record_has_no_room_repair_will_find_it() -> None:
    room = peers(window_bytes=1, outbox_deltas_max=1)
    for number in (1, 2):
        peer(room).outbox.put(item(number))
        peer(room).outbox.next_batch(0.0)
    assert not peer(room).outbox.has_room
    room.put_record_for_all(record_of(90), 0.0)

    assert peer(room).outbox.needs_repair
    assert not peer(room, TWO).outbox.needs_repair
    assert len(peer(room, TWO).outbox) == 1


@pytest.mark.parametrize(("count", "frames"), [(0, 0), (1, 1), (30, 4)])
def test_what_is_told_at_once_waits_for_no_window(count: int, frames: int) -> None:
    size = len(item().encoded)
    room = peers(chunk_bytes=8 * size, window_bytes=1)
    for found in room:
        found.outbox.put(item(200))
        found.outbox.next_batch(0.0)
    room.tell_all([item(number).encoded for number in range(count)])
    told = taken(room)

    assert len(told) == 2 * frames
    for link in (10, 20):
        deltas = [d for to, m in told if to == link and isinstance(m, Deltas) for d in m.deltas]
        assert deltas == [delta(number) for number in range(count)]
    assert all(isinstance(m, Deltas) and m.batch == UNNUMBERED for _, m in told)
    assert all(found.outbox.acknowledged(UNNUMBERED) == 0 for found in room)


def test_pieces_of_a_record_that_was_dropped_are_lost_on_every_link() -> None:
    room = peers(piece_bytes=100)
    first, second = pieces(whole(record_of(90, 90), 0.0), 7, room.limits)
    for found in room:
        found.assembly.arrived(first)
    room.lost_pieces(some_key(1))

    assert not any(found.assembly.arrived(second).complete for found in room)
