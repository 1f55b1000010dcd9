"""
The store: every record of a member, in 256 buckets, with a digest of each bucket.

Records used lately are objects ("warm"), all others are bytes (see ``packing``). A bucket is the
first byte of the locator, which is random, so buckets are of one size.

Rules of this file:

1. Whoever changes a record calls ``changed``. Only then do digests, and the index of principals,
   stay true.
2. A digest counts the records that others should hold too: neither sleeping ones, nor tombstones
   that are about to be dropped everywhere (docs/design.md, rules 2 and 3).
3. A dropped tombstone is remembered in ``forgotten``, per member that bore the session: a late
   write to such a session must not bring it back (docs/design.md, rule 1).
4. A sleeping record that is dropped says, in ``unshared``, whether others may lack what was written
   to it here: the member then goes on under a new name (docs/design.md, rule 7).
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from itertools import chain, islice
from typing import NamedTuple

from replsession.config import Limits, Timing
from replsession.identity import Key, MemberId
from replsession.session.expiry import is_over, look_at, needs_grace, tombstone_counts
from replsession.session.packing import counted_in, look_at_in, pack, unpack
from replsession.session.principals import PrincipalIndex
from replsession.session.record import Record
from replsession.session.sleeping import Sleepers
from replsession.session.stamp import Stamp

BUCKETS = 256
NOBODY: MemberId = b""


class Swept(NamedTuple):
    """What a sweep did to a bucket."""

    fell_asleep: list[Record]
    dropped: list[Record]
    """Those that were asleep before."""


class Store:
    """All records of one member. Not thread-safe: one lock of the channel guards it."""

    def __init__(self, limits: Limits, timing: Timing) -> None:
        self._warm_max = limits.warm_records_max
        self._forgotten_max = limits.forgotten_max
        self._timing = timing
        self._buckets: list[dict[Key, Record | bytes]] = [{} for _ in range(BUCKETS)]
        self._digests = [0] * BUCKETS
        self._warm: dict[Key, None] = {}
        self._uncounted: dict[Key, None] = {}
        self.sleepers = Sleepers(limits.sleeping_bytes_max)
        self.forgotten: dict[MemberId, int] = {}
        self.principals = PrincipalIndex()
        self.sizes: dict[str, int] = {}
        """Records of each context, tombstones and sleeping records included."""

    def __len__(self) -> int:
        return sum(self.sizes.values())

    def get(self, key: Key) -> Record | None:
        """Return the record, sleeping, partial or ended as it may be, or None."""
        bucket = self._buckets[key.locator[0]]
        entry = bucket.get(key)
        if entry is None or type(entry) is Record:
            return entry
        assert type(entry) is bytes
        record = unpack(key, entry)
        bucket[key] = record
        self._warm[key] = None
        if len(self._warm) > self._warm_max:
            self._cool()
        return record

    def add(self, record: Record) -> None:
        """Take in a record that was not here before."""
        key = record.key
        bucket = self._buckets[key.locator[0]]
        assert key not in bucket, key
        bucket[key] = record
        self.sizes[key.context] = self.sizes.get(key.context, 0) + 1
        self._uncounted[key] = None
        self._warm[key] = None
        self.principals.follow(record)
        if record.asleep:
            self._measure(record)
        if len(self._warm) > self._warm_max:
            self._cool()

    def changed(self, key: Key) -> None:
        """Say that the record's stamps, end, or sleep changed, so that its digest is made anew."""
        self._uncounted[key] = None
        record = self._record(key)
        self.principals.follow(record)
        if key in self.sleepers.since:
            if record.asleep:
                self._measure(record)
            else:
                self.sleepers.discard(key)

    def drop(self, record: Record) -> None:
        """Forget a record; that of an ended session is remembered as forgotten."""
        key = record.key
        del self._buckets[key.locator[0]][key]
        self._digests[key.locator[0]] ^= record.counted
        self._warm.pop(key, None)
        self._uncounted.pop(key, None)
        self.sleepers.discard(key)
        self.principals.discard(record)
        self.sizes[key.context] -= 1
        if record.destroyed is not None:
            self.forget({record.born.member: record.born.hlc})

    def forget(self, forgotten: dict[MemberId, int]) -> None:
        """Join what another member, or this one, has forgotten: the pointwise maximum."""
        for member, hlc in forgotten.items():
            if hlc > self.forgotten.get(member, 0):
                self.forgotten[member] = hlc
        while len(self.forgotten) > self._forgotten_max:
            del self.forgotten[min(self.forgotten, key=self.forgotten.__getitem__)]

    def is_forgotten(self, born: Stamp) -> bool:
        """Tell whether a session unknown here may be one that ended and was dropped."""
        return born.hlc <= self.forgotten.get(born.member, -1)

    def count(self, now: float, most: int) -> None:
        """
        Make the digests of records that changed longest ago, while more than *most* wait for it.

        At the next round of repair all that wait are counted at once, and a state transfer that
        brought 100 000 sessions would stop the member for seconds.
        """
        surplus = len(self._uncounted) - most
        if surplus > 0:
            self._count(list(islice(self._uncounted, surplus)), now)

    def digests(self, now: float) -> list[int]:
        """Return the digest of each bucket; unequal ones hold something to exchange."""
        self._count(list(self._uncounted), now)
        return list(self._digests)

    def _count(self, keys: list[Key], now: float) -> None:
        for key in keys:
            del self._uncounted[key]
            record = self._record(key)
            bucket = key.locator[0]
            self._digests[bucket] ^= record.counted
            record.counted = record.digest() if self._counts(record, now) else 0
            self._digests[bucket] ^= record.counted
            if key not in self._warm:
                self._buckets[bucket][key] = pack(record, look_at(record, self._timing))

    def counted(
        self, bucket: int, now: float, leaves: Container[int] | None = None
    ) -> dict[Key, int]:
        """
        Return the digest of each record that the bucket's digest counts.

        Args:
            bucket: 0 to 255.
            now: Seconds of the local monotonic clock.
            leaves: Only of records in these leaves, 0 to 255: a leaf is the records whose locators
                have the same second byte.
        """
        self.digests(now)
        found: dict[Key, int] = {}
        for key, entry in self._buckets[bucket].items():
            if leaves is None or key.locator[1] in leaves:
                digest = _counted(entry)
                if digest:
                    found[key] = digest
        return found

    def leaves(self, bucket: int, now: float, first: int = 0) -> dict[int, int]:
        """
        Return the digest of each leaf of a bucket from *first* on, in their order.

        It is made when it is asked for: only buckets that are unequal are looked into.
        """
        self.digests(now)
        found: dict[int, int] = {}
        for key, entry in self._buckets[bucket].items():
            leaf = key.locator[1]
            found[leaf] = found.get(leaf, 0) ^ _counted(entry)
        return {leaf: found[leaf] for leaf in sorted(found) if found[leaf] and leaf >= first}

    def size(self, bucket: int) -> int:
        """Return how many records a bucket has, tombstones and sleeping records included."""
        return len(self._buckets[bucket])

    def keys(self, bucket: int) -> list[Key]:
        """Return the keys of one bucket, as they are at this moment."""
        return list(self._buckets[bucket])

    def entries(self, bucket: int) -> Iterator[tuple[Key, Record | bytes]]:
        """Walk over one bucket as it is kept, to count; nothing may change meanwhile."""
        return iter(self._buckets[bucket].items())

    def next_bucket(self, bucket: int) -> int:
        """Return the next bucket after this one that is not empty, in a circle."""
        for following in chain(range(bucket + 1, BUCKETS), range(bucket)):
            if self._buckets[following]:
                return following
        return bucket

    def peek(self, key: Key) -> Record | None:
        """Return the record without making it warm: to read it once, never to change it."""
        entry = self._buckets[key.locator[0]].get(key)
        return unpack(key, entry) if type(entry) is bytes else entry  # type: ignore[return-value]

    def records(self) -> Iterator[Record]:
        """Walk over all records without making them warm; for counting and for tests."""
        for bucket in range(BUCKETS):
            for key in self.keys(bucket):
                record = self.peek(key)
                if record is not None:
                    yield record

    def put_to_sleep(self, key: Key, now: float, settled_at: float) -> Record:
        """
        Hide a record that is over here; return it, to be read only.

        Args:
            key: Of a record that is awake.
            now: Seconds of the local monotonic clock.
            settled_at: As for :meth:`sweep`.
        """
        record = self._record(key)
        # While it slept before, rounds of repair did not tell of it.
        told_from = max(record.access_sent, record.ended_at)
        record.unshared = told_from >= settled_at
        record.asleep = True
        record.ended_at = now
        # At rest at once: nobody will ask for it.
        self._warm.pop(key, None)
        self._buckets[key.locator[0]][key] = packed = pack(record, now)
        self.sleepers.put(key, now, len(packed))
        self._uncounted[key] = None
        return record

    def wake(self, record: Record, now: float) -> None:
        """Show a sleeping record again; it came from :meth:`get`."""
        record.asleep = record.unshared = False
        record.ended_at = now
        self.changed(record.key)

    def sweep(self, bucket: int, now: float, settled_at: float, writer: MemberId = NOBODY) -> Swept:
        """
        Put the sessions of one bucket that are over to sleep, and drop what nobody needs any more.

        Args:
            bucket: 0 to 255.
            now: Seconds of the local monotonic clock.
            settled_at: Every member that may hold news has told them since then: what fell asleep
                before can be dropped.
            writer: The id in the stamps that are made here.
        """
        swept = Swept([], [])
        for key, entry in list(self._buckets[bucket].items()):
            since = self.sleepers.since.get(key)
            if since is not None:
                if since < settled_at or self._is_past_retention(since, now):
                    swept.dropped.append(self._drop_sleeping(key, settled_at))
                continue
            if type(entry) is bytes and look_at_in(entry) > now:
                continue
            record = self._record(key)
            if record.destroyed is not None:
                self._sweep_tombstone(record, now)
            elif is_over(record, now, self._timing, grace=needs_grace(record, writer)):
                swept.fell_asleep.append(self.put_to_sleep(key, now, settled_at))
        return swept

    def drop_surplus(self, settled_at: float) -> list[Record]:
        """Drop the longest asleep while all take more bytes than they may; return what went."""
        dropped: list[Record] = []
        while self.sleepers.are_too_many:
            dropped.append(self._drop_sleeping(self.sleepers.longest_asleep(), settled_at))
        return dropped

    def _sweep_tombstone(self, record: Record, now: float) -> None:
        if self._is_past_retention(record.ended_at, now):
            self.drop(record)
        elif record.counted and not self._counts(record, now):
            self.changed(record.key)

    def _is_past_retention(self, since: float, now: float) -> bool:
        return now - since >= self._timing.tombstone_retention_s

    def _drop_sleeping(self, key: Key, settled_at: float) -> Record:
        record = self._record(key)
        self.drop(record)
        record.unshared = record.unshared or record.ended_at >= settled_at
        return record

    def _measure(self, record: Record) -> None:
        size = len(pack(record, record.ended_at))
        self.sleepers.put(record.key, record.ended_at, size)

    def _counts(self, record: Record, now: float) -> bool:
        if record.destroyed is not None:
            return tombstone_counts(now - record.ended_at, self._timing)
        return not record.asleep

    def _record(self, key: Key) -> Record:
        record = self.peek(key)
        assert record is not None, key
        return record

    def _cool(self) -> None:
        # Half at a time, so that the cost of packing is paid in one place and rarely. The order is
        # that of becoming warm: a record in steady use comes back at its next request.
        for key in list(self._warm)[: max(1, self._warm_max // 2)]:
            del self._warm[key]
            bucket = self._buckets[key.locator[0]]
            entry = bucket[key]
            assert type(entry) is Record
            bucket[key] = pack(entry, look_at(entry, self._timing))


def _counted(entry: Record | bytes) -> int:
    return counted_in(entry) if type(entry) is bytes else entry.counted  # type: ignore[union-attr]
