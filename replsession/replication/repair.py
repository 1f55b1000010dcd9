"""
Repair: two members compare digests and exchange what differs, both ways.

::

    initiator                                              other
    RepairOffer    (256 bucket digests)          ──────▶
                                                 ◀──────   RepairAnswer   (unequal buckets)
    for some of these buckets at a time:
    LeafDigests    (digests of 1/256 buckets)    ──────▶
                                                 ◀──────   RecordDigests  (of unequal leaves)
    RepairRequest  (what I want; records)        ──────▶   merges them
    merges them                                  ◀──────   RepairRecords  (records; what is left)
    … until nothing is left to send on either side, then the next leaves, then the next buckets

The cost is by difference, not by size: ten different sessions among 100 000 are some 25 KiB.

Rules of this file:

1. One message is under way each way, and none is long, so a round needs no other bound and never
   touches an outbox. A member that is slow only makes its own rounds slow.
2. A round counts only when its last message says so: all that differed when it was compared was
   merged, here and there. What does not fit into one message follows in the next one.
3. What comes is merged, whether it was still asked for or not; only the answer that is awaited
   brings the round forward.

A round runs when a link came back, when a member is lost (it may have told its last news to some
only), when an outbox was emptied, and every few seconds with one member. Nothing in the fast path
has to be right for this to converge.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf

from replsession.identity import Key, MemberId
from replsession.messages import (
    LeafDigests,
    RecordDigests,
    RepairAnswer,
    RepairOffer,
    RepairRecords,
    RepairRequest,
)
from replsession.replication.exchange import (
    Giver,
    differing,
    leaf_of,
    unequal,
    unequal_leaves,
)
from replsession.replication.intake import Intake
from replsession.replication.peers import Peer, Peers
from replsession.replication.rounds import LEAVES, Round, Rounds
from replsession.session.delta import Delta
from replsession.session.store import Store

NAMES_FACTOR = 4
"""Names remembered for each member that may be up; as the view remembers them."""


@dataclass(slots=True)
class Repairer:
    """Repair at work: begins rounds, answers those of others, and exchanges what differs."""

    store: Store
    intake: Intake
    peers: Peers
    rounds: Rounds
    settled: dict[str, float] = field(default_factory=dict)
    """For each member name known: when the last round with it began that was finished."""
    level_out_at: float = 0.0
    """When the next loss of a member may lead to rounds with all others."""

    def advance(self, ready: dict[MemberId, str], now: float) -> None:
        """Begin a round if one is due; *ready* are the names of the members that may be asked."""
        for peer in self.peers:
            if peer.outbox.needs_repair and peer.outbox.is_open:
                peer.outbox.needs_repair = False
                self.rounds.want(peer.id)
        if self.rounds.is_stalled(now):
            self._give_up(now)
        member = self.rounds.choose(list(ready), now)
        if member is not None:
            running = self.rounds.begin(member, ready[member], now)
            offer = RepairOffer(running.number, tuple(self.store.digests(now)))
            self.peers.send(member, offer)

    def met(self, name: str) -> None:
        """
        A member can be sent to; it may have news until a round with it is finished.

        Also one that is not ready yet, or met while this one was not: it serves requests.
        """
        self.settled.setdefault(name, -inf)
        if len(self.settled) > NAMES_FACTOR * self.peers.limits.members_max:
            # Members that are started under ever new names, and killed: the longest unheard goes.
            linked = {peer.name: None for peer in self.peers}
            gone = [name for name in self.settled if name not in linked]
            del self.settled[min(gone, key=self.settled.__getitem__)]

    def want_all(self, at: float = 0.0) -> None:
        """Ask for a round with every member, not before *at*."""
        for peer in self.peers:
            self.rounds.want(peer.id, at)

    def link_down(self, member: MemberId, is_up: bool, now: float) -> None:
        """A link is gone, and perhaps with it a member; *is_up*: another link is there already."""
        self.rounds.lost(member)
        if is_up:
            return
        # Who died in the middle of sending has told its last news to some of us only.
        # At once; but a link that comes and goes must not keep everybody busy.
        at = max(now, self.level_out_at)
        self.level_out_at = at + self.peers.timing.repair_interval_s
        self.want_all(at)

    def said_goodbye(self, name: str) -> None:
        """A member has left and told all its news; one that vanished may still have some."""
        self.settled.pop(name, None)

    def settled_at(self, now: float) -> float:
        """Return the time before which every known member has told all its news."""
        return min(self.settled.values(), default=now)

    # What the initiator asks is answered here.

    def offer_received(self, peer: Peer, message: RepairOffer, now: float) -> None:
        """Another member begins a round: say where we differ."""
        buckets = unequal(self.store.digests(now), message.digests)
        self.peers.send(peer.id, RepairAnswer(message.round, buckets))

    def leaves_received(self, peer: Peer, message: LeafDigests, now: float) -> None:
        """Tell what is here in the leaves that differ, as far as there is room."""
        covered: list[int] = []
        digests: dict[Key, int] = {}
        following: int | None = None
        for leaf, records in self._unequal(message, now):
            room = self.peers.limits.repair_digests_max - len(digests)
            if covered and len(records) > room:
                following = leaf
                break
            covered.append(leaf)
            digests.update(records)
        answer = RecordDigests(message.round, message.step, following, tuple(covered), digests)
        self.peers.send(peer.id, answer)

    def request_received(self, peer: Peer, message: RepairRequest, now: float) -> None:
        """Merge what the other has better, and send what it wants."""
        self._take(peer, message.records, now)
        giver = peer.giver
        if (message.round, message.step) <= (giver.round, giver.step):
            return
        if message.round != giver.round:
            giver = peer.giver = Giver(message.round)
        giver.step = message.step
        giver.want(message.wanted)
        # The ends of sessions that it wants are among what it gets; they need not be told twice.
        wanted = dict.fromkeys(message.wanted)
        self.intake.stale = [record for record in self.intake.stale if record.key not in wanted]
        encoded = self._next_items(giver, now)
        encoding = self.peers.encoding
        frame = encoding.records_frame(message.round, message.step, giver.left, encoded)
        self.peers.send_frame(peer, frame)

    # The answers of the other one bring the round forward here.

    def answer_received(self, peer: Peer, message: RepairAnswer, now: float) -> None:
        """The other member says where we differ."""
        running = self.rounds.answered(peer.id, message.round, 0, RepairAnswer, now)
        if running is not None:
            running.buckets = self.rounds.ordered(message.buckets)
            self._compare(peer, running, now)

    def digests_received(self, peer: Peer, message: RecordDigests, now: float) -> None:
        """The other member tells what it has in the leaves that differ: exchange it."""
        kind = RecordDigests
        running = self.rounds.answered(peer.id, message.round, message.step, kind, now)
        if running is None:
            return
        covered = {leaf: None for leaf in message.leaves if leaf // LEAVES in running.group}
        mine = self._counted(covered, now)
        theirs = {key: digest for key, digest in message.digests.items() if leaf_of(key) in covered}
        wanted, offered = differing(mine, theirs)
        if not running.go_on_at(message.next):
            self._give_up(now)
            return
        running.wanted = tuple(wanted)
        running.giver.want(offered)
        self._exchange(peer, running, now)

    def records_received(self, peer: Peer, message: RepairRecords, now: float) -> None:
        """Merge what was wanted; go on with what is left."""
        self._take(peer, message.records, now)
        kind = RepairRecords
        running = self.rounds.answered(peer.id, message.round, message.step, kind, now)
        if running is None:
            return
        wanted = dict.fromkeys(running.wanted)
        left = tuple(key for key in message.left if key in wanted)
        if left and len(left) == len(wanted) and not message.records:
            self._give_up(now)
            return
        running.wanted = left
        self._exchange(peer, running, now)

    def _compare(self, peer: Peer, running: Round, now: float) -> None:
        if not running.group:
            running.group = self._next_group(running.buckets)
        if not running.group:
            self._finish(running)
            return
        running.step += 1
        running.awaiting = RecordDigests
        first = running.first
        leaves: dict[int, dict[int, int]] = {}
        for bucket in running.group:
            leaves[bucket] = self.store.leaves(bucket, now, first)
            first = 0
        self.peers.metrics.repair_comparisons += 1
        message = LeafDigests(running.number, running.step, running.first, leaves)
        self.peers.send(peer.id, message)

    def _next_group(self, buckets: list[int]) -> list[int]:
        group: list[int] = []
        room = self.peers.limits.repair_records_max
        while buckets and (not group or self.store.size(buckets[-1]) <= room):
            group.append(buckets.pop())
            room -= self.store.size(group[-1])
            self.rounds.bucket = group[-1]
        return group

    def _exchange(self, peer: Peer, running: Round, now: float) -> None:
        if not running.wanted and running.giver.is_done:
            self._compare(peer, running, now)
            return
        running.step += 1
        running.awaiting = RepairRecords
        encoded = self._next_items(running.giver, now)
        self.peers.metrics.repair_exchanges += 1
        encoding = self.peers.encoding
        frame = encoding.request_frame(running.number, running.step, running.wanted, encoded)
        self.peers.send_frame(peer, frame)

    def _finish(self, running: Round) -> None:
        self.peers.metrics.repair_rounds += 1
        self.settled[running.name] = running.began_at
        self.rounds.running = None

    def _give_up(self, now: float) -> None:
        self.peers.metrics.repair_rounds_given_up += 1
        self.rounds.give_up(now)

    def _unequal(self, message: LeafDigests, now: float) -> Iterator[tuple[int, dict[Key, int]]]:
        first = message.first
        for bucket, theirs in message.leaves.items():
            leaves = unequal_leaves(self.store.leaves(bucket, now, first), theirs)
            held: dict[int, dict[Key, int]] = {leaf: {} for leaf in leaves}
            for key, digest in self.store.counted(bucket, now, held).items():
                held[key.locator[1]][key] = digest
            for leaf, records in held.items():
                yield bucket * LEAVES + leaf, records
            first = 0

    def _counted(self, leaves: dict[int, None], now: float) -> dict[Key, int]:
        by_bucket: dict[int, list[int]] = {}
        for number in leaves:
            by_bucket.setdefault(number // LEAVES, []).append(number % LEAVES)
        counted: dict[Key, int] = {}
        for bucket, some in by_bucket.items():
            counted |= self.store.counted(bucket, now, dict.fromkeys(some))
        return counted

    def _next_items(self, giver: Giver, now: float) -> list[bytes]:
        def encoded(key: Key) -> Iterator[bytes]:
            record = self.store.peek(key)
            if record is not None:
                self.peers.metrics.records_repaired += 1
                yield from self.peers.encoded_record(record, now)

        return giver.next_items(encoded, self.peers.limits.chunk_bytes)

    def _take(self, peer: Peer, deltas: Iterable[Delta], now: float) -> None:
        for delta in deltas:
            self.intake.take(peer.assembly.arrived(delta), peer.id, now, in_transfer=False)
