"""
Repair: two members compare digests and exchange what differs, both ways.

::

    initiator                                   other
    RepairOffer(256 digests)  ───────────────▶
                              ◀───────────────  RepairAnswer(unequal buckets)
    for each unequal bucket, one at a time:
    BucketDigests(my records) ───────────────▶  compares; sends its own whole records (as deltas)
                              ◀───────────────  BucketAnswer(what it wants)
    sends those whole records

A round runs when a link came back, every few seconds with one member, and when an outbox was
emptied. Nothing in the fast path has to be right for this to converge.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from replsession.config import Timing
from replsession.identity import Key, MemberId
from replsession.messages import BucketAnswer, BucketDigests, RepairAnswer, RepairOffer
from replsession.metrics import Metrics
from replsession.replication.intake import Intake
from replsession.replication.peers import Peer, Peers
from replsession.session.store import Store


@dataclass(slots=True)
class Round:
    """A round that this member began."""

    member: MemberId
    number: int
    began_at: float
    heard_at: float
    buckets: list[int] = field(default_factory=list)
    answered: bool = False
    awaiting: int | None = None
    """The bucket whose answer is under way."""


@dataclass(slots=True)
class Repair:
    """The rounds that this member begins: one at a time, and with whom next."""

    timing: Timing
    next_at: float
    round: Round | None = None
    number: int = 0
    due: dict[MemberId, None] = field(default_factory=dict)
    """Members with which a round is due at once."""
    last: MemberId = b""
    bucket: int = -1
    """The bucket that was compared last."""

    def want(self, member: MemberId) -> None:
        """Ask for a round with this member as soon as none is running."""
        self.due[member] = None

    @property
    def has_work(self) -> bool:
        """Whether a round is running, or due at once."""
        return self.round is not None or bool(self.due)

    def lost(self, member: MemberId) -> None:
        """Forget a member whose link is gone."""
        self.due.pop(member, None)
        if self.round is not None and self.round.member == member:
            self.round = None

    def choose(self, members: list[MemberId], now: float) -> MemberId | None:
        """Return the member to begin a round with now, or None."""
        if self.round is not None:
            if now - self.round.heard_at < self.timing.repair_stall_s:
                return None
            self.round = None
        for member in self.due:
            if member in members:
                del self.due[member]
                return member
        if now < self.next_at or not members:
            return None
        self.next_at = now + self.timing.repair_interval_s
        ordered = sorted(members)
        later = [member for member in ordered if member > self.last]
        self.last = (later or ordered)[0]
        return self.last

    def begin(self, member: MemberId, now: float) -> int:
        """Begin a round; return its number."""
        self.number += 1
        self.round = Round(member, self.number, now, now)
        return self.number

    def ordered(self, buckets: tuple[int, ...]) -> list[int]:
        """
        Return buckets to compare, the next one last.

        Those after the bucket that was compared before come first: a slow member's round may end
        before it is through, and none is to be left out again and again.
        """
        later = [bucket for bucket in buckets if bucket > self.bucket]
        return [*later, *(bucket for bucket in buckets if bucket <= self.bucket)][::-1]

    def current(self, member: MemberId, number: int) -> Round | None:
        """Return the running round if it is this one."""
        running = self.round
        if running is not None and running.member == member and running.number == number:
            return running
        return None


def unequal(mine: list[int], theirs: tuple[int, ...]) -> tuple[int, ...]:
    """Return the numbers of the buckets whose digests differ."""
    pairs = enumerate(zip(mine, theirs, strict=True))
    return tuple(number for number, (here, there) in pairs if here != there)


def differing(mine: dict[Key, int], theirs: dict[Key, int]) -> tuple[list[Key], list[Key]]:
    """
    Return what to ask for, and what to send: each record that differs goes both ways.

    Both are in the order of the keys. Where an outbox has room for a few records only, both ends so
    exchange the same few and are done with them; else they could send different ones for ever.
    """
    wanted = [key for key, digest in theirs.items() if mine.get(key) != digest]
    offered = [key for key, digest in mine.items() if theirs.get(key) != digest]
    return sorted(wanted), sorted(offered)


@dataclass(slots=True)
class Repairer:
    """Repair at work: begins rounds, answers those of others, and exchanges what differs."""

    store: Store
    intake: Intake
    peers: Peers
    metrics: Metrics
    repair: Repair
    settled: dict[str, list[float]] = field(default_factory=dict)
    """For each member name known: when the last two finished rounds with it began."""

    def advance(self, ready: dict[MemberId, str], now: float) -> None:
        """Begin a round if one is due, or go on with the one that runs."""
        for peer in self.peers:
            if peer.outbox.needs_repair and not peer.outbox.is_half_full:
                peer.outbox.needs_repair = False
                self.repair.want(peer.id)
        member = self.repair.choose([member for member in ready if self._has_room(member)], now)
        if member is not None:
            number = self.repair.begin(member, now)
            digests = tuple(self.store.digests(now))
            self.peers.send(member, RepairOffer(number, digests))
        self._go_on(ready, now)

    def offer_received(self, peer: Peer, message: RepairOffer, now: float) -> None:
        """Another member begins a round: say where we differ."""
        buckets = unequal(self.store.digests(now), message.digests)
        self.peers.send(peer.id, RepairAnswer(message.round, buckets))

    def answer_received(self, peer: Peer, message: RepairAnswer, now: float) -> None:
        """The other member says where we differ."""
        running = self.repair.current(peer.id, message.round)
        if running is not None and not running.answered:
            running.answered = True
            running.heard_at = now
            running.buckets = self.repair.ordered(message.buckets)

    def digests_received(self, peer: Peer, message: BucketDigests, now: float) -> None:
        """Compare one bucket: send what is better here, ask for what is better there."""
        mine = self.store.counted(message.bucket, now)
        wanted, offered = differing(mine, message.digests)
        self._send(peer, offered, now)
        self.peers.send(peer.id, BucketAnswer(message.round, message.bucket, tuple(wanted)))

    def bucket_answered(self, peer: Peer, message: BucketAnswer, now: float) -> None:
        """The other member has compared one bucket: send what it asks for."""
        running = self.repair.current(peer.id, message.round)
        self._send(peer, list(message.wanted), now)
        if running is not None and running.awaiting == message.bucket:
            running.awaiting = None
            running.heard_at = now

    def want_all(self) -> None:
        """Ask for a round with every member."""
        for peer in self.peers:
            self.repair.want(peer.id)

    def said_goodbye(self, name: str) -> None:
        """A member has left and told all its news; one that vanished may still have some."""
        self.settled.pop(name, None)

    def settled_at(self, now: float) -> float:
        """Return the time before which every known member has told all its news."""
        return min((times[0] for times in self.settled.values()), default=now)

    def _go_on(self, ready: dict[MemberId, str], now: float) -> None:
        running = self.repair.round
        peer = None if running is None else self.peers.get(running.member)
        if running is None or peer is None or not running.answered:
            return
        if running.awaiting is not None:
            return
        if not running.buckets:
            self.metrics.repair_rounds += 1
            name = ready.get(running.member)
            if name is not None:
                earlier = self.settled.get(name, [running.began_at])
                self.settled[name] = [earlier[-1], running.began_at]
            self.repair.round = None
        elif self._has_room(peer.id):
            running.awaiting = self.repair.bucket = running.buckets.pop()
            digests = self.store.counted(running.awaiting, now)
            self.peers.send(peer.id, BucketDigests(running.number, running.awaiting, digests))

    def _has_room(self, member: MemberId) -> bool:
        peer = self.peers.get(member)
        return peer is not None and not peer.outbox.is_half_full and not peer.outbox.has_wholes

    def _send(self, peer: Peer, keys: list[Key], now: float) -> None:
        for key in keys:
            record = self.store.peek(key)
            # On a slow link, what an earlier round has put in may still wait.
            if record is None or peer.outbox.holds_whole(key, record.digest()):
                continue
            if not self.peers.put_record(peer, record, now):
                return
            self.metrics.records_repaired += 1
