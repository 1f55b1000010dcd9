"""Outboxes: bounded, in order, joined while a member is slow, and acknowledged by name."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replsession.config import ITEM_HEAD_BYTES, Limits, Timing
from replsession.identity import Key
from replsession.replication.outbox import HELD_ALL, Item, Outbox
from replsession.replication.pieces import whole
from replsession.session.delta import REGISTER, Delta, Write
from replsession.session.record import Record
from replsession.session.stamp import Stamp
from replsession.wire.encoding import decode_item, encode_item
from tests.harness import some_key
from tests.strategies import MEMBERS, rngs

A, B, _ = MEMBERS
BORN = Stamp(1, A)


def outbox(**bounds: int) -> Outbox:
    """An outbox with these bounds and the real encoding."""
    return Outbox(Limits(**bounds), decode_item, encode_item)


def delta(key: Key, since: int, hlc: int, value: bytes = b"\x01", name: str = "x") -> Delta:
    """What one request wrote."""
    written = {name: Write(hlc, A, REGISTER, value)}
    return Delta(key, BORN, since, {A: hlc}, written, 0.0, Stamp(hlc, A), 0.0)


def tombstone(key: Key, hlc: int) -> Delta:
    """The end of a session."""
    end = Stamp(hlc, A)
    return Delta(key, BORN, None, {}, {}, 0.0, end, 0.0, destroyed=end)


def item(news: Delta, mark: int = 0) -> Item:
    """The delta on its way."""
    return Item(news.key, encode_item(news), mark=mark)


def marks_of(box: Outbox, *tracked: Key) -> list[dict[Key, int] | None]:
    """Take everything out while there are tickets; return what each batch stands for."""
    found: list[dict[Key, int] | None] = []
    while (batch := box.next_batch(0.0, dict.fromkeys(tracked))) is not None:
        found.append(box.in_flight[batch[0]].marks)
        box.acknowledged(batch[0])
    return found


def shut(box: Outbox) -> int:
    """Fill the window of an outbox; return the number of the batch that does it."""
    box.put(item(delta(some_key(250), 0, 1, bytes(100))))
    batch = box.next_batch(0.0)
    assert batch is not None and not box.is_open
    return batch[0]


def drained(box: Outbox) -> list[Delta]:
    """Take everything out, acknowledging all of it."""
    found: list[Delta] = []
    for number in list(box.in_flight):
        box.acknowledged(number)
    while (batch := box.next_batch(0.0)) is not None:
        found += map(decode_item, batch[1])
        box.acknowledged(batch[0])
    return found


def test_items_leave_as_they_came_while_the_window_is_open() -> None:
    box = outbox()
    sent = [delta(some_key(1), 0, 2), delta(some_key(2), 0, 3), delta(some_key(1), 2, 4)]
    for news in sent:
        assert box.put(item(news)) == 0

    assert drained(box) == sent
    assert len(box) == 0


def test_a_batch_is_closed_when_it_is_long_enough() -> None:
    box = outbox(chunk_bytes=150)
    for number in range(5):
        box.put(item(delta(some_key(number), 0, 2, bytes(60))))
    sizes = []
    while (batch := box.next_batch(0.0)) is not None:
        sizes.append(len(batch[1]))

    assert sum(sizes) == 5
    assert sizes[0] == 2


def test_nothing_leaves_while_the_window_is_shut() -> None:
    box = outbox(window_bytes=50)
    number = shut(box)
    box.put(item(delta(some_key(1), 0, 2)))
    assert box.next_batch(0.0) is None

    assert box.acknowledged(number) == 1
    assert box.is_open
    assert box.next_batch(0.0) is not None


def test_an_empty_outbox_has_no_batch() -> None:
    assert outbox().next_batch(0.0) is None


def test_deltas_of_one_session_are_joined_while_the_window_is_shut() -> None:
    box = outbox(window_bytes=50)
    shut(box)
    box.put(item(delta(some_key(1), 7, 10, b"\x01", "x")))
    box.put(item(delta(some_key(2), 0, 11)))
    box.put(item(delta(some_key(1), 10, 12, b"\x02", "y")))
    box.put(item(delta(some_key(1), 12, 14, b"\x03", "x")))
    assert len(box) == 2

    first, second = drained(box)
    assert (first.key, second.key) == (some_key(1), some_key(2))
    assert (first.since, first.writer) == (7, Stamp(14, A))
    assert first.attributes == {
        "x": Write(14, A, REGISTER, b"\x03"),
        "y": Write(12, A, REGISTER, b"\x02"),
    }


def test_the_end_of_a_session_is_put_in_while_the_window_is_shut() -> None:
    box = outbox(window_bytes=50)
    shut(box)
    box.put(item(delta(some_key(1), 0, 10)))
    box.put(item(tombstone(some_key(1), 12)))
    box.put(item(tombstone(some_key(2), 13)))

    assert drained(box) == [tombstone(some_key(1), 12), tombstone(some_key(2), 13)]


def test_a_whole_record_is_joined_with_nothing() -> None:
    box = outbox(window_bytes=50)
    shut(box)
    record = Record(some_key(1), BORN, 0.0, BORN, 0.0)
    record.complete = True
    news = [delta(some_key(1), 0, 10), delta(some_key(1), 10, 12)]
    box.put(item(news[0]))
    box.put_whole([Item(record.key, encode_item(whole(record, 0.0)), is_stream=False)] * 2)
    box.put(item(news[1]))

    kinds = [found.since for found in drained(box)]
    assert sorted(kinds, key=str) == [0, None, None]


def test_what_was_joined_once_is_joined_with_nothing_sent_later() -> None:
    box = outbox(window_bytes=50, chunk_bytes=1)
    number = shut(box)
    for key in (some_key(1), some_key(2)):
        box.put(item(delta(key, 0, 10)))
    box.acknowledged(number)
    batch = box.next_batch(0.0)
    assert batch is not None
    box.put(item(delta(some_key(1), 10, 12)))

    assert [(found.key, found.since) for found in drained(box)] == [
        (some_key(2), 0),
        (some_key(1), 10),
    ]


@pytest.mark.parametrize("bounds", [{"outbox_deltas_max": 3}, {"outbox_bytes_max": 200}])
def test_what_does_not_fit_empties_it_and_asks_for_repair(bounds: dict[str, int]) -> None:
    box = outbox(window_bytes=50, **bounds)
    shut(box)
    lost = [box.put(item(delta(some_key(number), 0, 2, bytes(20)))) for number in range(4)]

    full_at = next(number for number, count in enumerate(lost) if count)
    assert lost[full_at] == full_at + 1
    assert len(box) == 3 - full_at
    assert box.needs_repair
    assert not box.is_open


def test_one_item_larger_than_everything_is_left_to_repair() -> None:
    box = outbox(outbox_bytes_max=100)

    assert box.put(item(delta(some_key(1), 0, 2, bytes(200)))) == 1
    assert (len(box), box.needs_repair) == (0, True)


@pytest.mark.parametrize(("items", "has_room"), [(0, True), (3, True), (4, False)])
def test_a_whole_record_is_put_in_while_there_is_room(items: int, has_room: bool) -> None:
    box = outbox(outbox_deltas_max=4)
    for number in range(items):
        box.put(item(delta(some_key(number), 0, 2)))

    assert box.has_room is has_room


def test_a_whole_record_that_waits_is_known_by_its_content_until_it_leaves() -> None:
    box = outbox()
    key = some_key(1)
    box.put_whole([Item(key, b"piece", is_stream=False)] * 2, content=77)
    assert box.holds_whole(key, 77)
    assert not box.holds_whole(key, 78)
    assert not box.holds_whole(some_key(2), 77)
    box.next_batch(0.0)

    assert not box.holds_whole(key, 77)


def test_a_whole_record_waits_until_its_last_piece_leaves() -> None:
    box = outbox(chunk_bytes=1)
    key, other = some_key(1), some_key(2)
    box.put_whole([Item(key, b"piece", is_stream=False)] * 3, content=77)
    box.put_whole([Item(other, b"piece", is_stream=False)], content=78)
    waits = []
    for _ in range(4):
        box.next_batch(0.0)
        waits.append((box.holds_whole(key, 77), box.holds_whole(other, 78)))

    assert waits == [(True, True), (True, True), (False, True), (False, False)]


def test_an_acknowledgement_names_one_batch_and_nothing_else() -> None:
    box = outbox(chunk_bytes=1)
    numbers = []
    for number in range(3):
        box.put(item(delta(some_key(number), 0, 2)))
        batch = box.next_batch(0.0)
        assert batch is not None
        numbers.append(batch[0])
    assert len(dict.fromkeys(numbers)) == 3

    before = box.in_flight_bytes
    assert box.acknowledged(numbers[1]) == 1
    assert list(box.in_flight) == [numbers[0], numbers[2]]
    assert box.in_flight_bytes == before * 2 // 3
    assert box.acknowledged(numbers[1]) == 0
    assert box.acknowledged(999) == 0
    assert list(box.in_flight) == [numbers[0], numbers[2]]


def test_the_oldest_batch_tells_whether_a_member_is_stuck() -> None:
    box, timing = outbox(chunk_bytes=1), Timing(acknowledge_timeout_s=5)
    assert not box.is_stuck(1e9, timing)
    for number, now in ((1, 10.0), (2, 14.0)):
        box.put(item(delta(some_key(number), 0, 2)))
        box.next_batch(now)

    assert not box.is_stuck(14.9, timing)
    assert box.is_stuck(15.0, timing)
    box.acknowledged(1)
    assert not box.is_stuck(18.9, timing)
    assert box.is_stuck(19.0, timing)


def test_a_batch_stands_for_the_writes_in_it_of_sessions_with_tickets() -> None:
    box = outbox()
    for number in (1, 2, 3):
        box.put(item(delta(some_key(number), 0, number), mark=number))

    assert marks_of(box, some_key(2), some_key(9)) == [{some_key(2): 2}]


@pytest.mark.parametrize("tracked", [(), (some_key(9),)])
def test_without_a_ticket_a_batch_stands_for_nothing(tracked: tuple[Key, ...]) -> None:
    box = outbox()
    box.put(item(delta(some_key(1), 0, 2), mark=2))

    assert marks_of(box, *tracked) == [None]


def test_of_several_writes_of_one_session_the_greatest_counts() -> None:
    box = outbox()
    for mark in (5, 9, 7):
        box.put(item(delta(some_key(1), 0, mark), mark=mark))

    assert marks_of(box, some_key(1)) == [{some_key(1): 9}]


def test_a_ticket_may_come_after_the_writes_were_put_in() -> None:
    box = outbox(window_bytes=50)
    number = shut(box)
    box.put(item(delta(some_key(1), 0, 10), mark=10))
    assert box.next_batch(0.0, {some_key(1): None}) is None
    box.acknowledged(number)

    assert marks_of(box, some_key(1)) == [{some_key(1): 10}]


def test_what_is_joined_keeps_the_greatest_mark() -> None:
    box = outbox(window_bytes=50)
    number = shut(box)
    for since, hlc in ((0, 10), (10, 12), (12, 14)):
        box.put(item(delta(some_key(1), since, hlc), mark=hlc))
    box.put(item(delta(some_key(2), 0, 11), mark=11))
    box.put(item(tombstone(some_key(2), 15), mark=HELD_ALL))
    assert len(box) == 2
    box.acknowledged(number)

    assert marks_of(box, some_key(1), some_key(2)) == [{some_key(1): 14, some_key(2): HELD_ALL}]


def test_a_batch_that_is_cut_between_two_writes_of_a_session_stands_for_the_first() -> None:
    box = outbox(chunk_bytes=150)
    for since, hlc in ((0, 10), (10, 12), (12, 14)):
        box.put(item(delta(some_key(1), since, hlc, bytes(60)), mark=hlc))
    marks = marks_of(box, some_key(1))

    assert marks == [{some_key(1): 12}, {some_key(1): 14}]


def test_of_a_record_in_pieces_the_last_one_counts() -> None:
    box = outbox(chunk_bytes=1)
    record = Record(some_key(1), BORN, 0.0, BORN, 0.0)
    encoded = encode_item(whole(record, 0.0))
    pieces = [Item(record.key, encoded, is_stream=False, mark=mark) for mark in (0, 0, 20)]
    box.put_whole(pieces)

    assert marks_of(box, some_key(1)) == [{some_key(1): 0}, {some_key(1): 0}, {some_key(1): 20}]


def test_what_was_thrown_away_stands_for_nothing_any_more() -> None:
    box = outbox(window_bytes=50, outbox_deltas_max=1)
    number = shut(box)
    for key in (some_key(1), some_key(2)):
        box.put(item(delta(key, 0, 10), mark=10))
    assert len(box) == 0
    box.put(item(delta(some_key(3), 0, 11), mark=11))
    box.acknowledged(number)

    assert marks_of(box, *map(some_key, range(4))) == [{some_key(3): 11}]


@given(rngs, st.integers(1, 40))
@settings(max_examples=150)
def test_it_never_exceeds_its_bounds_and_loses_nothing_in_silence(rng: Random, steps: int) -> None:
    limits = Limits(outbox_deltas_max=4, outbox_bytes_max=500, window_bytes=200, chunk_bytes=120)
    box = Outbox(limits, decode_item, encode_item)
    since: dict[Key, int] = {}
    put: list[Delta] = []
    out: list[Delta] = []
    lost = 0
    longest = 0
    for hlc in range(10, 10 + steps):
        key = some_key(rng.randrange(5))
        if rng.random() < 0.7:
            news = delta(key, since.get(key, 0), hlc, bytes(rng.randrange(120)), rng.choice("xyz"))
            since[key] = hlc
            put.append(news)
            longest = max(longest, len(encode_item(news)))
            lost += box.put(item(news))
        elif rng.random() < 0.5:
            batch = box.next_batch(0.0)
            out += map(decode_item, batch[1]) if batch is not None else []
        elif box.in_flight:
            box.acknowledged(rng.choice(list(box.in_flight)))
        assert len(box) <= limits.outbox_deltas_max
        assert box.in_flight_bytes < limits.window_bytes + limits.chunk_bytes + 3 * longest
    rest = drained(box)

    assert sum(len(encode_item(news)) for news in rest) <= limits.outbox_bytes_max
    assert box.needs_repair is (lost > 0)
    if not lost:
        assert states([*out, *rest]) == states(put)


def states(deltas: list[Delta]) -> dict[Key, tuple[dict[str, Write], dict[bytes, int]]]:
    """Return what the sessions look like after these deltas."""
    records: dict[Key, Record] = {}
    for news in deltas:
        record = records.setdefault(news.key, Record.from_delta(news, 0.0))
        record.complete = True
        record.merge(news, 0.0)
    return {key: (record.attributes, record.version) for key, record in records.items()}


def test_deltas_that_are_too_long_together_stay_two() -> None:
    bounds = {"chunk_bytes": 100, "piece_bytes": 50, "value_bytes_max": 1000}
    box = outbox(window_bytes=50, frame_bytes_max=100 + 1000 + ITEM_HEAD_BYTES, **bounds)
    shut(box)
    for number in range(8):
        box.put(item(delta(some_key(1), number, number + 1, bytes(900), f"n{number}")))
    found = drained(box)

    assert 1 < len(found) < 8
    assert [(part.since, part.writer.hlc) for part in found] == [
        (before, after) for before, after in pairwise([0, *(part.writer.hlc for part in found)])
    ]
    assert all(len(encode_item(part)) <= 1000 + ITEM_HEAD_BYTES for part in found)
    assert states(found)[some_key(1)][1] == {A: 8}


def test_deltas_from_before_and_after_a_new_name_stay_two() -> None:
    box = outbox(window_bytes=50)
    shut(box)
    before, after = delta(some_key(1), 7, 10), delta(some_key(1), 0, 12)
    written = {"x": Write(12, B, REGISTER, b"\x02")}
    after = after._replace(version={B: 12}, attributes=written, access=Stamp(12, B))
    box.put(item(before))
    box.put(item(after))
    box.put(item(tombstone(some_key(1), 13)))

    assert drained(box) == [before, tombstone(some_key(1), 13)]
    for news in (before, after):
        box.put(item(news))
    assert drained(box) == [before, after]


def test_what_is_not_acknowledged_is_what_waits_and_what_is_under_way() -> None:
    slow = outbox(window_bytes=1)
    assert (slow.unacknowledged, slow.waiting_bytes, slow.oldest_s(5.0)) == (0, 0, None)
    for number in (1, 2):
        slow.put(Item(some_key(number), b"xyz", is_stream=False))
    assert (slow.unacknowledged, slow.waiting_bytes, slow.oldest_s(5.0)) == (2, 6, None)
    slow.next_batch(7.0)
    slow.put(Item(some_key(3), b"xy", is_stream=False))
    assert (slow.unacknowledged, slow.waiting_bytes, slow.oldest_s(9.0)) == (3, 2, 2.0)
    slow.acknowledged(1)
    assert (slow.unacknowledged, slow.waiting_bytes, slow.oldest_s(9.0)) == (1, 2, None)
