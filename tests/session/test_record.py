"""Records: what one merge does, case by case; its laws are in ``test_record_laws.py``."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replsession.config import Limits
from replsession.identity import Key, MemberId
from replsession.replication.pieces import whole
from replsession.session import counter, flashes
from replsession.session.codec import encode
from replsession.session.delta import REGISTER, Delta, Write
from replsession.session.flashes import Flash
from replsession.session.record import INTERVAL, SECRET, Merge, Record
from replsession.session.stamp import Seen, Stamp
from tests.strategies import KEY, MEMBERS

A, B, C = MEMBERS
ACCESSES = ((20, B, 130.0), (15, C, 160.0), (30, A, 128.5), (31, B, 161.0))
"""Clock value, member, and when."""


def born(*, complete: bool = True) -> Record:
    """A record with its birth."""
    record = Record(KEY, Stamp(10, A), 100.0, Stamp(10, A), 100.0)
    record.complete = complete
    record.version = {A: 10} if complete else {}
    return record


def stream(since: int, hlc: int, member: MemberId = A, **written: bytes | None) -> Delta:
    """The writes of one request."""
    writes = {name: Write(hlc, member, REGISTER, value) for name, value in written.items()}
    return Delta(KEY, Stamp(10, A), since, {member: hlc}, writes, 0.0, Stamp(hlc, member), 0.0)


@pytest.mark.parametrize(
    ("since", "hlc", "result", "version"),
    [
        (10, 20, Merge.APPLIED, 20),
        (5, 20, Merge.APPLIED, 20),
        (15, 20, Merge.GAP, 10),
        (0, 10, Merge.APPLIED, 10),
        (0, 5, Merge.APPLIED, 10),
    ],
    ids=["next", "overlapping", "after a gap", "known to the version", "older than the version"],
)
def test_the_version_moves_without_a_gap_only(
    since: int, hlc: int, result: Merge, version: int
) -> None:
    record = born()

    assert record.merge(stream(since, hlc, x=b"\x01"), 100.0) is result
    assert record.version == {A: version}
    assert record.value("x") == b"\x01"


def test_a_first_delta_of_a_further_writer_is_no_gap() -> None:
    record = born()

    assert record.merge(stream(0, 12, B, x=b"\x01"), 100.0) is Merge.APPLIED
    assert record.version == {A: 10, B: 12}


@pytest.mark.parametrize(
    ("delta", "complete", "version"),
    [
        (stream(0, 10), True, {A: 10}),
        (stream(0, 12), True, {A: 12}),
        (stream(10, 12), False, {}),
        (stream(0, 10, B), False, {B: 10}),
    ],
    ids=["birth", "birth and more, joined", "later one", "another member's first"],
)
def test_only_a_birth_makes_a_complete_record(
    delta: Delta, complete: bool, version: dict[bytes, int]
) -> None:
    record = Record.from_delta(delta, 100.0)
    result = record.merge(delta, 100.0)

    assert result is (Merge.APPLIED if complete else Merge.GAP)
    assert record.complete is complete
    assert record.version == version


def test_a_birth_that_comes_late_makes_whole_what_came_before_it() -> None:
    others = [stream(0, 12, B, x=b"\x01"), stream(12, 14, B, y=b"\x02"), stream(10, 11, x=b"\x03")]
    record = Record.from_delta(others[0], 100.0)
    for delta in others:
        assert record.merge(delta, 100.0) is Merge.GAP
    assert (record.complete, record.version) == (False, {B: 14})
    assert record.merge(stream(0, 10, z=b"\x04"), 100.0) is Merge.APPLIED

    assert (record.complete, record.version) == (True, {A: 10, B: 14})
    assert record.values() == {"x": b"\x01", "y": b"\x02", "z": b"\x04"}
    assert record.merge(stream(14, 16, B, y=b"\x05"), 100.0) is Merge.APPLIED
    assert record.merge(stream(11, 15, x=b"\x06"), 100.0) is Merge.GAP


@pytest.mark.parametrize("complete", [True, False])
def test_a_whole_record_completes_only_if_its_holder_had_everything(complete: bool) -> None:
    record = Record.from_delta(stream(7, 8, C), 100.0)
    delta = whole(born(), 100.0)._replace(complete=complete)
    record.merge(delta, 100.0)

    assert record.complete is complete
    assert record.version == {A: 10}


def test_the_version_of_a_whole_record_is_joined_and_not_derived() -> None:
    record = born()
    record.version[C] = 7
    news = born()
    news.version = {A: 40, B: 3, C: 2}
    news.attributes["x"] = Write(99, B, REGISTER, b"\x01")
    record.merge(whole(news, 100.0), 100.0)

    assert record.version == {A: 40, B: 3, C: 7}


def test_a_removed_attribute_keeps_its_stamp() -> None:
    record = born()
    record.merge(stream(10, 30, x=None), 100.0)
    record.merge(stream(0, 20, B, x=b"\x01"), 100.0)

    assert record.value("x") is None
    assert record.values() == {}
    assert record.attributes["x"] == Write(30, A, REGISTER, None)


def test_what_the_application_stored_leaves_our_own_registers_out() -> None:
    record = born()
    written: dict[str, bytes | None] = {SECRET: b"h", INTERVAL: b"i", "x": b"\x01", "y": None}
    record.merge(stream(10, 20, A, **written), 100.0)

    assert record.values() == {"x": b"\x01"}
    assert (record.value(SECRET), record.value(INTERVAL)) == (b"h", b"i")
    assert record.value("missing") is None


@pytest.mark.parametrize(
    ("access", "accessed", "is_named", "last"),
    [
        (Stamp(10, A), 90.0, True, 90.0),
        (Stamp(10, A), 150.0, True, 100.0),
        (Stamp(11, A), 150.0, True, 150.0),
        (Stamp(11, A), 95.0, True, 95.0),
        (Stamp(9, A), 150.0, False, 100.0),
        (Stamp(11, B), 150.0, True, 150.0),
        (Stamp(11, B), 99.0, True, 100.0),
        (Stamp(11, B), 90.0, False, 100.0),
        (Stamp(9, C), 99.0, False, 100.0),
        (Stamp(9, C), 101.9, False, 101.9),
        (Stamp(9, C), 102.1, True, 102.1),
    ],
    ids=[
        "same, earlier",
        "same, later",
        "same member, next",
        "same member, next: the one before had looked too late",
        "same member, before",
        "greater, later",
        "greater, and little earlier",
        "greater, and much earlier: its clock is ahead",
        "lesser, earlier",
        "lesser, and little later",
        "lesser, and much later: its clock is behind",
    ],
)
def test_of_one_access_the_earliest_estimate_counts_and_of_two_the_latest(
    access: Stamp, accessed: float, is_named: bool, last: float
) -> None:
    record = born()
    record.touch(access, accessed)

    assert record.access == (access if is_named else Stamp(10, A))
    assert record.last_accessed == last


def test_the_time_of_an_access_that_is_not_named_stays() -> None:
    record = born()
    record.touch(Stamp(20, B), 200.0)
    record.touch(Stamp(20, B), 105.0)
    assert record.last_accessed == 105.0

    record.touch(Stamp(20, B), 50.0)
    assert (record.access, record.last_accessed) == (Stamp(20, B), 100.0)


@given(
    st.permutations([(Stamp(hlc, member), at) for hlc, member, at in ACCESSES for _ in range(2)])
)
def test_whatever_order_accesses_come_in_the_latest_counts(
    arrivals: list[tuple[Stamp, float]],
) -> None:
    record = born()
    for access, accessed in arrivals:
        record.touch(access, accessed)

    assert record.last_accessed == max(at for _, _, at in ACCESSES)


@pytest.mark.parametrize(
    ("access", "accessed", "is_released"),
    [
        (Stamp(10, A), 150.0, True),
        (Stamp(9, C), 99.0, True),
        (Stamp(9, C), 101.0, False),
        (Stamp(11, B), 150.0, False),
        (Stamp(11, A), 99.0, False),
    ],
)
def test_news_of_another_access_ask_for_the_grace_again(
    access: Stamp, accessed: float, is_released: bool
) -> None:
    record = born()
    record.accessed_else = 100.0
    record.released = True
    record.touch(access, accessed)

    assert record.released is is_released


def test_an_access_here_is_the_last_one() -> None:
    record = born()
    record.released = True
    record.accessed_here(Stamp(7, C), 300.0)

    assert (record.access, record.last_accessed, record.released) == (Stamp(7, C), 300.0, False)


def test_ages_become_local_times() -> None:
    delta = whole(born(), 130.0)
    record = Record.from_delta(delta, 1000.0)

    assert (delta.age_s, delta.idle_s) == (30.0, 30.0)
    assert (record.created, record.accessed, record.access_sent) == (970.0, 970.0, -inf)


def test_a_session_is_never_younger_than_somebody_knows() -> None:
    record = born()
    record.merge(stream(10, 20)._replace(age_s=50.0), 120.0)
    assert record.created == 70.0

    record.merge(stream(20, 30)._replace(age_s=1.0), 120.0)
    assert record.created == 70.0


def test_of_two_ends_the_greater_one_counts_and_of_one_the_earliest_estimate() -> None:
    def end(hlc: int, age_s: float) -> Delta:
        stamp = Stamp(hlc, B)
        return Delta(
            KEY, Stamp(10, A), None, {}, {}, 0.0, stamp, 0.0, destroyed=stamp, destroyed_age_s=age_s
        )

    record = born()
    assert record.merge(end(50, 1.0), 100.0) is Merge.APPLIED
    assert record.merge(end(50, 9.0), 100.0) is Merge.KNOWN
    assert (record.destroyed, record.ended_at) == (Stamp(50, B), 91.0)
    assert record.merge(end(60, 2.0), 100.0) is Merge.KNOWN
    assert (record.destroyed, record.ended_at) == (Stamp(60, B), 98.0)
    assert record.merge(end(40, 80.0), 100.0) is Merge.KNOWN
    assert (record.destroyed, record.ended_at) == (Stamp(60, B), 98.0)


def test_times_of_access_and_versions_stay_out_of_the_digest() -> None:
    record, other = born(), born()
    other.version[B] = 99
    other.touch(Stamp(77, B), 400.0)
    other.created, other.access_sent = 1.0, 2.0

    assert record.digest() == other.digest()


@pytest.mark.parametrize("name", ["x", "", "é", "\0secret", "12 "])
def test_one_attribute_more_makes_another_digest(name: str) -> None:
    record, other = born(), born()
    other.attributes[name] = Write(20, A, REGISTER, b"")

    assert record.digest() != other.digest() != 0


def test_a_delta_of_another_session_is_our_own_bug() -> None:
    with pytest.raises(AssertionError):
        born().merge(stream(10, 20)._replace(key=Key("/other", KEY.locator)), 100.0)


def test_the_greatest_clock_value_of_all_that_was_written() -> None:
    record = born()
    assert record.greatest() == 10
    record.attributes["x"] = Write(30, B, REGISTER, None)
    assert record.greatest() == 30
    record.version[C] = 40
    assert record.greatest() == 40


@pytest.mark.parametrize(
    ("complete", "asleep", "ended", "is_served"),
    [
        (True, False, False, True),
        (False, False, False, False),
        (True, True, False, False),
        (True, False, True, False),
    ],
)
def test_a_request_finds_what_is_whole_and_awake_and_not_ended(
    complete: bool, asleep: bool, ended: bool, is_served: bool
) -> None:
    record = born(complete=complete)
    record.asleep = asleep
    if ended:
        record.destroy(Stamp(99, B), 100.0)

    assert record.is_served is is_served


def test_an_ended_session_does_not_sleep() -> None:
    record = born()
    record.asleep = record.released = record.unshared = True
    record.destroy(Stamp(99, B), 100.0)

    assert not (record.asleep or record.released or record.unshared)


def test_after_a_gap_more_was_shown_than_the_version_vouches_for() -> None:
    record = born()
    assert record.merge(stream(15, 20, x=b"\x02"), 0.0) is Merge.GAP
    version = dict(record.version)

    assert record.seen()[A] == 20 > version[A]
    assert record.version == version


def test_it_shows_more_until_the_token_names_every_write() -> None:
    record = born()
    before = Seen(record.seen(), 0)
    assert not record.shows_more(before)
    assert not record.shows_more(before), "remembered"
    record.merge(stream(0, 5, B, y=b"\x02"), 0.0)

    assert record.shows_more(before)
    assert not record.shows_more(Seen(record.seen(), 0))
    # Who has seen later writes of the same members has seen these, or what took their place.
    assert not record.shows_more(Seen({A: 99, B: 99}, 0))
    assert record.shows_more(Seen({A: 99, B: 4}, 0))


def test_a_commit_without_a_write_shows_nothing() -> None:
    record = born()
    token = Seen(record.seen(), 0)
    record.merge(stream(0, 50, B), 0.0)

    assert record.version[B] == 50
    assert not record.shows_more(token)


def test_counters_are_shown_as_their_sums_and_flashes_by_themselves() -> None:
    record = born()
    record.merge(stream(10, 20, hits=encode("", 40), x=b"\x01"), 100.0)
    for writer, hlc in ((A, 30), (B, 31)):
        register, value = counter.counted(record.attributes, writer, "hits", 1)
        record.merge(stream(20 if writer is A else 0, hlc, writer, **{register: value}), 100.0)
    flash = Flash(b"12345678", "info", encode("", "saved"))
    found = flashes.written(record.attributes, Stamp(32, B), [flash], [], Limits())
    record.merge(stream(31, 32, B, **{found.register: found.value, SECRET: b"s"}), 100.0)

    assert record.values() == {"hits": encode("", 42), "x": b"\x01"}
    assert record.values().flashes == (flash,)
    assert record.seen() == {A: 30, B: 32}


def test_a_write_made_here_leaves_counters_and_flashes_as_they_are() -> None:
    record = born()
    register, value = counter.counted({}, B, "hits", 3)
    flash = Flash(b"12345678", "info", encode("", "saved"))
    found = flashes.written({}, Stamp(20, B), [flash], [], Limits())
    record.merge(stream(0, 20, B, **{register: value, found.register: found.value}), 100.0)
    before = record.values()

    record.write({"x": Write(30, A, REGISTER, b"\x01")}, {"x": b"\x01"})

    assert record.values() == {"hits": encode("", 3), "x": b"\x01"}
    assert record.values().flashes == (flash,)
    assert before == {"hits": encode("", 3)}

    record.write({"hits": Write(31, A, REGISTER, b"\x05")}, {"hits": b"\x05"})

    assert record.values()["hits"] == b"\x05"
    assert Record.values(_again(record)) == record.values()


def _again(record: Record) -> Record:
    """The same record, with nothing remembered."""
    other = born()
    other.attributes = record.attributes
    return other


def test_a_client_who_was_shown_less_of_a_counter_is_shown_more() -> None:
    record = born()
    seen = Seen(record.seen(), 10)
    assert not record.shows_more(seen)
    register, value = counter.counted({}, B, "hits", 3)
    record.merge(stream(0, 20, B, **{register: value}), 100.0)
    assert record.shows_more(seen)
