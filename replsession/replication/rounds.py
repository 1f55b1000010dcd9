"""
Rounds of repair: with whom the next one is begun, how far the running one is, and when it failed.

One round runs at a time. Members with which one is due come first; else they take turns, one every
few seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from replsession.config import Timing
from replsession.identity import Key, MemberId
from replsession.messages import RecordDigests, RepairAnswer, RepairRecords
from replsession.replication.exchange import Giver

Awaited = type[RepairAnswer] | type[RecordDigests] | type[RepairRecords]
LEAVES = 256


@dataclass(slots=True)
class Round:
    """A round that this member began: what is left to compare, and what to exchange."""

    member: MemberId
    name: str
    """Name of the member, under which the round is counted when it is over."""
    number: int
    began_at: float
    heard_at: float
    step: int = 0
    """The latest message of this member's in this round."""
    awaiting: Awaited = RepairAnswer
    """The one answer that is under way."""
    buckets: list[int] = field(default_factory=list)
    """Buckets to compare, the next one last."""
    group: list[int] = field(default_factory=list)
    """Buckets that are compared at once, in their order; the first one perhaps in part."""
    first: int = 0
    """The leaf of the first of them from which on it is still to be compared."""
    wanted: tuple[Key, ...] = ()
    """Records to ask for."""
    giver: Giver = field(default_factory=Giver)
    """Records to send."""

    def go_on_at(self, leaf: int | None) -> bool:
        """
        Take note of where to compare next; return whether that brings the round forward.

        Args:
            leaf: Bucket and leaf as one number; None: the whole group is compared.
        """
        if leaf is None:
            self.group, self.first = [], 0
            return True
        bucket, first = divmod(leaf, LEAVES)
        if bucket not in self.group:
            return False
        at = self.group.index(bucket)
        if at == 0 and first <= self.first:
            return False
        self.group, self.first = self.group[at:], first
        return True


@dataclass(slots=True)
class Rounds:
    """The rounds that this member begins: one at a time, and with whom next."""

    timing: Timing
    started_at: float
    next_at: float = field(init=False)
    """When the next member has its turn."""
    running: Round | None = None
    number: int = 0
    due: dict[MemberId, float] = field(default_factory=dict)
    """Members with which a round is due, and from when on it may be begun."""
    last: MemberId = b""
    bucket: int = -1
    """The bucket that was compared last."""

    def __post_init__(self) -> None:
        self.next_at = self.started_at + self.timing.repair_interval_s

    def want(self, member: MemberId, at: float = 0.0) -> None:
        """Ask for a round with this member when none is running, and not before *at*."""
        self.due[member] = min(at, self.due.get(member, at))

    def lost(self, member: MemberId) -> None:
        """Forget a member whose link is gone."""
        self.due.pop(member, None)
        if self.running is not None and self.running.member == member:
            self.running = None

    def is_stalled(self, now: float) -> bool:
        """Tell whether the running round was not answered for too long."""
        running = self.running
        return running is not None and now - running.heard_at >= self.timing.repair_stall_s

    def give_up(self, now: float) -> None:
        """End the running round, which leads to nothing; begin one with its member later."""
        if self.running is not None:
            self.due[self.running.member] = now + self.timing.repair_interval_s
            self.running = None

    def choose(self, members: list[MemberId], now: float) -> MemberId | None:
        """Return the member to begin a round with now, or None."""
        if self.running is not None:
            return None
        for member, at in self.due.items():
            if at <= now and member in members:
                del self.due[member]
                return member
        if now < self.next_at or not members:
            return None
        self.next_at = now + self.timing.repair_interval_s
        ordered = sorted(members)
        later = [member for member in ordered if member > self.last]
        self.last = (later or ordered)[0]
        return self.last

    def begin(self, member: MemberId, name: str, now: float) -> Round:
        """Begin a round and return it."""
        self.number += 1
        self.running = Round(member, name, self.number, now, now)
        return self.running

    def ordered(self, buckets: tuple[int, ...]) -> list[int]:
        """
        Return buckets to compare, the next one last.

        Those after the bucket that was compared before come first: a slow member's round may end
        before it is through, and none is to be left out again and again.
        """
        once = sorted(dict.fromkeys(buckets))
        later = [bucket for bucket in once if bucket > self.bucket]
        return [*later, *(bucket for bucket in once if bucket <= self.bucket)][::-1]

    def answered(
        self, member: MemberId, number: int, step: int, kind: Awaited, now: float
    ) -> Round | None:
        """Return the running round if this is the answer that it waits for."""
        running = self.running
        if (
            running is None
            or (running.member, running.number, running.step) != (member, number, step)
            or running.awaiting is not kind
        ):
            return None
        running.heard_at = now
        return running
