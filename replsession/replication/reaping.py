"""
The reaper: puts sessions that are over to sleep, and drops those that nobody needs any more.

::

    member that served it last     sweep: over ──▶ asleep ── Expirations ──▶ the others
    another one                    notice: over by my own estimate, too? ──▶ asleep
                                           I know of a fresher access ── Accesses ──▶ wakes it there
                                   no notice: a grace later, alone ──▶ asleep

Rules of this file (docs/design.md):

3. What is over is hidden, not dropped. It goes when all have told their news since, or after the
   retention, or when sleeping sessions take too many bytes.
4. A notice of expiry only lets its receiver judge by what it knows itself.
7. Who drops a session that it had written, before everybody was known to have those writes, writes
   to it under a new name: if the session comes back from another member without them, stamps of the
   old name would claim them. Most never come back, so the name is changed when one does, or when
   there are too many to remember.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from random import Random

from replsession.config import Timing
from replsession.identity import MEMBER_ID_BYTES, Key
from replsession.messages import Access, Accesses, Expiration, Expirations
from replsession.metrics import Metrics
from replsession.replication.intake import Intake
from replsession.replication.peers import Peer, Peers
from replsession.replication.requests import Requests
from replsession.session.expiry import is_over
from replsession.session.record import Record
from replsession.session.store import BUCKETS, Store

EXPIRATIONS_IN_MESSAGE_MAX = 1000


@dataclass(slots=True)
class Reaper:
    """Expiry at work, on one member."""

    intake: Intake
    requests: Requests
    settled_at: Callable[[float], float]
    """Returns the time before which every member known has told all its news."""
    rng: Random
    """For new names."""
    sweep_at: float
    announce_at: float = 0.0
    bucket: int = 0
    given_up: dict[Key, None] = field(default_factory=dict)
    """Sessions dropped that were written here under the present name, and perhaps not shared."""
    notices: dict[Key, None] = field(default_factory=dict)
    """Sessions that were served last here and are over, to be told to the others."""
    store: Store = field(init=False)
    peers: Peers = field(init=False)
    metrics: Metrics = field(init=False)
    timing: Timing = field(init=False)

    def __post_init__(self) -> None:
        self.store, self.peers = self.requests.store, self.requests.peers
        self.metrics, self.timing = self.requests.metrics, self.requests.timing

    def timer_fired(self, now: float) -> None:
        """Tell what is over, if it is time, and visit the next bucket."""
        self.announce(now)
        if now >= self.sweep_at:
            self.sweep(now)

    def before_commit(self, key: Key) -> None:
        """A request writes to a session: perhaps one that was given up, and came back."""
        if key in self.given_up:
            self._rename()

    def next_at(self) -> float:
        """Return when there is something to do again."""
        return min(self.sweep_at, self.announce_at) if self.notices else self.sweep_at

    def sweep(self, now: float) -> None:
        """Put what is over in the next bucket to sleep, and drop what nobody needs any more."""
        self.sweep_at = now + self.timing.sweep_interval_s
        settled_at, writer = self._settled_at(now), self.requests.me
        swept = self.store.sweep(self.bucket, now, settled_at, writer)
        for record in swept.fell_asleep:
            self._fell_asleep(record)
            if record.access.member == writer:
                self._notice(record.key)
        self._dropped(swept.dropped)
        self.keep_bounds(now)
        self.bucket = self.store.next_bucket(self.bucket)

    def keep_bounds(self, now: float) -> None:
        """Drop the longest asleep if sleeping records have become too many bytes."""
        if not self.store.sleepers.are_too_many:
            return
        dropped = self.store.drop_surplus(self._settled_at(now))
        self.metrics.sleeping_dropped += len(dropped)
        self._dropped(dropped)

    def announce(self, now: float) -> None:
        """Send the collected notices of expiry, if it is time."""
        if now < self.announce_at or not self.notices:
            return
        self.announce_at = now + self.timing.access_batch_s
        over: list[Expiration] = []
        for key in self.notices:
            record = self.store.peek(key)
            # It may have been woken, or dropped, since.
            if record is not None and record.asleep:
                over.append(Expiration(key, record.access))
                self.intake.tell_message("expire", key, None)
        self.notices.clear()
        for at in range(0, len(over), EXPIRATIONS_IN_MESSAGE_MAX):
            message = Expirations(tuple(over[at : at + EXPIRATIONS_IN_MESSAGE_MAX]))
            self.metrics.expirations_sent += len(message.expirations)
            self.peers.send_to_all(message)

    def expirations_received(self, peer: Peer, message: Expirations, now: float) -> None:
        """The member that served some sessions last says that they are over: judge them here."""
        if self.intake.tells_messages:
            for over in message.expirations:
                self.intake.tell_message("expire", over.key, peer.id)
        fresher = [
            access for over in message.expirations if (access := self._judge(over, now)) is not None
        ]
        if fresher:
            self.peers.send(peer.id, Accesses(tuple(fresher)))

    def end_served(self, context: str, now: float) -> None:
        """End all sessions of an application that this member served last, and tell everybody."""
        writer = self.requests.me
        encoded: list[bytes] = []
        for key in [key for bucket in range(BUCKETS) for key in self.store.keys(bucket)]:
            record = self.store.peek(key) if key.context == context else None
            if record is None or record.access.member != writer or not record.is_served:
                continue
            record = self.store.get(key)
            assert record is not None
            self._fell_asleep(record)
            record.destroy(self.requests.stamp(now), now)
            self.store.changed(key)
            encoded += self.peers.encoded_record(record, now)
        # As they are, past what waits: there is no later round of repair for this member.
        self.peers.tell_all(encoded)

    def _judge(self, over: Expiration, now: float) -> Access | None:
        """Return the fresher access that is known here, or None."""
        self.intake.clock.observe(over.access.hlc)
        record = self.store.get(over.key)
        if record is None or record.destroyed is not None or record.asleep:
            return None
        knows_no_later = record.access <= over.access
        if knows_no_later:
            record.released = True
        if is_over(record, now, self.timing, grace=False):
            if knows_no_later:
                self._fell_asleep(self.store.put_to_sleep(over.key, now, self._settled_at(now)))
            return None
        if record.access == over.access:
            return None
        if record.access.member == self.requests.me and record.access_sent < record.accessed:
            # Nobody knows of it yet, and others may judge by that notice as well.
            self.requests.announced[over.key] = record.access, record.accessed
            record.access_sent = now
        return Access(over.key, record.access, now - record.accessed)

    def _settled_at(self, now: float) -> float:
        # Who joins has not heard everybody yet, and drops nothing of what it is given.
        return self.settled_at(now) if self.intake.is_ready else -inf

    def _notice(self, key: Key) -> None:
        if not len(self.peers):
            return
        if len(self.notices) < self.peers.limits.expirations_max:
            self.notices[key] = None
        else:
            self.metrics.expirations_dropped += 1

    def _fell_asleep(self, record: Record) -> None:
        self.metrics.sessions_expired += 1
        self.requests.announced.pop(record.key, None)
        self.intake.fell_asleep(record)

    def _dropped(self, records: list[Record]) -> None:
        for record in records:
            self.peers.lost_pieces(record.key)
            if record.unshared and self.requests.me in record.version:
                self.given_up[record.key] = None
        if len(self.given_up) > self.peers.limits.given_up_max:
            self._rename()

    def _rename(self) -> None:
        self.metrics.writers_renamed += 1
        self.given_up.clear()
        self.intake.me = self.requests.me = self.rng.randbytes(MEMBER_ID_BYTES)
