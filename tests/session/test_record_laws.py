"""
Records: the laws of the one merge in which every write ends.

They are checked on lives of sessions: what three members with their own clocks wrote and sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hypothesis import assume, given, settings

from replsession.identity import MemberId
from replsession.replication.pieces import whole
from replsession.session.delta import REGISTER, Delta, Write
from replsession.session.record import Merge, Record
from replsession.session.stamp import Stamp
from tests.strategies import MEMBERS, Life, lives, rngs

C = MEMBERS[2]
NOW = 500.0
laws = settings(max_examples=150)


@dataclass(frozen=True)
class State:
    """What two records of one session are compared by."""

    attributes: dict[str, Write]
    version: dict[MemberId, int]
    destroyed: Stamp | None
    complete: bool
    digest: int


def state(record: Record) -> State:
    """Return a copy of what a record holds."""
    return State(
        dict(record.attributes),
        dict(record.version),
        record.destroyed,
        record.complete,
        record.digest(),
    )


def merged(deltas: list[Delta], *, into: Record | None = None) -> tuple[Record, bool]:
    """Merge deltas in this order; return the record, and whether one came after a gap."""
    record = into if into is not None else Record.from_delta(deltas[0], NOW)
    results = [record.merge(delta, NOW) for delta in deltas]
    return record, Merge.GAP in results


def shuffled(deltas: list[Delta], rng: Random) -> list[Delta]:
    """Return the deltas in another order, some of them twice."""
    twice = [delta for delta in deltas if rng.random() < 0.3]
    return rng.sample(deltas + twice, len(deltas) + len(twice))


def copy(record: Record) -> Record:
    """Return a record that shares nothing with another one and is equal to it."""
    twin = Record(record.key, record.born, record.created, record.access, record.accessed)
    twin.attributes, twin.version = dict(record.attributes), dict(record.version)
    twin.complete, twin.destroyed = record.complete, record.destroyed
    twin.ended_at = record.ended_at
    return twin


def subset(deltas: list[Delta], rng: Random) -> list[Delta]:
    """Return some of the deltas, at least one, in any order."""
    return rng.sample(deltas, rng.randint(1, len(deltas)))


@given(lives(), rngs)
@laws
def test_the_order_and_the_number_of_arrivals_do_not_matter(life: Life, rng: Random) -> None:
    one, one_has_gap = merged(shuffled(life.travelled, rng))
    other, other_has_gap = merged(shuffled(life.travelled, rng))

    assert one.attributes == other.attributes
    assert one.destroyed == other.destroyed
    assert one.complete != other.complete or one.digest() == other.digest()
    if one.complete and other.complete and not one_has_gap and not other_has_gap:
        assert one.version == other.version


@given(lives(), rngs)
@laws
def test_members_agree_as_soon_as_one_whole_record_came(life: Life, rng: Random) -> None:
    everything, _ = merged(life.travelled)
    deltas = [*life.travelled, whole(everything, NOW)]
    one, _ = merged(shuffled(deltas, rng))
    other, _ = merged(shuffled(deltas, rng))

    assert one.complete and other.complete
    assert one.digest() == other.digest() == everything.digest()
    assert one.attributes == everything.attributes


@given(lives(), rngs)
@laws
def test_what_comes_again_changes_nothing(life: Life, rng: Random) -> None:
    record, _ = merged(shuffled(life.travelled, rng))
    before = state(record)
    for delta in shuffled(life.travelled, rng):
        if delta.complete and delta.since is None:
            continue
        result = record.merge(delta, NOW)

        assert result in (Merge.KNOWN, Merge.GAP) or record.version != before.version
        assert record.attributes == before.attributes
        assert record.digest() == before.digest


@given(lives())
@laws
def test_the_same_delta_twice_is_the_same_as_once(life: Life) -> None:
    record = Record.from_delta(life.travelled[0], NOW)
    for delta in life.travelled:
        first = record.merge(delta, NOW)
        before = state(record)
        second = record.merge(delta, NOW)

        assert state(record) == before
        assert second is (Merge.GAP if first is Merge.GAP else Merge.KNOWN)


@given(lives(), rngs)
@laws
def test_merging_whole_records_is_commutative(life: Life, rng: Random) -> None:
    one, _ = merged(subset(life.travelled, rng))
    other, _ = merged(subset(life.travelled, rng))
    left, right = copy(one), copy(other)
    left.merge(whole(other, NOW), NOW)
    right.merge(whole(one, NOW), NOW)

    assert state(left) == state(right)


@given(lives(), rngs)
@laws
def test_merging_whole_records_is_associative(life: Life, rng: Random) -> None:
    a, b, c = (merged(subset(life.travelled, rng))[0] for _ in range(3))
    left, inner, right = copy(a), copy(b), copy(a)
    left.merge(whole(b, NOW), NOW)
    left.merge(whole(c, NOW), NOW)
    inner.merge(whole(c, NOW), NOW)
    right.merge(whole(inner, NOW), NOW)

    assert state(left) == state(right)


@given(lives(), rngs)
@laws
def test_merging_a_record_with_itself_changes_nothing(life: Life, rng: Random) -> None:
    record, _ = merged(subset(life.travelled, rng))
    before = state(record)

    assert record.merge(whole(record, NOW), NOW) is Merge.KNOWN
    assert state(record) == before


@given(lives(may_end=False), rngs)
@laws
def test_the_version_never_claims_a_write_that_is_missing(life: Life, rng: Random) -> None:
    record, _ = merged(subset(life.travelled, rng))
    for stamp, name in life.written:
        if stamp.hlc <= record.version.get(stamp.member, 0):
            held = record.attributes.get(name)
            assert held is not None and Stamp(held.hlc, held.member) >= stamp


@given(lives(), rngs)
@laws
def test_digests_are_equal_exactly_when_nothing_has_to_be_exchanged(
    life: Life, rng: Random
) -> None:
    one, _ = merged(subset(life.travelled, rng))
    other, _ = merged(subset(life.travelled, rng))

    def gains(record: Record, news: Record) -> bool:
        twin = copy(record)
        twin.merge(whole(news, NOW), NOW)
        ended = (twin.destroyed is None) != (record.destroyed is None)
        return ended or twin.attributes != record.attributes or twin.complete != record.complete

    assert (one.digest() == other.digest()) == (not gains(one, other) and not gains(other, one))


@given(lives(), rngs)
@laws
def test_an_ended_session_never_comes_back(life: Life, rng: Random) -> None:
    ends = [delta.destroyed for delta in life.travelled if delta.destroyed is not None]
    assume(ends)
    record, _ = merged(shuffled(life.travelled, rng))

    assert record.destroyed == max(ends)
    assert record.values() == {}
    assert (record.attributes, record.version) == ({}, {})


@given(lives(may_end=False), rngs)
@laws
def test_the_newest_write_of_each_attribute_stays(life: Life, rng: Random) -> None:
    record, _ = merged(shuffled(life.travelled, rng))
    newest: dict[str, Stamp] = {}
    for stamp, name in life.written:
        newest[name] = max(stamp, newest.get(name, stamp))

    assert {name: Stamp(*write[:2]) for name, write in record.attributes.items()} == newest


@given(lives(), rngs)
@laws
def test_what_the_application_stored_is_what_the_attributes_say(life: Life, rng: Random) -> None:
    record = Record.from_delta(life.travelled[0], NOW)
    for delta in shuffled(life.travelled, rng):
        record.merge(delta, NOW)
        if rng.random() < 0.3 and record.destroyed is None:
            value = rng.choice([None, b"\x05"])
            plain = {} if value is None else {"c": value}
            record.write({"c": Write(2**62, C, REGISTER, value)}, plain)
        assert record.values() == {
            name: write.value
            for name, write in record.attributes.items()
            if write.value is not None
        }
