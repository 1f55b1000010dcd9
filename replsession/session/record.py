"""
Records: one session as a member keeps it, and the one merge in which every write ends.

Rules of this file:

1. ``merge`` is commutative, associative and idempotent, whatever comes late, twice or out of order.
2. ``version[m]`` says: every write of ``m`` up to there is in this record, or something newer in
   its place. It moves by a delta without a gap or by a whole record, and is never derived from
   stamps.
3. ``destroyed`` is terminal. An ended session keeps its key, its birth and the stamp of its end.
4. A record made from a delta without the birth is *partial*: not served until the birth came, or a
   whole record from a holder that had all of it.
5. Times here are local and monotonic; they never decide which of two writes is the newer one.
6. An access is named by its stamp, and its time is a local estimate, which each way here makes
   later. Of one access the earliest estimate is right; between two accesses the later one counts
   (:meth:`Record.touch`).

Source: delta-state replicated data types (Almeida, Shoker, Baquero, 2018).
"""

from __future__ import annotations

import enum
from hashlib import blake2b
from math import inf
from typing import Any, NamedTuple

from replsession.identity import Key, MemberId
from replsession.session import counter, flashes
from replsession.session.delta import Delta, Write
from replsession.session.flashes import Flash
from replsession.session.stamp import Seen, Stamp

SECRET = "\0secret"
"""Name of the register that holds the hash of the current id's secret part."""
INTERVAL = "\0limits"
"""Name of the register that holds the idle interval and the lifetime of this session."""
PRINCIPAL = "\0principal"
"""Name of the register that says whose session it is; see ``principals.py``."""
RESERVED_PREFIX = "\0"
WAY_S = 2.0
"""How much later than it was an access may seem that came by an undisturbed way."""


COOKIE_OF_APPLICATION, COOKIE_UNTIL_CLOSED, COOKIE_AS_SESSION = range(3)
"""How long a browser keeps the cookie: as the application says for all sessions; as long as the
browser runs; as long as the session lives."""


class SessionLimits(NamedTuple):
    """How long a session may live, in seconds; None: for ever."""

    idle_s: float | None
    lifetime_s: float | None
    cookie: int = COOKIE_OF_APPLICATION


class Values(dict[str, bytes]):
    """
    What the application stored in a session, name to bytes, as it was at one moment.

    Shared by all who read the record until it changes, and never changed itself.
    """

    __slots__ = ("flashes", "unread")

    def __init__(self, *values: dict[str, bytes], flashes: tuple[Flash, ...] = ()) -> None:
        super().__init__(*values)
        self.unread: dict[str, Any] = dict.fromkeys(self)
        """What sessions show for a value before it is read; None where nobody has asked yet."""
        self.flashes = flashes
        """Messages that wait for a page, the oldest first."""


class Merge(enum.Enum):
    """What a merge found."""

    APPLIED = "applied"
    """Something changed here."""
    KNOWN = "known"
    """Every write was here already."""
    GAP = "gap"
    """The writes are in, but earlier ones of the same writer never came: ask for the record."""


class Record:
    """
    One session. Mutable; belongs to one store, and to whoever holds that store's lock.

    ``attributes`` maps a name to its newest :class:`Write`; a removed attribute stays as a write
    without a value, so that an older write cannot bring it back. ``created``, ``accessed`` (when
    the access that is named was made), ``accessed_else`` (the latest of all others),
    ``access_sent`` (when others were last told of one from here) and ``ended_at`` (when it was
    destroyed, or fell asleep, or woke) are seconds of the local monotonic clock.
    """

    __slots__ = (
        "access",
        "access_sent",
        "accessed",
        "accessed_before",
        "accessed_else",
        "asleep",
        "attributes",
        "born",
        "complete",
        "counted",
        "created",
        "destroyed",
        "ended_at",
        "indexed",
        "key",
        "limits",
        "plain",
        "released",
        "shown",
        "unshared",
        "version",
    )

    def __init__(
        self, key: Key, born: Stamp, created: float, access: Stamp, accessed: float
    ) -> None:
        self.key = key
        self.born = born
        self.created = created
        self.access = access
        self.accessed = accessed
        self.accessed_before = accessed
        """The access before the present one; local, for the application to ask."""
        self.accessed_else = -inf
        # What others know of accesses may be older than it looks here: none was sent from here yet.
        self.access_sent = -inf
        self.attributes: dict[str, Write] = {}
        self.plain: Values | None = None
        """What :meth:`values` returned last; None after a change."""
        self.limits: SessionLimits | None = None
        """What ``expiry.limits_of`` returned last; None after a change."""
        self.shown: tuple[Seen, Values] | None = None
        """Token and values of which :meth:`shows_more` last said that they show no more."""
        self.version: dict[MemberId, int] = {}
        self.complete = False
        self.destroyed: Stamp | None = None
        self.ended_at = 0.0
        self.asleep = False
        self.released = False
        """The member that served the session last has called it over: no grace any more."""
        self.unshared = False
        """It fell asleep before all members were known to have what may be written here."""
        self.counted = 0
        """What this record adds to its bucket's digest at the moment; kept by the store."""
        self.indexed: tuple[Write, bytes] | None = None
        """The register of its principal, and under what the store's index has it because of it."""

    @classmethod
    def from_delta(cls, delta: Delta, now: float) -> Record:
        """
        Return the empty record into which *delta*, the first news of its session, is merged.

        It is complete if the delta begins with the very first write of the session: nothing else
        was there. What members keep for themselves has many births, and each part of it counts.
        """
        accessed = now - delta.idle_s
        record = cls(delta.key, delta.born, now - delta.age_s, delta.access, accessed)
        is_birth = delta.since == 0 and delta.writer.member == delta.born.member
        record.complete = is_birth or delta.key.is_internal
        return record

    def merge(self, delta: Delta, now: float) -> Merge:
        """
        Join the writes of *delta* into this record; of each attribute the greater stamp stays.

        Args:
            delta: Writes of one request, or a whole record, or a piece of one. A piece whose
                transfer is not whole yet must come with ``complete=False`` and no version.
            now: Seconds of the local monotonic clock.

        Returns:
            What was found; with ``GAP`` the content is merged all the same, and what it claims to
            have of the writer stays, or the record is partial.

        Raises:
            AssertionError: *delta* is of another session: our own bug, not a member's.
        """
        assert delta.key == self.key, (delta.key, self.key)
        if self.destroyed is not None or delta.destroyed is not None:
            return self._merge_destroyed(delta, now)
        self._merge_times(delta, now)
        applied = self._merge_attributes(delta)
        if delta.since is not None:
            return self._advance(delta, applied)
        applied |= self._join_version(delta)
        return Merge.APPLIED if applied else Merge.KNOWN

    def destroy(self, stamp: Stamp, at: float) -> None:
        """End the session for good; nothing but a tombstone stays."""
        self.destroyed = stamp
        self.ended_at = at
        self.attributes.clear()
        self.plain = self.limits = None
        self.version.clear()
        self.complete = True
        self.asleep = self.released = self.unshared = False

    @property
    def last_accessed(self) -> float:
        """When the session was accessed last, anywhere, as far as it is known here."""
        return max(self.accessed, self.accessed_else)

    def touch(self, access: Stamp, accessed: float) -> None:
        """
        Take in an access, made at *accessed* by the estimate of this member.

        Of one access the earliest estimate is right, since each way here makes it look later. Of
        two by one member, the one with the greater stamp is. Of two by different members as well,
        unless the estimates are too far apart for that: then the clocks of the members are, and
        the estimates decide; and the time of the one that is not named counts, too.
        """
        if access.member == self.access.member:
            if access == self.access:
                self.accessed = min(self.accessed, accessed)
            elif access > self.access:
                self.access, self.accessed = access, accessed
                self.released = False
            return
        way_s = WAY_S if access < self.access else -WAY_S
        if accessed > self.accessed + way_s:
            self.access = access
            accessed, self.accessed = self.accessed, accessed
            self.released = False
        if accessed > self.accessed_else:
            self.accessed_else = accessed
            self.released = False

    def accessed_here(self, access: Stamp, now: float) -> None:
        """Take note of an access by a request to this member, which is later than all others."""
        self.access, self.accessed = access, now
        self.released = False

    @property
    def is_served(self) -> bool:
        """Whether a request may find it: it is whole, and neither ended nor asleep."""
        return self.complete and self.destroyed is None and not self.asleep

    def value(self, name: str) -> bytes | None:
        """Return the bytes of one attribute, or None when it is not there."""
        write = self.attributes.get(name)
        return None if write is None else write.value

    def values(self) -> Values:
        """Return what the application stored, counters as their sums; what was removed is not."""
        if self.plain is None:
            plain: dict[str, bytes] = {}
            kinds: dict[str, None] = {}
            for name, write in self.attributes.items():
                if name.startswith(RESERVED_PREFIX):
                    kinds[name[:2]] = None
                elif write.value is not None:
                    plain[name] = write.value
            if counter.PREFIX in kinds:
                plain.update(counter.shown(self.attributes))
            messages = flashes.shown(self.attributes) if flashes.PREFIX in kinds else ()
            self.plain = Values(plain, flashes=messages)
        return self.plain

    def seen(self) -> dict[MemberId, int]:
        """
        Return what a client has seen who was shown this record: a need, not a claim.

        After a gap there are writes in the record which its version does not vouch for yet; who was
        shown them must not be shown less.
        """
        seen = dict(self.version)
        for write in self.attributes.values():
            if write.hlc > seen.get(write.member, 0):
                seen[write.member] = write.hlc
        return seen

    def shows_more(self, seen: Seen) -> bool:
        """
        Tell whether this record shows more than a client has seen.

        The answer is remembered for the same token and the same values: most requests only read.
        """
        shown, plain = self.shown, self.values()
        if shown is not None and shown[0] is seen and shown[1] is plain:
            return False
        version = seen.version
        for write in self.attributes.values():
            if version.get(write.member, 0) < write.hlc:
                return True
        self.shown = (seen, plain)
        return False

    def write(self, writes: dict[str, Write], plain: dict[str, bytes]) -> None:
        """
        Take in writes made here, which are newer than everything in the record.

        Args:
            writes: By name.
            plain: Those of them that have a value and are the application's.
        """
        self.attributes.update(writes)
        if self.plain is not None and len(plain) == len(writes):
            before = self.plain
            self.plain = Values(before, flashes=before.flashes)
            self.plain.update(plain)
            self.plain.unread = {**before.unread, **dict.fromkeys(plain)}
        else:
            self.plain = self.limits = None

    def greatest(self) -> int:
        """Return the greatest clock value of all that was written to the session."""
        written = [write.hlc for write in self.attributes.values()]
        return max([self.born.hlc, *written, *self.version.values()])

    def digest(self) -> int:
        """
        Return 64 bits that are equal for two records exactly when nothing has to be exchanged.

        They cover the stamps, the end of the session and whether the record is whole; times of
        access and versions are left out, or two members would never agree (docs/design.md,
        rule 12).
        """
        hashed = blake2b(self.key.context.encode() + self.key.locator, digest_size=8)
        if self.destroyed is not None:
            hashed.update(b"destroyed")
            return int.from_bytes(hashed.digest(), "big") or 1
        hashed.update(b"whole" if self.complete else b"partial")
        for name in sorted(self.attributes):
            write = self.attributes[name]
            hashed.update(b"%d %d " % (len(name), write.hlc) + name.encode() + write.member)
        return int.from_bytes(hashed.digest(), "big") or 1

    def _advance(self, delta: Delta, applied: bool) -> Merge:
        writer, since = delta.writer, delta.since
        assert since is not None
        known = self.version.get(writer.member, 0)
        if known < writer.hlc:
            if known < since:
                return Merge.GAP
            applied = True
            self.version[writer.member] = writer.hlc
            # What one writer makes of another one's session may come before that one's birth; the
            # birth makes it whole, as if it had come first.
            self.complete |= since == 0 and writer.member == self.born.member
        if not self.complete:
            return Merge.GAP
        return Merge.APPLIED if applied else Merge.KNOWN

    def _join_version(self, delta: Delta) -> bool:
        news = delta.complete and not self.complete
        self.complete |= delta.complete
        for member, hlc in delta.version.items():
            if hlc > self.version.get(member, 0):
                self.version[member] = hlc
        return news

    def _merge_attributes(self, delta: Delta) -> bool:
        applied = False
        attributes = self.attributes
        for name, write in delta.attributes.items():
            held = attributes.get(name)
            if held is None or write[:2] > held[:2]:
                attributes[name] = write
                applied = True
        if applied:
            self.plain = self.limits = None
        return applied

    def _merge_times(self, delta: Delta, now: float) -> None:
        self.created = min(self.created, now - delta.age_s)
        self.touch(delta.access, now - delta.idle_s)

    def _merge_destroyed(self, delta: Delta, now: float) -> Merge:
        if delta.destroyed is None:
            return Merge.KNOWN
        at = now - delta.destroyed_age_s
        if self.destroyed is None or delta.destroyed > self.destroyed:
            news = self.destroyed is None
            self.destroy(delta.destroyed, at)
            return Merge.APPLIED if news else Merge.KNOWN
        if delta.destroyed == self.destroyed:
            self.ended_at = min(self.ended_at, at)
        return Merge.KNOWN
