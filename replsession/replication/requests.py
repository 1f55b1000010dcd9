"""
What requests of the application do: look a session up, and commit what they changed.

Here a write begins its way: it gets its stamp, is applied to the record, encoded once, and put into
every outbox. One that would fit into no frame goes as a whole record in pieces. An access only
makes news of its own once in a tenth of the session's interval.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

from replsession.config import Timing
from replsession.identity import Key, MemberId
from replsession.messages import Access, Accesses
from replsession.metrics import Metrics
from replsession.replication.freshness import Freshness, Lookup, behind, covers
from replsession.replication.outbox import HELD_ALL, Item
from replsession.replication.peers import Peers
from replsession.replication.principals import Principals
from replsession.session import counter, flashes
from replsession.session.change import Change
from replsession.session.delta import COUNTER, REGISTER, Write
from replsession.session.expiry import (
    SessionLimits,
    announce_every,
    is_over_here,
    limits_of,
    lived_too_long,
)
from replsession.session.principals import epochs_key
from replsession.session.record import PRINCIPAL, RESERVED_PREFIX, SECRET, Record
from replsession.session.stamp import HybridClock, Seen, Stamp
from replsession.session.store import Store

ACCESSES_IN_MESSAGE_MAX = 1000
ACCESS_MESSAGES_AT_ONCE_MAX = 10
"""Ten thousand sessions a second: nearly two million that are accessed all the time, half an hour
each. More are told late."""
_NULL = b"\xf6"
ACCESS_RESOLUTION_S = 0.1
"""Accesses of one session here within so long are one; idle times are coarser than that anyway."""


@dataclass(slots=True)
class Requests:
    """The application's side of one member; ``me`` is the id in its stamps."""

    store: Store
    clock: HybridClock
    me: MemberId
    wall_offset_s: float
    peers: Peers
    metrics: Metrics
    timing: Timing
    freshness: Freshness
    principals: Principals
    announce_at: float
    announced: dict[Key, tuple[Stamp, float]] = field(default_factory=dict)
    """Sessions whose access is to be announced: the latest one here, and when it was made."""

    def open(
        self,
        key: Key,
        now: float,
        secret_hash: bytes | None,
        seen: Seen,
        *,
        is_final: bool,
    ) -> Record | Lookup | None:
        """Look a session up; see :meth:`Node.open`."""
        self.metrics.opens += 1
        self.clock.observe(seen.clock)
        record = self.store.get(key)
        if record is None or not record.complete:
            return None if is_final else self.freshness.begin(key, seen.version, now)
        if record.destroyed is not None:
            return None
        if seen.version and not is_final and not covers(record, seen.version, self.me):
            return self.freshness.begin(key, seen.version, now) or behind(key, seen.version, now)
        if secret_hash is not None and record.value(SECRET) != secret_hash:
            return None
        if record.indexed is not None and self.principals.has_ended(record, now):
            return None
        limits = limits_of(record)
        if record.asleep or is_over_here(record, limits, now):
            return None if is_final else self.freshness.begin(key, seen.version, now)
        # The time of another member's access is an estimate, and may turn out to be long ago.
        if record.access.member != self.me or now - record.accessed >= ACCESS_RESOLUTION_S:
            record.accessed_before = record.last_accessed
            record.accessed_here(self.stamp(now), now)
            self._accessed(record, limits, now)
        return record

    def commit(self, change: Change, now: float) -> Record | None:
        """Stamp, apply and send a change; see :meth:`Node.commit`."""
        record = self.store.get(change.key)
        if record is None:
            if not change.birth:
                return None
        elif not self._may_write(record, change, now):
            return None
        self.metrics.commits += 1
        stamp = self.stamp(now)
        if record is not None and self.clock.was_shown_the_end:
            hlc = self.clock.above(stamp.hlc, record.greatest())
            if hlc is None:
                self.metrics.sessions_unwritable += 1
                change = Change(change.key, {}, destroy=True)
            else:
                stamp = stamp._replace(hlc=hlc)
        if record is None:
            record = Record(change.key, stamp, now, stamp, now)
            record.complete = True
            self.store.add(record)
        if change.destroy:
            record.destroy(stamp, now)
            self.store.changed(change.key)
            for encoded in self.peers.encoded_record(record, now):
                self.peers.put_for_all(Item(change.key, encoded, mark=HELD_ALL))
        else:
            self._write(record, change, stamp, now)
        return record

    def reserve(self, now: float) -> Stamp:
        """
        Return a stamp that the next commit of this member will be above.

        A token that is printed before its request commits names it, so that it covers that commit.
        """
        return self.stamp(now)

    def stamp(self, now: float) -> Stamp:
        """Return a stamp for what is done here now."""
        return Stamp(self.clock.tick(now + self.wall_offset_s), self.me)

    def end_all(self, context: str, name: str, now: float) -> int:
        """
        End all sessions of a principal: those here now, and later those that others have.

        Returns:
            How many were live here.
        """
        place = epochs_key(context, name)
        is_first = self.store.peek(place) is None
        epoch: dict[str, bytes | None] = {self.me.hex(): _NULL}
        self.commit(Change(place, epoch, birth=is_first), now)
        return self.principals.end_all(place, now)

    def _may_write(self, record: Record, change: Change, now: float) -> bool:
        if record.destroyed is not None or not record.complete:
            return False
        if change.destroy:
            return True
        if record.indexed is not None and self.principals.has_ended(record, now):
            return False
        return not lived_too_long(record, now)

    def _write(self, record: Record, change: Change, stamp: Stamp, now: float) -> None:
        writes: dict[str, Write] = {}
        plain: dict[str, bytes] = {}
        for name, value in change.writes.items():
            if name == PRINCIPAL and value is not None:
                value = self.principals.login(record, value)
            writes[name] = Write(stamp.hlc, stamp.member, REGISTER, value)
            if value is not None and not name.startswith(RESERVED_PREFIX):
                plain[name] = value
        if change.increments or change.flashed or change.popped:
            self._write_own(record, change, stamp, writes)
        since = record.version.get(stamp.member, 0)
        record.write(writes, plain)
        record.version[stamp.member] = stamp.hlc
        record.accessed_here(stamp, now)
        record.access_sent = now
        self.announced.pop(change.key, None)
        if record.asleep:
            # The request began before it fell asleep, and is a fresher access.
            self.metrics.sessions_woken += 1
            self.store.wake(record, now)
        self.store.changed(change.key)
        if PRINCIPAL in writes:
            self.principals.keep_bound(record, now)
        if len(self.peers):
            age_s = now - record.created
            encoded = self.peers.encoding.stream_item(
                change.key, record.born, since, stamp, age_s, writes
            )
            if len(encoded) <= self.peers.limits.item_bytes_max:
                self.peers.put_for_all(Item(change.key, encoded, mark=stamp.hlc))
            else:
                self.metrics.deltas_too_long += 1
                self.peers.put_record_for_all(record, now, stamp.hlc)

    def _write_own(
        self, record: Record, change: Change, stamp: Stamp, writes: dict[str, Write]
    ) -> None:
        """Add what is kept in registers that only this writer writes, on top of what is there."""
        attributes = record.attributes
        for name, amount in change.increments.items():
            register, count = counter.counted(attributes, stamp.member, name, amount)
            writes[register] = Write(stamp.hlc, stamp.member, COUNTER, count)
        if change.flashed or change.popped:
            register, value, dropped = flashes.written(
                attributes, stamp, change.flashed, change.popped, self.peers.limits
            )
            writes[register] = Write(stamp.hlc, stamp.member, REGISTER, value)
            self.metrics.flashes_dropped += dropped

    def _accessed(self, record: Record, limits: SessionLimits, now: float) -> None:
        idle = now - record.access_sent
        if idle >= self.timing.access_interval_s or idle >= announce_every(limits, self.timing):
            record.access_sent = now
            self.announced[record.key] = record.access, now
        elif record.key in self.announced:
            self.announced[record.key] = record.access, now

    def announce(self, now: float) -> None:
        """Send the collected accesses, if it is time."""
        if now < self.announce_at or not self.announced:
            return
        self.announce_at = now + self.timing.access_batch_s
        most = ACCESSES_IN_MESSAGE_MAX * ACCESS_MESSAGES_AT_ONCE_MAX
        accesses: list[Access] = []
        for key in list(islice(self.announced, most)):
            # Not what the record names: that may be another member's by now.
            access, made_at = self.announced.pop(key)
            record = self.store.peek(key)
            if record is not None and record.destroyed is None:
                accesses.append(Access(key, access, now - made_at))
                self.freshness.intake.tell_message("access", key, None)
        if not len(self.peers):
            return
        self.metrics.accesses_sent += len(accesses)
        for at in range(0, len(accesses), ACCESSES_IN_MESSAGE_MAX):
            message = Accesses(tuple(accesses[at : at + ACCESSES_IN_MESSAGE_MAX]))
            self.peers.send_to_all(message)
