"""The store: what it keeps, what it counts, what it puts to sleep and what it forgets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from operator import xor
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replsession.config import Limits, Timing
from replsession.identity import Key, MemberId
from replsession.session.delta import REGISTER, Write
from replsession.session.expiry import SessionLimits, encoded_limits, tombstone_counts
from replsession.session.packing import pack
from replsession.session.record import INTERVAL, Record
from replsession.session.stamp import Stamp
from replsession.session.store import BUCKETS, Store, Swept
from tests.strategies import MEMBERS, hlcs, rngs, versions

A, B, _ = MEMBERS
TIMING = Timing(tombstone_retention_s=100, tombstone_margin_s=20)


def key(number: int, bucket: int = 1, context: str = "/") -> Key:
    """A key in a bucket of our choice."""
    return Key(context, bytes([bucket, number]) + bytes(10))


def alive(at: Key, *, now: float = 0.0, idle_s: float | None = 10, hlc: int = 5) -> Record:
    """A complete record with one attribute and these limits."""
    record = Record(at, Stamp(hlc, A), now, Stamp(hlc, A), now)
    record.complete = True
    limits = encoded_limits(SessionLimits(idle_s, None))
    record.attributes = {
        INTERVAL: Write(hlc, A, REGISTER, limits),
        "x": Write(hlc, A, REGISTER, b"\x01"),
    }
    return record


def store_of(*records: Record, warm: int = 100, forgotten: int = 100) -> Store:
    """A store with these records, and room for so many warm ones."""
    store = Store(Limits(warm_records_max=warm, forgotten_max=forgotten), TIMING)
    for record in records:
        store.add(record)
    return store


def from_scratch(store: Store, now: float) -> list[int]:
    """Return what the digests should be, from the records alone."""
    digests = [0] * BUCKETS
    for record in store.records():
        if record.destroyed is not None:
            counts = tombstone_counts(now - record.ended_at, TIMING)
        else:
            counts = not record.asleep
        if counts:
            digests[record.key.locator[0]] ^= record.digest()
    return digests


@dataclass
class Run:
    """A store under random operations, beside a plain dict of what was put in."""

    rng: Random
    warm: int
    now: float = 0.0
    hlc: int = 10
    written: dict[Key, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = store_of(warm=self.warm)

    def step(self) -> None:
        """Do one of the things that happen to a store."""
        steps: list[Callable[[], None]] = [
            self.add,
            self.add,
            self.write,
            self.write,
            self.read,
            self.end,
            self.drop,
            self.sweep,
            self.ask,
        ]
        self.rng.choice(steps)()

    def add(self) -> None:
        """A new session."""
        at = key(self.rng.randrange(6), self.rng.randrange(2))
        if self.store.peek(at) is None:
            self.hlc += 1
            self.store.add(
                alive(at, now=self.now, idle_s=self.rng.choice([5, 30, None]), hlc=self.hlc)
            )
            self.written[at] = self.hlc

    def write(self) -> None:
        """A write, which also wakes."""
        record = self.any()
        if record is not None and record.destroyed is None:
            self.hlc += 1
            record.attributes["x"] = Write(self.hlc, A, REGISTER, b"\x02")
            record.accessed = self.now
            if record.asleep:
                self.store.wake(record, self.now)
            self.written[record.key] = self.hlc
            self.store.changed(record.key)

    def read(self) -> None:
        """A read, which makes warm."""
        self.any()

    def end(self) -> None:
        """A session is destroyed."""
        record = self.any()
        if record is not None and record.destroyed is None:
            self.hlc += 1
            record.destroy(Stamp(self.hlc, A), self.now)
            self.written[record.key] = 0
            self.store.changed(record.key)

    def drop(self) -> None:
        """A record is dropped."""
        record = self.any()
        if record is not None:
            del self.written[record.key]
            self.store.drop(record)

    def sweep(self) -> None:
        """Time passes, and every bucket is visited."""
        self.now += self.rng.choice([1, 8, 45, 90])
        for bucket in range(2):
            self.store.sweep(bucket, self.now, self.now - 30)
        self.written = {at: hlc for at, hlc in self.written.items() if self.store.peek(at)}

    def ask(self) -> None:
        """The digests are asked for in between."""
        self.store.digests(self.now)

    def any(self) -> Record | None:
        """Return one of the records, warm."""
        return self.store.get(self.rng.choice(list(self.written))) if self.written else None


@given(rngs, st.integers(0, 40), st.sampled_from([1, 2, 3, 100]))
@settings(max_examples=150)
def test_digests_are_true_whatever_happened(rng: Random, steps: int, warm: int) -> None:
    run = Run(rng, warm)
    for _ in range(steps):
        run.step()
        assert len(run.store) == len(run.written)
    store = run.store
    asleep = {record.key: record for record in store.records() if record.asleep}
    assert store.sleepers.since == {at: record.ended_at for at, record in asleep.items()}
    assert store.sleepers.bytes == sum(len(pack(record, 0.0)) for record in asleep.values())

    assert store.digests(run.now) == from_scratch(store, run.now)
    for bucket in range(2):
        counted = store.counted(bucket, run.now)
        leaves = store.leaves(bucket, run.now)
        assert reduce(xor, leaves.values(), 0) == store.digests(run.now)[bucket]
        assert list(leaves) == sorted(leaves)
        for leaf, digest in leaves.items():
            inside = store.counted(bucket, run.now, [leaf])
            assert inside == {at: counted[at] for at in counted if at.locator[1] == leaf}
            assert reduce(xor, inside.values()) == digest
        assert reduce(xor, counted.values(), 0) == store.digests(run.now)[bucket]
    for at, hlc in run.written.items():
        record = store.peek(at)
        assert record is not None
        assert (record.attributes["x"].hlc if hlc else record.attributes) == (hlc or {})


def test_digests_are_made_in_the_order_of_changes_and_so_many_wait() -> None:
    records = [alive(key(number)) for number in range(10)]
    store = store_of(*records, warm=4)
    store.count(0.0, 10)
    assert not any(record.counted for record in store.records())

    store.count(0.0, 3)
    counted = [record.key for record in store.records() if record.counted]
    assert counted == [key(number) for number in range(7)]
    changed = store.get(key(0))
    assert changed is not None
    changed.attributes["x"] = Write(6, A, REGISTER, b"\x02")
    store.changed(key(0))
    store.count(0.0, 1)
    assert store.digests(0.0) == from_scratch(store, 0.0)
    store.count(0.0, 0)
    assert store.digests(0.0) == from_scratch(store, 0.0)


def test_equal_stores_have_equal_digests_and_a_difference_shows_in_its_bucket() -> None:
    one = store_of(alive(key(1, 3)), alive(key(2, 7)))
    other = store_of(alive(key(2, 7)), alive(key(1, 3)))
    assert one.digests(0.0) == other.digests(0.0)

    other.add(alive(key(3, 7)))
    differing = [
        bucket
        for bucket, pair in enumerate(zip(one.digests(0.0), other.digests(0.0), strict=True))
        if pair[0] != pair[1]
    ]
    assert differing == [7]


@pytest.mark.parametrize("warm", [1, 2, 5])
def test_what_is_cold_is_the_same_when_it_is_read_again(warm: int) -> None:
    store = store_of(*(alive(key(number), hlc=number + 1) for number in range(10)), warm=warm)

    for number in (*range(10), *range(10)):
        record = store.get(key(number))
        assert record is not None
        assert record.born == Stamp(number + 1, A)
        assert record.values() == {"x": b"\x01"}


@pytest.mark.parametrize("warm", [1, 2, 5])
def test_the_record_just_read_may_be_changed(warm: int) -> None:
    store = store_of(*(alive(key(number)) for number in range(10)), warm=warm)

    for number in range(10):
        record = store.get(key(number))
        assert record is not None
        record.attributes["x"] = Write(50 + number, B, REGISTER, bytes([number]))
        store.changed(record.key)
        record = store.peek(key(number))
        assert record is not None and record.value("x") == bytes([number])
    assert store.digests(0.0) == from_scratch(store, 0.0)


def test_a_look_that_does_not_warm_is_enough_to_read() -> None:
    store = store_of(alive(key(1)), alive(key(2)), warm=1)

    for number in (1, 2, 1, 2):
        record = store.peek(key(number))
        assert record is not None and record.values() == {"x": b"\x01"}
    assert store.peek(key(3)) is None
    assert store.get(key(3)) is None


def test_sizes_are_counted_for_each_context() -> None:
    store = store_of(alive(key(1)), alive(key(2)), alive(key(1, context="/shop")))
    assert store.sizes == {"/": 2, "/shop": 1}

    record = store.get(key(1))
    assert record is not None
    store.drop(record)
    assert store.sizes == {"/": 1, "/shop": 1}
    assert len(store) == 2
    assert [record.key for record in store.records()] == [key(2), key(1, context="/shop")]
    assert store.keys(1) == [key(2), key(1, context="/shop")]


@pytest.mark.parametrize(
    ("held", "bucket", "following"),
    [((), 5, 5), ((5,), 5, 5), ((5,), 200, 5), ((5, 9), 5, 9), ((5, 9), 9, 5), ((0, 255), 255, 0)],
)
def test_a_sweep_goes_round_the_buckets_that_hold_something(
    held: tuple[int, ...], bucket: int, following: int
) -> None:
    store = store_of(*(alive(key(1, number)) for number in held))

    assert store.next_bucket(bucket) == following


def test_a_session_that_is_over_falls_asleep_and_is_counted_no_more() -> None:
    store = store_of(alive(key(1)), alive(key(2), idle_s=None))
    counted = store.counted(1, 0.0)
    assert list(counted) == [key(1), key(2)]

    # Idle for 10 s, and the grace: 2 s and a tenth of the interval.
    assert store.sweep(1, 12.9, 12.9) == Swept([], [])
    asleep, dropped = store.sweep(1, 13.0, 13.0)
    assert [record.key for record in asleep] == [key(1)]
    assert dropped == []
    assert store.counted(1, 13.0) == {key(2): counted[key(2)]}
    assert list(store.leaves(1, 13.0)) == [2]
    assert store.sweep(1, 13.0, 0.0) == Swept([], [])


@pytest.mark.parametrize(
    ("writer", "released", "over_at"),
    [(B, False, 13.0), (B, True, 10.0), (A, False, 10.0), (b"", False, 13.0)],
    ids=["served by another one", "who says that it is over", "served here", "by somebody"],
)
@pytest.mark.parametrize("warm", [1, 100])
def test_who_served_it_last_waits_for_no_news(
    writer: bytes, released: bool, over_at: float, warm: int
) -> None:
    record = alive(key(1))
    record.released = released
    store = store_of(record, alive(key(2), idle_s=None), warm=warm)

    assert store.sweep(1, over_at - 0.1, 0.0, writer).fell_asleep == []
    assert [record.key for record in store.sweep(1, over_at, 0.0, writer).fell_asleep] == [key(1)]


@pytest.mark.parametrize("warm", [1, 100])
def test_what_wakes_is_as_it_was(warm: int) -> None:
    store = store_of(alive(key(1)), alive(key(2), idle_s=None), warm=warm)
    counted = store.counted(1, 0.0)
    store.sweep(1, 13.0, 0.0)
    record = store.get(key(1))
    assert record is not None and record.asleep
    assert (len(store.sleepers), store.sleepers.bytes > 0) == (1, True)

    store.wake(record, 20.0)
    assert store.counted(1, 20.0) == counted
    assert (len(store.sleepers), store.sleepers.bytes) == (0, 0)
    assert (record.asleep, record.unshared, record.ended_at) == (False, False, 20.0)
    assert record.values() == {"x": b"\x01"}


def test_sleeping_records_are_bounded_in_bytes_and_the_longest_asleep_go_first() -> None:
    store = Store(Limits(sleeping_bytes_max=300), TIMING)
    for number in range(6):
        store.add(alive(key(number)))
    each = len(pack(alive(key(0)), 0.0))
    for number in (3, 1, 5, 0, 2):
        store.put_to_sleep(key(number), float(number == 5) + number, 0.0)
    dropped = store.drop_surplus(100.0)

    kept = 300 // each
    order = [key(number) for number in (0, 1, 2, 3, 5)]
    assert [record.key for record in dropped] == order[: 5 - kept]
    assert store.sleepers.bytes == kept * each <= 300
    assert store.keys(1) == [at for at in map(key, range(6)) if at not in order[: 5 - kept]]
    assert store.drop_surplus(100.0) == []


def test_what_sleeps_is_measured_again_when_it_grows_or_ends() -> None:
    store = store_of(alive(key(1)))
    store.put_to_sleep(key(1), 5.0, 0.0)
    before = store.sleepers.bytes
    record = store.get(key(1))
    assert record is not None
    record.attributes["more"] = Write(9, B, REGISTER, bytes(100))
    store.changed(key(1))
    assert store.sleepers.bytes > before + 100

    record.destroy(Stamp(10, B), 6.0)
    store.changed(key(1))
    assert (len(store.sleepers), store.sleepers.bytes) == (0, 0)


def test_a_record_that_comes_asleep_is_counted_among_the_sleeping() -> None:
    record = alive(key(1))
    record.asleep, record.ended_at = True, -40.0
    store = store_of(record)

    assert store.sleepers.since == {key(1): -40.0}
    assert store.counted(1, 0.0) == {}
    assert [record.key for record in store.sweep(1, 60.0, -100.0).dropped] == [key(1)]


@pytest.mark.parametrize(
    ("sent", "woken", "settled_before", "settled_at_last", "unshared"),
    [
        (0.0, 0.0, 1.0, 14.0, False),
        (1.0, 0.0, 1.0, 14.0, True),
        (0.0, 1.0, 1.0, 14.0, True),
        (0.0, 0.0, 1.0, 13.0, True),
        (5.0, 0.0, 1.0, 0.0, True),
    ],
    ids=["all heard of it", "written since", "woken since", "not settled", "neither"],
)
def test_what_is_dropped_says_whether_others_may_lack_something(
    sent: float, woken: float, settled_before: float, settled_at_last: float, unshared: bool
) -> None:
    record = alive(key(1))
    record.access_sent, record.ended_at = sent, woken
    store = store_of(record)
    store.sweep(1, 13.0, settled_before)
    (dropped,) = store.sweep(1, 1000.0, settled_at_last).dropped

    assert dropped.unshared is unshared
    assert store.peek(key(1)) is None


@pytest.mark.parametrize(
    ("settled_at", "now", "stays"),
    [(13.0, 14.0, True), (13.5, 14.0, False), (0.0, 112.9, True), (0.0, 113.0, False)],
    ids=["just settled", "all have told", "before retention", "after retention"],
)
@pytest.mark.parametrize("warm", [1, 100])
def test_what_sleeps_stays_until_all_have_told_their_news(
    warm: int, settled_at: float, now: float, stays: bool
) -> None:
    store = store_of(alive(key(1)), alive(key(2), idle_s=None), warm=warm)
    store.sweep(1, 13.0, 0.0)
    store.sweep(1, now, settled_at)
    record = store.peek(key(1))

    assert (record is not None) is stays
    assert record is None or (record.asleep and record.values() == {"x": b"\x01"})
    assert not store.is_forgotten(Stamp(5, A))


@pytest.mark.parametrize("warm", [1, 100])
@pytest.mark.parametrize(
    ("now", "counted", "stays"), [(79.9, True, True), (80.0, False, True), (100.0, False, False)]
)
def test_tombstones_leave_the_digest_first_and_the_store_then(
    now: float, counted: bool, stays: bool, warm: int
) -> None:
    ended = alive(key(1))
    ended.destroy(Stamp(9, B), 0.0)
    store = store_of(ended, alive(key(2, 2)), warm=warm)
    assert key(1) in store.counted(1, 0.0)

    assert store.sweep(1, now, 0.0) == Swept([], [])
    assert (key(1) in store.counted(1, now)) is counted
    assert (store.peek(key(1)) is not None) is stays
    assert store.is_forgotten(Stamp(5, A)) is not stays
    assert store.digests(now) == from_scratch(store, now)


def test_the_forgotten_are_remembered_for_each_member_that_bore() -> None:
    store = store_of()
    store.forget({A: 10})

    assert store.is_forgotten(Stamp(10, A)) and store.is_forgotten(Stamp(3, A))
    assert not store.is_forgotten(Stamp(11, A))
    assert not store.is_forgotten(Stamp(3, B))


@given(st.lists(versions, max_size=6))
def test_forgetting_is_a_pointwise_maximum(news: list[dict[MemberId, int]]) -> None:
    store, reverse = store_of(), store_of()
    for forgotten in news:
        store.forget(forgotten)
    for forgotten in reversed(news):
        reverse.forget(forgotten)
        reverse.forget(forgotten)
    greatest = {
        member: max(forgotten.get(member, 0) for forgotten in news)
        for forgotten in news
        for member in forgotten
    }

    assert store.forgotten == reverse.forgotten
    assert store.forgotten == {member: hlc for member, hlc in greatest.items() if hlc}


@given(st.dictionaries(st.binary(min_size=8, max_size=8), hlcs, max_size=12))
def test_what_is_forgotten_is_bounded_and_the_oldest_goes_first(news: dict[MemberId, int]) -> None:
    store = store_of(forgotten=4)
    store.forget(news)

    assert len(store.forgotten) <= 4
    kept = sorted(store.forgotten.values())
    assert kept == sorted(hlc for hlc in news.values() if hlc)[-4:]


def test_a_live_record_that_is_dropped_is_not_forgotten() -> None:
    record = alive(key(1))
    store = store_of(record)
    store.drop(record)

    assert store.forgotten == {}
    assert store.digests(0.0) == [0] * BUCKETS
