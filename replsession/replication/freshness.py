"""
Freshness: a request whose client has seen more than is here waits a moment, then asks.

::

    covered ─▶ go on (nearly always)
    behind ──▶ wait fresh_wait_s for the delta that is under way
               ─▶ ask its writer ─▶ after fresh_second_s all ─▶ fresh_timeout_s: serve it as stale
    unknown ─▶ the same, but all are asked at once: it may have been born a moment ago elsewhere
    over ────▶ all are asked: another member may know of a fresher access

Rules of this file:

1. A lookup ends as soon as its need is met, or when everybody has answered: nobody waits for the
   time-out only because a writer is dead. A writer that was never met here may just have begun:
   what it writes is on its way to others, so they are asked again until the time-out.
2. How many wait, how many are asked for, and how long an answer "unknown" is remembered have
   bounds: ids that verify are not scarce.
3. Who asks is answered by an answer to that inquiry or to a later one: when the member answered
   an earlier one, it may not have had what it has now.
4. A member that has no state yet calls no session unknown: it waits for its state transfer too.

Source: the session guarantees of Bayou (Terry et al., 1994).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from replsession.config import Limits, Timing
from replsession.identity import Key, MemberId
from replsession.messages import RecordAnswer, RecordInquiry
from replsession.metrics import Metrics
from replsession.replication.intake import Intake
from replsession.replication.peers import Peer, Peers
from replsession.session.expiry import is_over_here, limits_of
from replsession.session.record import Record
from replsession.session.store import Store


def covers(record: Record, seen: Mapping[MemberId, int], me: MemberId) -> bool:
    """
    Tell whether a record has all writes that a client has seen.

    What it has seen of this member itself is here: there is nobody else to have it from.
    """
    version = record.version
    for member, hlc in seen.items():  # noqa: SIM110 - half the cost of a generator, each request
        if version.get(member, 0) < hlc and member != me:
            return False
    return True


@dataclass(slots=True, eq=False)
class Lookup:
    """One request that waits. Its driver reads it when the node hands it out as done."""

    key: Key
    seen: Mapping[MemberId, int]
    """What the client has seen: member and clock value."""
    ask_at: float
    deadline: float
    is_done: bool = False
    is_fresh: bool = False
    """The need is met: look the session up again."""
    is_certain: bool = False
    """Everybody has answered who may know more."""
    is_behind: bool = False
    """The session is here, but not all that the client has seen of it."""
    _awaited: dict[MemberId, int] = field(default_factory=dict)
    """Members that are asked, and by which inquiry."""
    _answered: dict[MemberId, None] = field(default_factory=dict)
    _asked_all: bool = False


def behind(key: Key, seen: Mapping[MemberId, int], now: float) -> Lookup:
    """Return the lookup of a request that has nobody to wait for: over as it begins."""
    return Lookup(key, seen, now, now, is_done=True, is_behind=True)


@dataclass(slots=True)
class Freshness:
    """All lookups of one member, and its answers to those of others."""

    store: Store
    intake: Intake
    peers: Peers
    limits: Limits
    timing: Timing
    metrics: Metrics
    is_whole: Callable[[], bool] = lambda: True
    """Tells whether every member that was there in the last hour, and did not say goodbye, has a
    link: only then what nobody knows is known to nobody."""
    done: list[Lookup] = field(default_factory=list)
    """Lookups to hand out."""
    _open: list[Lookup] = field(default_factory=list)
    _inquiries: int = 0
    """The number of the latest inquiry."""
    _met: dict[MemberId, None] = field(default_factory=dict)
    """Members that have, or had, a link."""
    _unknown: dict[Key, float] = field(default_factory=dict)
    """Sessions that all have called unknown or over, and until when that is remembered."""
    _budget: float = 0.0
    _budget_at: float = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, key: Key, seen: Mapping[MemberId, int], now: float) -> Lookup | None:
        """
        Begin to wait for a session; None: there is no use in it, so take what is here.

        Args:
            key: Of the session.
            seen: What the client has seen of it.
            now: Seconds of the local monotonic clock.
        """
        is_ready, me = self.intake.is_ready, self.intake.me
        if is_ready and not len(self.peers):
            return behind(key, seen, now) if self._may_be_elsewhere(seen) else None
        record = self.store.peek(key)
        is_behind = record is not None and record.complete and not covers(record, seen, me)
        if is_ready and not is_behind and not self._may_ask(key, now):
            return None
        if len(self._open) >= self.limits.waiting_requests_max:
            self.metrics.requests_not_waited += 1
            return None
        self.metrics.requests_waited += 1
        wait_s = self.timing.fresh_timeout_s if is_ready else self.timing.join_wait_s
        ask_at = self._ask_at(record, is_behind, seen, now)
        lookup = Lookup(key, seen, ask_at, now + wait_s, is_behind=is_behind)
        self._open.append(lookup)
        return lookup

    def _ask_at(
        self, record: Record | None, is_behind: bool, seen: Mapping[MemberId, int], now: float
    ) -> float:
        # A delta can only be under way from a member with a link. A session that is over is not.
        under_way = any(self.peers.get(member) is not None for member in seen)
        may_come = under_way and (is_behind or record is None or not record.complete)
        return now + self.timing.fresh_wait_s if may_come else now

    def _may_ask(self, key: Key, now: float) -> bool:
        until = self._unknown.get(key)
        if until is not None:
            if now < until:
                return False
            del self._unknown[key]
        rate = self.limits.inquiries_per_s_max
        self._budget = min(float(rate), self._budget + (now - self._budget_at) * rate)
        self._budget_at = now
        if self._budget < 1.0:
            self.metrics.requests_not_waited += 1
            return False
        self._budget -= 1.0
        return True

    def advance(self, now: float) -> None:
        """Go on with every lookup: see what came, ask whom it is time to ask, end what is over."""
        if not self._open:
            return
        number = self._inquiries + 1
        asks: dict[MemberId, list[Key]] = {}
        still: list[Lookup] = []
        for lookup in self._open:
            # Whom to ask says, too, whether all have been asked.
            whom = list(self._whom(lookup, now))
            if self._is_over(lookup, now, has_asked=not whom):
                self._end(lookup, now)
                continue
            if not whom and self._have_all_answered(lookup):
                lookup.ask_at = now + self.timing.fresh_again_s
                lookup._answered.clear()
                lookup._asked_all = False
            still.append(lookup)
            for member in whom:
                lookup._awaited[member] = self._inquiries = number
                asks.setdefault(member, []).append(lookup.key)
        self._open = still
        for member, keys in asks.items():
            self.metrics.inquiries_sent += len(keys)
            self.peers.send(member, RecordInquiry(number, tuple(dict.fromkeys(keys))))

    def _is_over(self, lookup: Lookup, now: float, *, has_asked: bool) -> bool:
        lookup.is_fresh = self._is_met(lookup, now)
        have_all_answered = (
            has_asked and self._have_all_answered(lookup) and not self._may_just_begin(lookup)
        )
        lookup.is_certain = have_all_answered and not self._may_be_elsewhere(lookup.seen)
        lookup.is_done = lookup.is_fresh or have_all_answered or now >= lookup.deadline
        return lookup.is_done

    def _have_all_answered(self, lookup: Lookup) -> bool:
        return (
            self.intake.is_ready
            and lookup._asked_all
            and not lookup._awaited
            and all(peer.id in lookup._answered for peer in self.peers)
        )

    def _may_just_begin(self, lookup: Lookup) -> bool:
        """
        Tell whether something is missing of a writer of which nobody here knows that it died.

        Not of a session that is not here: after a start of the whole cluster all clients name such.
        """
        me = self.intake.me
        return lookup.is_behind and any(
            member not in self._met and member != me and self._lacks(lookup.key, member, hlc)
            for member, hlc in lookup.seen.items()
        )

    def _may_be_elsewhere(self, seen: Mapping[MemberId, int]) -> bool:
        """Tell whether members that cannot be asked may have what a client has seen."""
        if self.is_whole():
            return False
        me = self.intake.me
        return any(member != me and self.peers.get(member) is None for member in seen)

    def _is_met(self, lookup: Lookup, now: float) -> bool:
        record = self.store.peek(lookup.key)
        if record is None or not record.complete:
            return False
        if record.destroyed is not None:
            return True
        is_over = record.asleep or is_over_here(record, limits_of(record), now)
        return not is_over and covers(record, lookup.seen, self.intake.me)

    def _end(self, lookup: Lookup, now: float) -> None:
        self.done.append(lookup)
        if lookup.is_certain and not lookup.is_fresh and not lookup.is_behind:
            self._unknown[lookup.key] = now + self.timing.unknown_retention_s
            while len(self._unknown) > self.limits.unknown_sessions_max:
                del self._unknown[next(iter(self._unknown))]

    def _whom(self, lookup: Lookup, now: float) -> Iterator[MemberId]:
        if now < lookup.ask_at:
            return
        writers = [
            member
            for member, hlc in lookup.seen.items()
            if self.peers.get(member) is not None and self._lacks(lookup.key, member, hlc)
        ]
        is_late = now >= lookup.ask_at + self.timing.fresh_second_s
        fruitless = bool(lookup._answered) and not lookup._awaited
        if not writers or is_late or fruitless:
            lookup._asked_all = True
            writers = [peer.id for peer in self.peers]
        for member in writers:
            if member not in lookup._answered and member not in lookup._awaited:
                yield member

    def _lacks(self, key: Key, member: MemberId, hlc: int) -> bool:
        record = self.store.peek(key)
        return record is None or record.version.get(member, 0) < hlc

    def member_met(self, member: MemberId) -> None:
        """A member has a link."""
        self._met[member] = None
        if len(self._met) > self.limits.met_members_max:
            del self._met[next(iter(self._met))]

    def member_lost(self, member: MemberId) -> None:
        """A link is gone: no answer will come over it."""
        for lookup in self._open:
            lookup._awaited.pop(member, None)
            lookup._answered.pop(member, None)

    def inquired(self, peer: Peer, message: RecordInquiry, now: float) -> None:
        """A request on another member waits: send what is here, ahead of all that waits."""
        unknown: list[Key] = []
        items: list[bytes] = []
        total = size = 0
        for key in dict.fromkeys(message.keys):
            record = self.store.peek(key)
            if record is None:
                unknown.append(key)
            elif total >= self.limits.window_bytes:
                # So much at once only if somebody asks for it on purpose: it waits like all else.
                if not peer.outbox.holds_whole(key, record.digest()):
                    self.peers.put_record(peer, record, now)
            else:
                for item in self.peers.encoded_record(record, now):
                    items.append(item)
                    size += len(item)
                    if size >= self.limits.chunk_bytes:
                        self.peers.send_answer(peer, message.number, (), items)
                        items, total, size = [], total + size, 0
        self.peers.send_answer(peer, message.number, tuple(unknown), items)

    def answered(self, peer: Peer, message: RecordAnswer, now: float) -> None:
        """Merge what another member has; the node goes on with :meth:`advance`."""
        found = dict.fromkeys(message.unknown)
        for record in message.records:
            arrived = peer.assembly.arrived(record)
            self.intake.take(arrived, peer.id, now, in_transfer=False)
            # A partial record never becomes complete: its last piece is the end of the answer.
            is_last = record.piece is None or record.piece.number == record.piece.pieces - 1
            if arrived.complete or (is_last and not record.complete):
                found[record.key] = None
        for lookup in self._open:
            asked = lookup._awaited.get(peer.id)
            if lookup.key in found and asked is not None and asked <= message.number:
                del lookup._awaited[peer.id]
                lookup._answered[peer.id] = None

    def next_at(self, at: float) -> float:
        """Return when the next lookup is due, or *at* if that is earlier."""
        for lookup in self._open:
            at = min(at, lookup.deadline)
            if not lookup._asked_all:
                has_asked = bool(lookup._awaited or lookup._answered)
                at = min(at, lookup.ask_at + has_asked * self.timing.fresh_second_s)
        return at
