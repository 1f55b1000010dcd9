"""
What requests of the application do: look a session up, and commit what they changed.

Here a write begins its way: it gets its stamp, is applied to the record, encoded once, and put into
every outbox. An access only makes news of its own once in a tenth of the session's interval.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from replsession.config import Timing
from replsession.identity import Key, MemberId
from replsession.messages import Access, Accesses
from replsession.metrics import Metrics
from replsession.replication.outbox import Item
from replsession.replication.peers import Peers
from replsession.session.change import Change
from replsession.session.delta import REGISTER, Write
from replsession.session.expiry import SessionLimits, announce_every, is_over_here, limits_of
from replsession.session.record import RESERVED_PREFIX, SECRET, Record
from replsession.session.stamp import HybridClock, Stamp
from replsession.session.store import Store

ACCESSES_IN_MESSAGE_MAX = 1000
ACCESS_RESOLUTION_S = 0.1
"""Accesses of one session within so long are one; idle times are coarser than that anyway."""


@dataclass(slots=True)
class Requests:
    """The application's side of one member."""

    store: Store
    clock: HybridClock
    me: MemberId
    wall_offset_s: float
    peers: Peers
    metrics: Metrics
    timing: Timing
    announce_at: float
    announced: dict[Key, None] = field(default_factory=dict)
    """Sessions whose access is to be announced."""

    def open(self, key: Key, now: float, secret_hash: bytes | None) -> Record | None:
        """Look a session up; see :meth:`Node.open`."""
        self.metrics.opens += 1
        record = self.store.get(key)
        if record is None or not record.complete or record.destroyed is not None:
            return None
        if secret_hash is not None and record.value(SECRET) != secret_hash:
            return None
        limits = limits_of(record)
        if is_over_here(record, limits, now):
            return None
        if now - record.accessed >= ACCESS_RESOLUTION_S:
            record.accessed_before, record.accessed = record.accessed, now
            record.access = self._stamp(now)
            self._accessed(record, limits, now)
        return record

    def commit(self, change: Change, now: float) -> Record | None:
        """Stamp, apply and send a change; see :meth:`Node.commit`."""
        record = self.store.get(change.key)
        if record is None:
            if not change.birth:
                return None
        elif record.destroyed is not None or not record.complete:
            return None
        self.metrics.commits += 1
        stamp = self._stamp(now)
        if record is None:
            record = Record(change.key, stamp, now, stamp, now)
            record.complete = True
            self.store.add(record)
        if change.destroy:
            record.destroy(stamp, now)
            self.store.changed(change.key)
            for encoded in self.peers.encoded_record(record, now):
                self.peers.put_for_all(Item(change.key, encoded))
        else:
            self._write(record, change, stamp, now)
        return record

    def _stamp(self, now: float) -> Stamp:
        return Stamp(self.clock.tick(now + self.wall_offset_s), self.me)

    def _write(self, record: Record, change: Change, stamp: Stamp, now: float) -> None:
        writes: dict[str, Write] = {}
        plain: dict[str, bytes] = {}
        for name, value in change.writes.items():
            writes[name] = Write(stamp.hlc, stamp.member, REGISTER, value)
            if value is not None and not name.startswith(RESERVED_PREFIX):
                plain[name] = value
        since = record.version.get(stamp.member, 0)
        record.write(writes, plain)
        record.version[stamp.member] = stamp.hlc
        record.access, record.accessed, record.access_sent = stamp, now, now
        record.asleep = False
        self.announced.pop(change.key, None)
        self.store.changed(change.key)
        if len(self.peers):
            age_s = now - record.created
            encoded = self.peers.encoding.stream_item(
                change.key, record.born, since, stamp, age_s, writes
            )
            self.peers.put_for_all(Item(change.key, encoded))

    def _accessed(self, record: Record, limits: SessionLimits, now: float) -> None:
        idle = now - record.access_sent
        if idle >= self.timing.access_interval_s or idle >= announce_every(limits, self.timing):
            record.access_sent = now
            self.announced[record.key] = None

    def announce(self, now: float) -> None:
        """Send the collected accesses, if it is time."""
        if now < self.announce_at or not self.announced:
            return
        self.announce_at = now + self.timing.access_batch_s
        accesses: list[Access] = []
        for key in list(self.announced)[:ACCESSES_IN_MESSAGE_MAX]:
            del self.announced[key]
            record = self.store.peek(key)
            if record is not None and record.destroyed is None:
                accesses.append(Access(key, record.access, now - record.accessed))
        if len(self.peers) and accesses:
            self.metrics.accesses_sent += len(accesses)
            self.peers.send_to_all(Accesses(tuple(accesses)))
