"""
Intake: the one door for news of a session from another member, by whatever way they came.

Rules of this file (docs/design.md; each has a simulation that fails without it):

1. Nobody wipes, and forgetting is remembered: news of an unknown session whose tombstone may have
   been dropped here do not create it; it is buried with a new tombstone, which is sent on. Only a
   member that is ready judges, since one that is joining has not yet seen what it must know.
   What members keep for themselves is never ended, so it is never buried either.
2. A tombstone at or past its retention is not taken: repair would hand it round for ever.
3. A sleeping session stays so whatever comes of it, but for a fresher access. Who sends it as if it
   were awake, and lacks something of it, gets it.
4. An unknown session that is over by what its news say is not begun with. Only a state transfer
   tells of such, and who says that it sleeps there: it comes in as sleeping. So does one of which
   only a part was known, if it is over when the rest comes.
5. A record made without the birth of its session is asked for, whole, until one came from a holder
   that has all of it.
8. A session ends on arrival if all those of its principal were ended (``principals.py``).
9. Stamps raise the clock. They are never compared with a wall clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from replsession.config import Limits, Timing
from replsession.events import Event, SessionChanged, SessionExpired, SessionMessage
from replsession.identity import Key, MemberId
from replsession.messages import Access
from replsession.metrics import Metrics
from replsession.replication.outbox import HELD_ALL
from replsession.session.delta import Delta
from replsession.session.expiry import is_over, is_too_old
from replsession.session.record import SECRET, Merge, Record
from replsession.session.stamp import HybridClock, Stamp
from replsession.session.store import Store

REQUESTS_MAX = 5
"""How often a whole record is asked for before repair is left to find it."""


def _nobody(key: Key) -> None:
    """Nobody puts pieces together."""


def _no_judge(record: Record, now: float) -> None:
    """Nobody knows whose sessions have ended."""


@dataclass(slots=True)
class Want:
    """A whole record to ask for."""

    sender: MemberId | None
    """Whom to ask first; None: everybody at once."""
    ask_at: float
    requests: int = 0


@dataclass(slots=True)
class Intake:
    """
    Merges what comes in; ``buried`` and ``stale`` say what must be sent because of it.

    ``me`` is the id in stamps that are made here (:attr:`Node.writer`).
    """

    store: Store
    clock: HybridClock
    me: MemberId
    limits: Limits
    timing: Timing
    metrics: Metrics
    wall_offset_s: float
    is_ready: bool = False
    reported: dict[str, None] = field(default_factory=dict)
    """Contexts whose changes are told as events."""
    events: list[Event] = field(default_factory=list)
    tells_messages: bool = False
    """Whether every message about a session is told as an event, for who looks for a fault."""
    wanted: dict[Key, Want] = field(default_factory=dict)
    asked_out: dict[Key, None] = field(default_factory=dict)
    """Partial records that nobody could make whole, though all were asked often enough."""
    buried: list[Record] = field(default_factory=list)
    """New tombstones for sessions that ended long ago: for everybody."""
    stale: list[Record] = field(default_factory=list)
    """Tombstones and sleeping records that the sender of the news does not know: for it."""
    tracked: dict[Key, int] = field(default_factory=dict)
    """Sessions with open tickets; ``acks.py`` keeps it."""
    came: Callable[[Record, float], None] = _no_judge
    """Is told of what may end because of its principal, or end others."""
    lost_pieces: Callable[[Key], None] = _nobody
    """Is told of a record of which a piece was refused."""
    confirmed: list[tuple[MemberId, Key, int]] = field(default_factory=list)
    """What whole records said of our own writes: holder, session, clock value."""

    def take(self, delta: Delta, sender: MemberId, now: float, *, in_transfer: bool) -> bool:
        """
        Merge one delta, tombstone or record; *in_transfer*: listeners do not hear of it.

        Returns:
            Whether all that *delta* stands for and follows is here, so that it could be served.
        """
        self._observe(delta)
        if delta.destroyed and (
            delta.key.is_internal or delta.destroyed_age_s >= self.timing.tombstone_retention_s
        ):
            return True
        record = self._known(delta.key, now)
        before = None
        if record is None:
            record = self._begun(delta, now, in_transfer=in_transfer)
            if record is None:
                return True
        elif delta.key.context in self.reported:
            before = self._visible(record)
        secret_hash, accessed = record.value(SECRET), record.last_accessed
        was_complete = record.complete
        merge = record.merge(delta, now)
        self._settle(record, delta, merge, accessed, now)
        if record.indexed is not None or (delta.key.is_internal and merge is not Merge.KNOWN):
            self.came(record, now)
        self._judge(record, delta, merge, sender, now)
        if record.is_served and not (was_complete and delta.asleep_s is None):
            self._doze(record, delta, now, is_new=not was_complete)
        if delta.key.context in self.reported and not in_transfer:
            self._report(record, before, secret_hash)
        if delta.since is None and delta.complete:
            self._holds(delta, sender)
        if self.tells_messages and not in_transfer:
            self.tell_message(_kind_of(delta), delta.key, sender)
        is_whole = record.complete and (delta.piece is None or delta.complete)
        return is_whole and merge is not Merge.GAP

    def mark(self, record: Record | None) -> int:
        """Return up to where a member that has this record holds our writes."""
        if record is None or record.destroyed is not None:
            return HELD_ALL
        return record.version.get(self.me, 0)

    def _holds(self, delta: Delta, sender: MemberId) -> None:
        # Rule 8: a whole record says what its holder has of ours.
        if delta.key in self.tracked:
            mark = HELD_ALL if delta.destroyed else delta.version.get(self.me, 0)
            self.confirmed.append((sender, delta.key, mark))

    def become_ready(self, now: float) -> None:
        """Judge from now on, and ask for what the state transfer did not make whole."""
        self.is_ready = True
        for record in self.store.records():
            if not record.complete:
                self.want(record.key, None, now)

    def fell_asleep(self, record: Record) -> None:
        """Tell listeners of a session that is over here, if they have heard of it."""
        if record.complete and record.key.context in self.reported:
            self.events.append(SessionExpired(record.key, record.value(SECRET) or b""))

    def take_access(self, access: Access, now: float) -> None:
        """Merge the time of an access; one that is fresher than the idle time wakes a session."""
        self.clock.observe(access.access.hlc)
        record = self.store.get(access.key)
        if record is None or record.destroyed is not None:
            return
        accessed = record.last_accessed
        record.touch(access.access, now - access.idle_s)
        self._wake(record, accessed, now)

    def tell_message(self, kind: str, key: Key, sender: MemberId | None) -> None:
        """Tell of one message about a session, if somebody wants to know."""
        if self.tells_messages and not key.is_internal:
            record = self.store.peek(key)
            secret_hash = None if record is None else record.value(SECRET)
            self.events.append(SessionMessage(kind, key, secret_hash or b"", sender))

    def _begun(self, delta: Delta, now: float, *, in_transfer: bool) -> Record | None:
        if self._bury(delta, now):
            return None
        if delta.destroyed is None and self._is_refused(delta, in_transfer=in_transfer):
            self.metrics.records_refused += 1
            # Further pieces may find the session begun by other news: they make nothing whole.
            self.lost_pieces(delta.key)
            return None
        record = Record.from_delta(delta, now)
        if delta.asleep_s is not None or (in_transfer and is_too_old(delta)):
            record.asleep = True
            record.ended_at = now - (delta.asleep_s or 0.0)
        self.store.add(record)
        if not record.complete and (delta.since is not None or not delta.complete):
            self.metrics.partial_records += 1
        return record

    def _is_refused(self, delta: Delta, *, in_transfer: bool) -> bool:
        if delta.asleep_s is not None:
            return delta.asleep_s >= self.timing.tombstone_retention_s
        return not in_transfer and is_too_old(delta)

    def _known(self, key: Key, now: float) -> Record | None:
        record = self.store.get(key)
        if record is None or record.destroyed is None or not self.is_ready:
            return record
        if now - record.ended_at < self.timing.tombstone_retention_s:
            return record
        # The next sweep would drop it. To others it counts as dropped already: they would not take
        # a tombstone so old, but they take the new one of a session that is buried.
        self.store.drop(record)
        return None

    def _observe(self, delta: Delta) -> None:
        self.clock.observe(max(delta.born.hlc, delta.access.hlc))
        if delta.destroyed is not None:
            self.clock.observe(delta.destroyed.hlc)
        if delta.since is None:
            for hlc in delta.version.values():
                self.clock.observe(hlc)
            for write in delta.attributes.values():
                self.clock.observe(write.hlc)

    def _bury(self, delta: Delta, now: float) -> bool:
        if delta.destroyed or delta.key.is_internal:
            return False
        if not self.is_ready or not self.store.is_forgotten(delta.born):
            return False
        self.metrics.sessions_buried += 1
        record = Record.from_delta(delta, now)
        record.destroy(Stamp(self.clock.tick(now + self.wall_offset_s), self.me), now)
        self.store.add(record)
        self.buried.append(record)
        return True

    def _settle(
        self, record: Record, delta: Delta, merge: Merge, accessed: float, now: float
    ) -> None:
        if merge is not Merge.KNOWN:
            self.store.changed(record.key)
        if record.destroyed is not None:
            self.wanted.pop(record.key, None)
            self.asked_out.pop(record.key, None)
            if delta.destroyed is None:
                self.stale.append(record)
        elif record.asleep:
            self._wake(record, accessed, now)
            if record.asleep and _lacks_something(delta, record):
                self.stale.append(record)

    def _doze(self, record: Record, delta: Delta, now: float, *, is_new: bool) -> None:
        # Who has it asleep has waited for news of another access. And nobody was served by one that
        # was not whole.
        is_for_us = is_new or record.access == delta.access
        if is_for_us and is_over(record, now, self.timing, grace=False):
            self.metrics.sessions_expired += 1
            self.store.put_to_sleep(record.key, now, -inf)
            if not is_new:
                self.fell_asleep(record)

    def _wake(self, record: Record, accessed: float, now: float) -> None:
        if (
            record.asleep
            and record.last_accessed > accessed
            and not is_over(record, now, self.timing, grace=False)
        ):
            self.metrics.sessions_woken += 1
            self.store.wake(record, now)

    def _judge(
        self, record: Record, delta: Delta, merge: Merge, sender: MemberId, now: float
    ) -> None:
        if merge is Merge.GAP:
            self.metrics.gaps += record.complete
            # Who writes to it has it whole.
            self.asked_out.pop(record.key, None)
            self.want(record.key, sender if record.complete else None, now)
        elif delta.since is None and record.complete and delta.complete:
            self.wanted.pop(record.key, None)
            self.asked_out.pop(record.key, None)
        elif delta.since is None and not record.complete and delta.piece is None:
            self.want(record.key, None, now)

    def want(self, key: Key, sender: MemberId | None, now: float) -> None:
        """Ask for a whole record at the next occasion, unless it was asked for already."""
        if key in self.wanted or key in self.asked_out:
            return
        if len(self.wanted) < self.limits.wanted_records_max:
            self.wanted[key] = Want(sender, now)

    def due(self, now: float) -> list[tuple[MemberId | None, Key]]:
        """Return whom to ask for which record now; None: everybody."""
        asks: list[tuple[MemberId | None, Key]] = []
        for key, want in list(self.wanted.items()):
            if want.ask_at > now:
                continue
            if want.requests == REQUESTS_MAX:
                # Answers by others that have no more than we do must not make us ask for ever.
                del self.wanted[key]
                self.asked_out[key] = None
                if len(self.asked_out) > self.limits.wanted_records_max:
                    del self.asked_out[next(iter(self.asked_out))]
                continue
            asks.append((want.sender, key))
            want.requests += 1
            want.sender = None
            want.ask_at = now + self.timing.request_again_s
        return asks

    def _visible(self, record: Record) -> dict[str, bytes] | None:
        return record.values() if record.complete and record.destroyed is None else None

    def _report(
        self, record: Record, before: dict[str, bytes] | None, secret_hash: bytes | None
    ) -> None:
        after = self._visible(record)
        if before is None and (after is None or record.asleep):
            return
        old, new = before or {}, after or {}
        names = {**old, **new}
        changes = tuple(
            (name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)
        )
        destroyed = record.destroyed is not None
        if changes or destroyed or before is None:
            secret = record.value(SECRET) or secret_hash or b""
            self.events.append(
                SessionChanged(
                    record.key, secret, before is None, destroyed, () if destroyed else changes
                )
            )


def _kind_of(delta: Delta) -> str:
    if delta.destroyed is not None:
        return "expire"
    return "created" if delta.since is None else "delta"


def _lacks_something(delta: Delta, record: Record) -> bool:
    """Tell whether who sent a whole record as one that is awake lacks writes of *record*."""
    if delta.since is not None or delta.asleep_s is not None:
        return False
    if delta.piece is not None:
        # What a piece lacks may be in another one; they all came when the last one did.
        return delta.piece.number == delta.piece.pieces - 1
    return delta.attributes != record.attributes
