"""
The state transfer at work: asks a donor, merges what comes, serves those who ask.

The states and the rules of choice are in ``transfer.py``; here they meet the other members.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from replsession.config import Limits, Timing
from replsession.events import (
    DonorLost,
    Event,
    Member,
    StateGivenUp,
    StateProgress,
    StateReceived,
    StateRequested,
    StateSkipped,
)
from replsession.identity import MemberId
from replsession.messages import (
    StateChunk,
    StateCredit,
    StateEnd,
    StateRefused,
    StateRequest,
)
from replsession.replication.intake import Intake
from replsession.replication.peers import Peer, Peers
from replsession.replication.transfer import Donor, Joiner, bucket_by_bucket
from replsession.session.store import Store


@dataclass(slots=True)
class Transfers:
    """Both sides of the state transfers of one member."""

    store: Store
    intake: Intake
    peers: Peers
    limits: Limits
    timing: Timing
    me: MemberId
    joiner: Joiner
    wall_offset_s: float
    asked: Member | None = None
    """The latest donor, as it was when it was asked: it may be gone from the view since."""
    events: list[Event] = field(default_factory=list)
    now: float = 0.0
    """Time of the latest input; ages in chunks are measured from it."""
    outcome: StateReceived | StateSkipped | StateGivenUp | None = None
    """How the own transfer ended."""
    ended_at: float = 0.0
    told_at: float = 0.0
    """When it was last told that a transfer goes on."""

    def advance(
        self, ready: list[Member], up: dict[MemberId, Member], now: float, others_ready: int = 0
    ) -> None:
        """
        Go on with the own transfer: choose a donor, give up on one, or finish.

        Args:
            ready: Members that can be asked.
            up: All members with a link.
            now: Seconds of the local monotonic clock.
            others_ready: Ready members whose link is gone, perhaps for a moment: while there are
                any, this is not the first member.
        """
        joiner = self.joiner
        self.now = now
        if joiner.done:
            return
        if joiner.donor is not None and joiner.donor not in up:
            self._lose_donor("gone", now)
        elif joiner.is_stalled(now):
            self._lose_donor("stalled", now)
        if joiner.is_overdue(now):
            self._end(StateGivenUp(now - joiner.started_at), now)
        elif joiner.nobody_came(now, len(ready) + others_ready):
            self._end(StateSkipped(), now)
        else:
            donor = joiner.choose(ready, self.me, now)
            if donor is not None:
                self.asked = donor
                transfer = joiner.begin(donor.id, now)
                self.peers.send(donor.id, StateRequest(transfer, joiner.complete))
                self.events.append(StateRequested(donor))
                self.told_at = now

    def link_down(self, member: MemberId, now: float) -> None:
        """
        A link is gone, and with it what came over it of a transfer.

        The member may be up again in the same moment over another link, as when both ends dial at
        once; so it may be asked again at once, though others are asked before it.
        """
        if not self.joiner.done and self.joiner.donor == member:
            self._lose_donor("its link is gone", now - self.timing.request_again_s)

    def requested(self, peer: Peer, message: StateRequest, now: float) -> None:
        """A joiner asks for state; what it asked before, or says twice, is no request."""
        if message.transfer <= peer.served:
            return
        serving = sum(other.donor is not None and other is not peer for other in self.peers)
        if not self.joiner.done or serving >= self.limits.transfers_at_once_max:
            self.peers.send(peer.id, StateRefused(message.transfer))
            return
        peer.served = message.transfer
        encoded = bucket_by_bucket(message.bucket, self._encoded_records)
        peer.donor = Donor(message.transfer, encoded, now)

    def refused(self, peer: Peer, message: StateRefused) -> None:
        """The donor has no time for us."""
        if self.joiner.donor == peer.id and self.joiner.transfer == message.transfer:
            self._lose_donor("refused", self.now)

    def chunk_received(self, peer: Peer, message: StateChunk, encoded: int, now: float) -> None:
        """Merge a chunk; *encoded* is its length in bytes, for the log."""
        joiner = self.joiner
        for record in message.records:
            self.intake.take(peer.assembly.arrived(record), peer.id, now, in_transfer=True)
        self.peers.send(peer.id, StateCredit(message.transfer, message.number))
        if joiner.donor != peer.id or joiner.transfer != message.transfer:
            return
        joiner.heard_at = now
        if joiner.chunk_came(message.number, message.bucket):
            self._count(message, encoded)
            self._tell_progress(now)

    def credit_received(self, peer: Peer, message: StateCredit, now: float) -> None:
        """The joiner merged a chunk: send more, and the end after the last one."""
        donor = peer.donor
        if donor is None or donor.transfer != message.transfer:
            return
        donor.credited += 1
        donor.heard_at = now

    def finish_served(self, now: float) -> None:
        """Send the end to joiners that have all chunks, and forget those that went silent."""
        sent_at_ms = int((now + self.wall_offset_s) * 1000)
        for peer in self.peers:
            donor = peer.donor
            if donor is None:
                continue
            if donor.exhausted and donor.credited >= donor.sent:
                forgotten = dict(self.store.forgotten)
                end = StateEnd(donor.transfer, donor.sent, sent_at_ms, forgotten)
                self.peers.send(peer.id, end)
                peer.donor = None
            elif now - donor.heard_at >= self.timing.transfer_stall_s:
                peer.donor = None

    def end_received(self, peer: Peer, message: StateEnd, now: float) -> None:
        """The donor has sent all: the transfer is done if all of it arrived."""
        joiner = self.joiner
        if joiner.done or joiner.donor != peer.id or joiner.transfer != message.transfer:
            return
        if len(joiner.chunks) != message.chunks:
            self._lose_donor("sent chunks that did not arrive", now)
            return
        assert self.asked is not None
        self.store.forget(message.forgotten)
        took_s = now - joiner.asked_at
        self._end(StateReceived(self.asked, message.sent_at_ms, took_s, *self.came()), now)

    def came(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return sessions and bytes that came up to now, for each context."""
        came = self.joiner.received()
        return (
            {context: part.sessions for context, part in came.items()},
            {context: part.bytes for context, part in came.items()},
        )

    def _end(self, outcome: StateReceived | StateSkipped | StateGivenUp, now: float) -> None:
        self.joiner.done = True
        self.outcome, self.ended_at = outcome, now
        self.events.append(outcome)

    def _tell_progress(self, now: float) -> None:
        # By what comes, not by a timer: nobody wakes up for it.
        if now - self.told_at >= self.timing.transfer_progress_s:
            assert self.asked is not None
            self.told_at = now
            self.events.append(StateProgress(self.asked, self.joiner.progress, *self.came()))

    def _lose_donor(self, reason: str, now: float) -> None:
        assert self.asked is not None
        self.joiner.fail(now)
        self.events.append(DonorLost(self.asked, reason))

    def _count(self, message: StateChunk, encoded: int) -> None:
        for record in message.records:
            is_first = record.piece is None or not record.piece.number
            is_session = record.destroyed is None and is_first
            share = encoded // len(message.records)
            self.joiner.count(record.key, share, is_session=is_session)

    def _encoded_records(self, bucket: int) -> Iterator[bytes]:
        retention = self.timing.tombstone_retention_s
        for key in self.store.keys(bucket):
            record = self.store.peek(key)
            if record is None:
                continue
            if record.destroyed is None or self.now - record.ended_at < retention:
                yield from self.peers.encoded_record(record, self.now)
