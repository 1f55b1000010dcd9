"""
Peers: the members with a link, each with its outbox; and all frames on their way out.

This is the one place where a message becomes a frame for a link.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from replsession.config import Limits, Timing
from replsession.identity import Key, MemberId
from replsession.messages import Acknowledge, Message, Urge
from replsession.metrics import Metrics
from replsession.replication.exchange import Giver
from replsession.replication.outbox import Item, Outbox
from replsession.replication.pieces import Assembly, pieces, whole
from replsession.replication.transfer import Donor
from replsession.session.delta import Delta, Write
from replsession.session.record import Record
from replsession.session.stamp import Stamp

UNNUMBERED = 0
"""Number of a batch that no outbox keeps; theirs begin at 1."""


class Encoding(Protocol):
    """What is asked of the wire format; ``wire/encoding.py`` has it."""

    def encode(self, message: Message) -> bytes:
        """Return the frame of a message."""

    def stream_item(
        self,
        key: Key,
        born: Stamp,
        since: int,
        stamp: Stamp,
        age_s: float,
        writes: dict[str, Write],
    ) -> bytes:
        """Return one stream delta as an item: the hot path."""

    def encode_item(self, delta: Delta) -> bytes:
        """Return one item of a batch."""

    def decode_item(self, encoded: bytes) -> Delta:
        """Return the delta in an item."""

    def batch_frame(self, batch: int, encoded: Sequence[bytes]) -> bytes:
        """Return the frame of a batch of encoded items."""

    def answer_frame(
        self, number: int, unknown: tuple[Key, ...], encoded: Sequence[bytes]
    ) -> bytes:
        """Return the frame of an answer to an inquiry, of encoded items."""

    def chunk_frame(
        self, transfer: int, number: int, bucket: int, encoded: Sequence[bytes]
    ) -> bytes:
        """Return the frame of a chunk of encoded items."""

    def request_frame(
        self, round_: int, step: int, wanted: Sequence[Key], encoded: Sequence[bytes]
    ) -> bytes:
        """Return the frame of a RepairRequest with encoded items."""

    def records_frame(
        self, round_: int, step: int, left: Sequence[Key], encoded: Sequence[bytes]
    ) -> bytes:
        """Return the frame of RepairRecords with encoded items."""


@dataclass(slots=True)
class Peer:
    """One member with a link."""

    id: MemberId
    link: int
    outbox: Outbox
    assembly: Assembly
    name: str = ""
    overflows: int = 0
    """How often its outbox was emptied since the link came."""
    donor: Donor | None = None
    """Set while we send it our state."""
    served: int = 0
    """Number of the latest transfer that was begun for it."""
    giver: Giver = field(default_factory=Giver)
    """What it wants from us in the repair round that it has begun."""
    applied: list[int] = field(default_factory=list)
    """Batches of this member that are applied and not acknowledged yet."""
    applied_bytes: int = 0
    acknowledge_at: float = 0.0
    partial: dict[int, tuple[Key, ...]] = field(default_factory=dict)
    """For such batches, the sessions of which we have no whole record."""


@dataclass(slots=True)
class Peers:
    """All members with a link, and the frames for them."""

    limits: Limits
    timing: Timing
    encoding: Encoding
    metrics: Metrics
    frames: list[tuple[int, bytes]] = field(default_factory=list)
    overflowed: list[tuple[MemberId, int]] = field(default_factory=list)
    _peers: dict[MemberId, Peer] = field(default_factory=dict)
    tracked: dict[Key, int] = field(default_factory=dict)
    """Sessions with open tickets; ``acks.py`` keeps it."""
    _transfers: int = 0

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers.values())

    def __len__(self) -> int:
        return len(self._peers)

    def get(self, member: MemberId) -> Peer | None:
        """Return the peer, or None without a link to it."""
        return self._peers.get(member)

    def link_up(self, member: MemberId, link: int, name: str = "") -> None:
        """Begin to send to a member; *name* is the one that people and quorums know."""
        outbox = Outbox(self.limits, self.encoding.decode_item, self.encoding.encode_item)
        self._peers[member] = Peer(member, link, outbox, Assembly(self.limits), name)

    def link_down(self, member: MemberId) -> None:
        """Stop sending to a member; what waited for it is left to repair."""
        self._peers.pop(member, None)

    def send(self, member: MemberId, message: Message) -> None:
        """Send a message now, ahead of what waits in the outbox."""
        peer = self._peers.get(member)
        if peer is not None:
            self.send_on(peer.link, message)

    def send_frame(self, peer: Peer, frame: bytes) -> None:
        """Send a frame now that was made from encoded items."""
        self.frames.append((peer.link, frame))

    def send_on(self, link: int, message: Message) -> None:
        """Send a message on a link, with or without a HELLO yet."""
        self.frames.append((link, self.encoding.encode(message)))

    def send_to_all(self, message: Message) -> None:
        """Send a message to every peer; it is encoded once."""
        if self._peers:
            encoded = self.encoding.encode(message)
            self.frames += [(peer.link, encoded) for peer in self._peers.values()]

    def send_answer(
        self, peer: Peer, number: int, unknown: tuple[Key, ...], encoded: Sequence[bytes]
    ) -> None:
        """Answer the inquiry of this number, ahead of what waits in the outbox."""
        self.frames.append((peer.link, self.encoding.answer_frame(number, unknown, encoded)))

    def put_for_all(self, item: Item) -> None:
        """Put an item into every outbox."""
        for peer in self._peers.values():
            self._put(peer, item)

    def put_for(self, member: MemberId, item: Item) -> bool:
        """Put an item into the outbox of one member; return whether there is a link to it."""
        peer = self._peers.get(member)
        if peer is not None:
            self._put(peer, item)
        return peer is not None

    def put_record(self, peer: Peer, record: Record, now: float, mark: int = 0) -> bool:
        """
        Put a whole record into the outbox of one member, in pieces if it is long.

        Args:
            peer: For whom.
            record: Of this store.
            now: Seconds of the local monotonic clock.
            mark: What the member holds of this member's writes when it has all of the pieces.

        Returns:
            Whether there was room; if not, a repair round will come back to it.
        """
        if not peer.outbox.has_room:
            peer.outbox.needs_repair = True
            return False
        encoded = self.encoded_record(record, now)
        items = [Item(record.key, item, is_stream=False) for item in encoded]
        items[-1].mark = mark
        peer.outbox.put_whole(items, record.digest())
        return True

    def put_record_for_all(self, record: Record, now: float, mark: int = 0) -> None:
        """Put a whole record into every outbox, encoded once; where there is no room, repair."""
        encoded = self.encoded_record(record, now)
        items = [Item(record.key, item, is_stream=False) for item in encoded]
        items[-1].mark = mark
        for peer in self._peers.values():
            if peer.outbox.has_room:
                peer.outbox.put_whole(items, record.digest())
            else:
                peer.outbox.needs_repair = True

    def lost_pieces(self, key: Key) -> None:
        """A record was dropped, and with it the pieces of it that came so far."""
        for peer in self._peers.values():
            peer.assembly.lost(key)

    def tell_all(self, encoded: Sequence[bytes]) -> None:
        """
        Send items to every peer now, whatever its outbox and its window say.

        Nobody waits for their acknowledgement: the number of their batch is none of an outbox.
        """
        start = size = 0
        for end, item in enumerate(encoded, start=1):
            size += len(item)
            if size >= self.limits.chunk_bytes or end == len(encoded):
                frame = self.encoding.batch_frame(UNNUMBERED, encoded[start:end])
                self.frames += [(peer.link, frame) for peer in self._peers.values()]
                start, size = end, 0

    def encoded_record(self, record: Record, now: float) -> Iterator[bytes]:
        """Yield a whole record as one item or more."""
        self._transfers += 1
        for piece in pieces(whole(record, now), self._transfers, self.limits):
            yield self.encoding.encode_item(piece)

    def applied(
        self, peer: Peer, batch: int, size: int, now: float, partial: tuple[Key, ...] = ()
    ) -> None:
        """
        Note that a batch of so many bytes is applied, to acknowledge it soon with others.

        Args:
            peer: Who sent it.
            batch: Its number.
            size: Bytes of its body.
            now: Seconds of the local monotonic clock.
            partial: Sessions in it of which there is no whole record here.
        """
        if partial:
            peer.partial[batch] = partial
        if not peer.applied:
            peer.acknowledge_at = now + self.timing.acknowledge_within_s
        peer.applied.append(batch)
        peer.applied_bytes += size
        if 4 * peer.applied_bytes >= self.limits.window_bytes:
            peer.acknowledge_at = now

    def urged(self, peer: Peer, now: float) -> None:
        """A request on that member waits: acknowledge what is applied now."""
        peer.acknowledge_at = min(peer.acknowledge_at, now)

    def acknowledge_at(self, at: float) -> float:
        """Return when acknowledgements are due, or *at* if that is earlier."""
        for peer in self._peers.values():
            if peer.applied and peer.acknowledge_at < at:
                at = peer.acknowledge_at
        return at

    def flush(self, now: float) -> None:
        """Turn what may leave now into frames."""
        for peer in self._peers.values():
            if peer.applied and now >= peer.acknowledge_at:
                self._acknowledge(peer)
            is_urgent = False
            while (waiting := peer.outbox.next_batch(now, self.tracked)) is not None:
                number, encoded = waiting
                self.metrics.deltas_sent += len(encoded)
                self.frames.append((peer.link, self.encoding.batch_frame(number, encoded)))
                is_urgent |= peer.outbox.in_flight[number].marks is not None
            if is_urgent:
                self.send_on(peer.link, Urge())
            if peer.donor is not None:
                for number, bucket, chunk in peer.donor.next_chunks(self.limits):
                    frame = self.encoding.chunk_frame(peer.donor.transfer, number, bucket, chunk)
                    self.frames.append((peer.link, frame))

    def _acknowledge(self, peer: Peer) -> None:
        for batch in peer.applied:
            self.send_on(peer.link, Acknowledge(batch, peer.partial.pop(batch, ())))
        peer.applied.clear()
        peer.applied_bytes = 0

    def _put(self, peer: Peer, item: Item) -> None:
        lost = peer.outbox.put(item)
        if lost:
            self.metrics.outboxes_overflowed += 1
            peer.overflows += 1
            self.overflowed.append((peer.id, lost))
