"""
What the property tests draw: stamps, deltas, records, messages, and whole lives of sessions.

Everything here could have come from a member that follows the rules: ages are whole milliseconds,
as on the wire, and one stamp never stands for two values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, timedelta, timezone
from decimal import Decimal
from math import inf
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import cbor2
from hypothesis import strategies as st

from replsession import messages as m
from replsession.identity import Address, Key, MemberId
from replsession.replication.pieces import whole
from replsession.session.delta import REGISTER, Delta, Piece, Write, joined
from replsession.session.record import Merge, Record
from replsession.session.stamp import HLC_MAX, HybridClock, Stamp
from tests.session import shop


class Seeded(Random):
    """Randomness that names its seed where a test fails."""

    def __init__(self, seed_of_it: int) -> None:
        super().__init__(seed_of_it)
        self.name = f"Seeded({seed_of_it})"

    def __repr__(self) -> str:
        return self.name


KEY = Key("/shop", bytes(range(12)))
MEMBERS = tuple(bytes([number]) * 8 for number in (1, 2, 3))
UINT64_MAX = 2**64 - 1

rngs = st.builds(Seeded, st.integers(0, 2**32 - 1))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
counts = st.one_of(st.integers(0, 300), st.integers(0, UINT64_MAX))
ages = st.one_of(st.integers(0, 5000), st.integers(0, 2**40)).map(lambda ms: ms / 1000)
hlcs = st.one_of(st.integers(1, 50), st.integers(0, HLC_MAX - 1))
member_ids = st.one_of(st.sampled_from(MEMBERS), st.binary(min_size=8, max_size=8))
stamps = st.builds(Stamp, hlcs, member_ids)
keys = st.builds(Key, texts, st.binary(min_size=12, max_size=12))
addresses = st.builds(Address, texts, st.integers(1, 65535))
values = st.none() | st.binary(max_size=40)
versions = st.dictionaries(member_ids, hlcs, max_size=4)
writes = st.builds(Write, hlcs, member_ids, st.integers(0, 255), values)
attributes = st.dictionaries(texts, writes, max_size=5)
monotonic = st.floats(0, 1e9)


# What an application may store: every type of the format, at any depth.

int64s = st.integers(-(2**63), 2**63 - 1)
long_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
plain_scalars = st.one_of(
    st.none(), st.booleans(), int64s, st.floats(), long_texts, st.binary(max_size=300)
)
offsets = st.builds(
    lambda microseconds, name: timezone(timedelta(microseconds=microseconds), *name),
    st.integers(1 - 86_400_000_000, 86_400_000_000 - 1),
    st.just(()) | st.tuples(texts),
)
zones = st.one_of(
    st.none(),
    st.just(UTC),
    offsets,
    st.sampled_from(["Europe/Berlin", "America/New_York", "Etc/GMT+5", "UTC"]).map(ZoneInfo),
)
timedeltas = st.timedeltas()
decimals = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False),
    st.sampled_from(["NaN", "-NaN7", "Infinity", "-Infinity", "-0", "0E-7", "1.500", "1E+400"]),
).map(Decimal)
colours = st.sampled_from([*shop.Colour])
leaf_values = st.one_of(
    st.datetimes(timezones=zones, allow_imaginary=True),
    st.builds(lambda at, fold: at.replace(fold=fold), st.datetimes(), st.integers(0, 1)),
    st.dates(),
    st.times(timezones=zones),
    timedeltas,
    decimals,
    st.uuids(),
    colours,
    st.sampled_from([*shop.Level]),
    st.integers(0, 7).map(shop.Permission),
    st.builds(shop.Slug, texts),
)
hashables = st.recursive(
    plain_scalars | leaf_values,
    lambda inner: st.one_of(
        st.frozensets(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.builds(shop.Price, inner),
        st.builds(shop.Tag, texts),
    ),
    max_leaves=8,
)
cart_lines = st.builds(shop.Line, texts, int64s, decimals)
plain_values = st.recursive(
    plain_scalars,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(long_texts, inner, max_size=6),
    max_leaves=30,
)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(texts | int64s, inner, max_size=5),
        st.builds(shop.Cart, st.lists(cart_lines, max_size=3), st.sets(colours), inner),
        st.builds(shop.Point, int64s, int64s),
    )


session_values = st.recursive(
    st.one_of(plain_scalars, leaf_values, hashables, st.sets(hashables, max_size=5), cart_lines),
    _containers,
    max_leaves=20,
)


@st.composite
def commits(draw: st.DrawFn) -> Delta:
    """The writes of one request."""
    stamp = draw(stamps)
    named = draw(st.dictionaries(texts, st.tuples(st.integers(0, 255), values), max_size=5))
    written = {name: Write(*stamp, kind, value) for name, (kind, value) in named.items()}
    version = {stamp.member: stamp.hlc}
    return Delta(
        draw(keys), draw(stamps), draw(hlcs), version, written, draw(ages), stamp, idle_s=0.0
    )


@st.composite
def joined_deltas(draw: st.DrawFn) -> Delta:
    """The writes of several requests of one member, each with the clock value of its own."""
    delta = draw(commits())
    earlier = st.integers(0, delta.writer.hlc)
    written = {name: write._replace(hlc=draw(earlier)) for name, write in delta.attributes.items()}
    return delta._replace(attributes=written)


@st.composite
def tombstones(draw: st.DrawFn) -> Delta:
    """The end of a session."""
    end = draw(stamps)
    return Delta(
        draw(keys),
        draw(stamps),
        None,
        {},
        {},
        0.0,
        end,
        0.0,
        destroyed=end,
        destroyed_age_s=draw(ages),
    )


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    """Which part of a whole record it is; there are at least two of them."""
    number = draw(st.integers(0, 50))
    return Piece(draw(counts), number, draw(st.integers(max(2, number + 1), 99)))


whole_records = st.builds(
    Delta,
    key=keys,
    born=stamps,
    since=st.none(),
    version=versions,
    attributes=attributes,
    age_s=ages,
    access=stamps,
    idle_s=ages,
    complete=st.booleans(),
    piece=st.none() | pieces(),
    destroyed=st.none(),
    destroyed_age_s=st.just(0.0),
    asleep_s=st.none() | ages,
)
stream_deltas = st.one_of(commits(), joined_deltas())
deltas = st.one_of(stream_deltas, tombstones(), whole_records)
delta_tuples = st.lists(deltas, max_size=3).map(tuple)
key_tuples = st.lists(keys, max_size=3).map(tuple)
buckets = st.integers(0, 255)
buckets_complete = st.integers(0, 256)
leaves = st.integers(0, 65535)
digests = st.integers(0, UINT64_MAX)
accesses = st.builds(m.Access, keys, stamps, ages)
expirations = st.builds(m.Expiration, keys, stamps)
heartbeats = st.builds(m.Heartbeat, member_ids, addresses)
neighbours = st.builds(m.Neighbour, member_ids, texts, counts, addresses)


def bucket_digests(seed: int) -> tuple[int, ...]:
    """Return a digest for each of the 256 buckets."""
    rng = Random(seed)
    return tuple(rng.getrandbits(64) for _ in range(256))


messages_by_kind: dict[type[object], st.SearchStrategy[m.Message]] = {
    m.Hello: st.builds(m.Hello, member_ids, texts, counts, addresses, st.booleans(), counts),
    m.Status: st.builds(m.Status, st.booleans()),
    m.Goodbye: st.just(m.Goodbye()),
    m.Ping: st.just(m.Ping()),
    m.Deltas: st.builds(m.Deltas, counts, delta_tuples),
    m.Urge: st.just(m.Urge()),
    m.Acknowledge: st.builds(m.Acknowledge, counts, key_tuples),
    m.Accesses: st.builds(m.Accesses, st.lists(accesses, max_size=3).map(tuple)),
    m.RecordRequest: st.builds(m.RecordRequest, key_tuples),
    m.RecordInquiry: st.builds(m.RecordInquiry, counts, key_tuples),
    m.RecordAnswer: st.builds(m.RecordAnswer, counts, key_tuples, delta_tuples),
    m.RepairOffer: st.builds(m.RepairOffer, counts, st.integers(0, 2**32).map(bucket_digests)),
    m.RepairAnswer: st.builds(m.RepairAnswer, counts, st.lists(buckets, max_size=256).map(tuple)),
    m.LeafDigests: st.builds(
        m.LeafDigests,
        counts,
        counts,
        buckets,
        st.dictionaries(buckets, st.dictionaries(buckets, digests, max_size=4), max_size=4),
    ),
    m.RecordDigests: st.builds(
        m.RecordDigests,
        counts,
        counts,
        st.none() | leaves,
        st.lists(leaves, max_size=4).map(tuple),
        st.dictionaries(keys, digests, max_size=4),
    ),
    m.RepairRequest: st.builds(m.RepairRequest, counts, counts, key_tuples, delta_tuples),
    m.RepairRecords: st.builds(m.RepairRecords, counts, counts, key_tuples, delta_tuples),
    m.StateRequest: st.builds(m.StateRequest, counts, buckets_complete),
    m.StateRefused: st.builds(m.StateRefused, counts),
    m.StateChunk: st.builds(m.StateChunk, counts, counts, buckets_complete, delta_tuples),
    m.StateCredit: st.builds(m.StateCredit, counts, counts),
    m.StateEnd: st.builds(m.StateEnd, counts, counts, counts, versions),
    m.Probe: st.builds(m.Probe, counts),
    m.ProbeAnswer: st.builds(m.ProbeAnswer, counts),
    m.Inquiry: st.builds(m.Inquiry, member_ids),
    m.Testimony: st.builds(m.Testimony, member_ids, counts),
    m.Neighbours: st.builds(m.Neighbours, st.lists(neighbours, max_size=4).map(tuple)),
    m.Expirations: st.builds(m.Expirations, st.lists(expirations, max_size=3).map(tuple)),
}
messages = st.one_of(*messages_by_kind.values())


@st.composite
def records(draw: st.DrawFn, key: st.SearchStrategy[Key] = keys) -> Record:
    """A record in any state that a member may keep it in."""
    record = Record(draw(key), draw(stamps), draw(monotonic), draw(stamps), draw(monotonic))
    record.access_sent = draw(monotonic)
    record.counted = draw(digests)
    record.accessed_else = draw(st.just(-inf) | monotonic)
    record.complete = draw(st.booleans())
    record.asleep = draw(st.booleans())
    record.released, record.unshared = draw(st.booleans()), draw(st.booleans())
    record.ended_at = draw(monotonic)
    if draw(st.integers(0, 3)) == 0:
        record.destroy(draw(stamps), draw(monotonic))
    else:
        record.attributes = draw(attributes)
        record.version = draw(versions)
    return record


@dataclass
class Life:
    """
    One session as three members lived it, and everything that could have travelled.

    Each member has its own clock, which may be far ahead or behind, and its own record. A member
    writes only in a record that is complete, as only those are served.
    """

    rng: Random
    now: float = 500.0
    travelled: list[Delta] = field(default_factory=list)
    """Stream deltas, whole records and tombstones, in the order in which they were sent."""
    written: list[tuple[Stamp, str]] = field(default_factory=list)
    """Every write there ever was: its stamp, and the attribute's name."""
    _clocks: dict[MemberId, HybridClock] = field(default_factory=dict)
    _records: dict[MemberId, Record] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._clocks = {member: HybridClock() for member in MEMBERS}
        born = Stamp(self._tick(MEMBERS[0]), MEMBERS[0])
        record = Record(KEY, born, self.now, born, self.now)
        record.complete = True
        self._records[MEMBERS[0]] = record
        self._write(MEMBERS[0], born)

    def go_on(self) -> None:
        """Do one step: mostly a write, else a member gets something that travelled."""
        member = self.rng.choice(MEMBERS)
        record = self._records.get(member)
        if record is not None and record.complete and self.rng.random() < 0.6:
            if record.destroyed is None:
                self._write(member, Stamp(self._tick(member), member))
        else:
            self.give(member, self.rng.choice(self.travelled))

    def end(self) -> None:
        """Let a member that has the session end it."""
        member = self.rng.choice(list(self._records))
        record = self._records[member]
        if record.destroyed is None:
            record.destroy(Stamp(self._tick(member), member), self.now)
            self.travelled.append(whole(record, self.now))

    def give(self, member: MemberId, delta: Delta) -> Merge:
        """Merge something into a member's record, which it may then send on."""
        clock = self._clocks[member]
        held = self._records.get(member)
        record = Record.from_delta(delta, self.now) if held is None else held
        self._records[member] = record
        merge = record.merge(delta, self.now)
        for write in record.attributes.values():
            clock.observe(write.hlc)
        clock.observe(max(record.born.hlc, (record.destroyed or record.born).hlc))
        if self.rng.random() < 0.3:
            self.travelled.append(whole(record, self.now))
        return merge

    def _tick(self, member: MemberId) -> int:
        # Wall clocks that jump over hours: stamps must not care.
        return self._clocks[member].tick(self.rng.choice((0.0, 3600.0, 7200.0)))

    def _write(self, member: MemberId, stamp: Stamp) -> None:
        record = self._records[member]
        since = record.version.get(member, 0)
        names = self.rng.sample("abcd", self.rng.randint(1, 2))
        value = None if self.rng.random() < 0.2 else cbor2.dumps(len(self.written))
        written = {name: Write(*stamp, REGISTER, value) for name in names}
        record.attributes |= written
        record.version[member] = stamp.hlc
        self.written += [(stamp, name) for name in names]
        delta = Delta(record.key, record.born, since, {member: stamp.hlc}, written, 0.0, stamp, 0.0)
        before = [sent for sent in self.travelled if sent.since is not None]
        if before and before[-1].writer == Stamp(since, member) and self.rng.random() < 0.3:
            self.travelled.append(joined(before[-1], delta))
        self.travelled.append(delta)


@st.composite
def lives(draw: st.DrawFn, *, steps_max: int = 14, may_end: bool = True) -> Life:
    """The life of one session, with up to so many steps and perhaps an end."""
    life = Life(draw(rngs))
    for _ in range(draw(st.integers(0, steps_max))):
        life.go_on()
    if may_end and draw(st.booleans()):
        life.end()
        for _ in range(draw(st.integers(0, 3))):
            life.go_on()
    return life
