"""Whole records in pieces: nothing is lost, and nothing is believed before all of it came."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replsession.config import Limits
from replsession.identity import Key
from replsession.replication.pieces import Assembly, pieces, whole
from replsession.session.delta import REGISTER, Delta, Piece, Write
from replsession.session.record import INTERVAL, Merge, Record
from replsession.session.stamp import Stamp
from tests.strategies import KEY, MEMBERS, records, rngs

A = MEMBERS[0]
BOUND = 100
LIMITS = Limits(piece_bytes=BOUND, pieces_open_max=5)


def record_of(*sizes: int) -> Record:
    """A complete record whose attributes have values of these sizes."""
    record = Record(KEY, Stamp(5, A), 0.0, Stamp(5, A), 0.0)
    record.complete = True
    record.version = {A: 9}
    for number, size in enumerate(sizes):
        record.attributes[f"n{number}"] = Write(9, A, REGISTER, bytes(size))
    return record


def cut(record: Record, transfer: int = 1) -> list[Delta]:
    """The pieces of a record."""
    return list(pieces(whole(record, 10.0), transfer, LIMITS))


def size_of(piece: Delta) -> int:
    """The bytes of the names and values of a piece."""
    return sum(len(name) + len(write.value or b"") for name, write in piece.attributes.items())


@given(records())
def test_a_whole_record_says_all_that_others_must_know(record: Record) -> None:
    now = max(record.created, record.accessed, record.ended_at) + 1
    delta = whole(record, now)

    assert (delta.key, delta.born, delta.access) == (record.key, record.born, record.access)
    assert (delta.since, delta.piece) == (None, None)
    assert (delta.version, delta.attributes) == (record.version, record.attributes)
    assert (delta.complete, delta.destroyed) == (record.complete, record.destroyed)
    assert delta.age_s == now - record.created
    assert delta.idle_s == now - record.accessed
    assert record.destroyed is None or delta.destroyed_age_s == now - record.ended_at


def test_a_whole_record_does_not_change_with_the_record() -> None:
    record = record_of(3)
    delta = whole(record, 0.0)
    record.attributes["later"] = Write(11, A, REGISTER, b"")
    record.version[A] = 11

    assert list(delta.attributes) == ["n0"]
    assert delta.version == {A: 9}


@pytest.mark.parametrize("sizes", [(), (1,), (40, 40), (98,), (500,)])
def test_a_short_record_is_not_cut(sizes: tuple[int, ...]) -> None:
    assert cut(record_of(*sizes)) == [whole(record_of(*sizes), 10.0)]


@pytest.mark.parametrize(
    ("sizes", "numbers"),
    [((60, 60), 2), ((98, 1), 2), ((500, 1), 2), ((1, 500, 1), 3), ((40,) * 7, 4)],
)
def test_a_long_record_is_cut_at_attributes(sizes: tuple[int, ...], numbers: int) -> None:
    parts = cut(record_of(*sizes), transfer=77)

    assert [part.piece for part in parts] == [Piece(77, n, numbers) for n in range(numbers)]
    assert all(size_of(part) <= BOUND or len(part.attributes) == 1 for part in parts)


@given(st.lists(st.integers(0, 150), max_size=12))
def test_the_pieces_are_the_record(sizes: list[int]) -> None:
    record = record_of(*sizes)
    parts = cut(record)
    names = [name for part in parts for name in part.attributes]

    assert names == list(record.attributes)
    for part in parts:
        assert part._replace(attributes=record.attributes, piece=None) == whole(record, 10.0)


@given(st.integers(2, 6), rngs)
@settings(max_examples=60)
def test_a_record_counts_only_when_every_piece_came(count: int, rng: Random) -> None:
    record = record_of(*[90] * count)
    parts = cut(record)
    arrivals = [rng.choice(parts) for _ in range(count * 2)]
    assembly = Assembly(LIMITS)
    copy = Record(KEY, Stamp(5, A), 0.0, Stamp(5, A), 0.0)
    came: dict[int, None] = {}
    for part in arrivals:
        was_counted = copy.complete
        assert part.piece is not None
        came[part.piece.number] = None
        copy.merge(assembly.arrived(part), 0.0)

        assert copy.complete == (was_counted or len(came) == count)
        assert copy.version == ({A: 9} if copy.complete else {})
        if not was_counted:
            assert len(copy.attributes) == len(came)
    assert not copy.complete or copy.attributes == record.attributes


@given(rngs)
@settings(max_examples=60)
def test_pieces_of_several_records_may_come_between_one_another(rng: Random) -> None:
    parts = [part for transfer in (1, 2, 3) for part in cut(record_of(90, 90, 90), transfer)]
    assembly = Assembly(LIMITS)
    counted = [assembly.arrived(part) for part in rng.sample(parts, len(parts))]

    assert len([part for part in counted if part.complete and part.version]) == 3


def test_pieces_of_another_transfer_do_not_fill_a_gap() -> None:
    first, _ = cut(record_of(90, 90), transfer=1)
    _, second = cut(record_of(90, 90), transfer=2)
    assembly = Assembly(LIMITS)

    for part in (first, second, first, second):
        counted = assembly.arrived(part)
        assert (counted.complete, counted.version) == (False, {})


def test_a_piece_that_is_not_the_last_is_content_all_the_same() -> None:
    part, _ = cut(record_of(90, 90))
    record = Record.from_delta(part, 0.0)

    assert record.merge(Assembly(LIMITS).arrived(part), 0.0) is Merge.APPLIED
    assert list(record.attributes) == ["n0"]
    assert not record.complete


def test_what_is_no_piece_passes() -> None:
    delta = whole(record_of(1), 0.0)

    assert Assembly(LIMITS).arrived(delta) is delta


def test_records_that_never_become_whole_are_bounded() -> None:
    assembly = Assembly(LIMITS)
    opened = {transfer: cut(record_of(90, 90), transfer) for transfer in range(1, 7)}
    for first, _ in opened.values():
        assembly.arrived(first)

    # The oldest of six was given up, the other five can still become whole.
    for transfer, is_counted in ((2, True), (3, True), (4, True), (5, True), (6, True), (1, False)):
        assert assembly.arrived(opened[transfer][1]).complete is is_counted


def test_each_piece_says_how_long_the_session_lives() -> None:
    record = record_of(90, 90, 90)
    record.attributes[INTERVAL] = limits = Write(9, A, REGISTER, b"\x82\x01\xf6")
    parts = cut(record)

    assert len(parts) > 2
    assert all(part.attributes[INTERVAL] == limits for part in parts)
    assert {name: write for part in parts for name, write in part.attributes.items()} == (
        record.attributes
    )


@pytest.mark.parametrize("asleep", [True, False])
def test_each_piece_says_whether_the_record_sleeps(asleep: bool) -> None:
    record = record_of(90, 90)
    record.asleep, record.ended_at = asleep, 4.0

    assert [part.asleep_s for part in cut(record)] == [6.0 if asleep else None] * 2


def test_what_was_lost_of_a_record_makes_nothing_whole() -> None:
    first, second, third = cut(record_of(90, 90, 90))
    others = cut(record_of(90, 90), transfer=2)
    others = [part._replace(key=Key("/other", KEY.locator)) for part in others]
    assembly = Assembly(LIMITS)
    for part in (first, others[0], second):
        assembly.arrived(part)
    assembly.lost(KEY)

    assert not assembly.arrived(third).complete
    assert assembly.arrived(others[1]).complete
    for part in (first, second):
        counted = assembly.arrived(part)
    assert counted.complete, "it came a second time, all of it"
