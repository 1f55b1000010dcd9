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
from replsession.messages import Acknowledge, Message
from replsession.metrics import Metrics
from replsession.replication.outbox import Item, Outbox
from replsession.replication.pieces import Assembly, pieces, whole
from replsession.replication.transfer import Donor
from replsession.session.delta import Delta, Write
from replsession.session.record import Record
from replsession.session.stamp import Stamp


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

    def chunk_frame(self, transfer: int, number: int, encoded: Sequence[bytes]) -> bytes:
        """Return the frame of a chunk of encoded items."""


@dataclass(slots=True)
class Peer:
    """One member with a link."""

    id: MemberId
    link: int
    outbox: Outbox
    assembly: Assembly
    donor: Donor | None = None
    """Set while we send it our state."""
    applied: list[int] = field(default_factory=list)
    """Batches of this member that are applied and not acknowledged yet."""
    applied_bytes: int = 0
    acknowledge_at: float = 0.0


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
    _transfers: int = 0

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers.values())

    def __len__(self) -> int:
        return len(self._peers)

    def get(self, member: MemberId) -> Peer | None:
        """Return the peer, or None without a link to it."""
        return self._peers.get(member)

    def link_up(self, member: MemberId, link: int) -> None:
        """Begin to send to a member."""
        outbox = Outbox(self.limits, self.encoding.decode_item, self.encoding.encode_item)
        self._peers[member] = Peer(member, link, outbox, Assembly(self.limits))

    def link_down(self, member: MemberId) -> None:
        """Stop sending to a member; what waited for it is left to repair."""
        self._peers.pop(member, None)

    def send(self, member: MemberId, message: Message) -> None:
        """Send a message now, ahead of what waits in the outbox."""
        peer = self._peers.get(member)
        if peer is not None:
            self.send_on(peer.link, message)

    def send_on(self, link: int, message: Message) -> None:
        """Send a message on a link, with or without a HELLO yet."""
        self.frames.append((link, self.encoding.encode(message)))

    def send_to_all(self, message: Message) -> None:
        """Send a message to every peer; it is encoded once."""
        if self._peers:
            encoded = self.encoding.encode(message)
            self.frames += [(peer.link, encoded) for peer in self._peers.values()]

    def put_for_all(self, item: Item) -> None:
        """Put an item into every outbox."""
        for peer in self._peers.values():
            self._put(peer, item)

    def put_record(self, peer: Peer, record: Record, now: float) -> bool:
        """
        Put a whole record into the outbox of one member, in pieces if it is long.

        Returns:
            Whether there was room; if not, a repair round will come back to it.
        """
        if not peer.outbox.has_room:
            peer.outbox.needs_repair = True
            return False
        encoded = self.encoded_record(record, now)
        items = [Item(record.key, item, is_stream=False) for item in encoded]
        peer.outbox.put_whole(items, record.digest())
        return True

    def encoded_record(self, record: Record, now: float) -> Iterator[bytes]:
        """Yield a whole record as one item or more."""
        self._transfers += 1
        for piece in pieces(whole(record, now), self._transfers, self.limits):
            yield self.encoding.encode_item(piece)

    def applied(self, peer: Peer, batch: int, size: int, now: float) -> None:
        """Note that a batch of so many bytes is applied, to acknowledge it soon with others."""
        if not peer.applied:
            peer.acknowledge_at = now + self.timing.acknowledge_within_s
        peer.applied.append(batch)
        peer.applied_bytes += size
        if 4 * peer.applied_bytes >= self.limits.window_bytes:
            peer.acknowledge_at = now

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
                for batch in peer.applied:
                    self.send_on(peer.link, Acknowledge(batch))
                peer.applied.clear()
                peer.applied_bytes = 0
            while (waiting := peer.outbox.next_batch(now)) is not None:
                number, encoded = waiting
                self.metrics.deltas_sent += len(encoded)
                self.frames.append((peer.link, self.encoding.batch_frame(number, encoded)))
            if peer.donor is not None:
                for number, chunk in peer.donor.next_chunks(self.limits):
                    frame = self.encoding.chunk_frame(peer.donor.transfer, number, chunk)
                    self.frames.append((peer.link, frame))

    def _put(self, peer: Peer, item: Item) -> None:
        lost = peer.outbox.put(item)
        if lost:
            self.metrics.outboxes_overflowed += 1
            self.overflowed.append((peer.id, lost))
