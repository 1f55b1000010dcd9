"""Peers: messages become frames for links, and items go into every outbox."""

from __future__ import annotations

from replsession.config import Limits, Timing
from replsession.messages import Deltas, Goodbye, Message, Ping, StateChunk
from replsession.metrics import Metrics
from replsession.replication.outbox import Item
from replsession.replication.peers import Peer, Peers
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
    peer(room).donor = Donor(7, iter(encoded), 0.0)
    room.flush(0.0)
    room.flush(0.0)

    chunks = of_kind(StateChunk, [message for _, message in taken(room)])
    assert [(chunk.transfer, chunk.number) for chunk in chunks] == [(7, 1), (7, 2), (7, 3)]
    assert [chunk.records for chunk in chunks] == [(delta(number),) for number in range(3)]
