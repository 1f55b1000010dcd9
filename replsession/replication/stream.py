"""
The stream as it comes in: deltas and accesses of other members, and requests for records.

All of it goes through the intake, and a batch is acknowledged when it is applied. What goes out is
in ``requests.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from replsession.identity import Key, MemberId
from replsession.messages import (
    Accesses,
    Acknowledge,
    Deltas,
    RecordRequest,
)
from replsession.metrics import Metrics
from replsession.replication.acks import Tickets
from replsession.replication.intake import Intake
from replsession.replication.peers import Peer, Peers
from replsession.replication.relay import Relay
from replsession.session.delta import Delta
from replsession.session.store import Store

KEYS_IN_MESSAGE_MAX = 1000


@dataclass(slots=True)
class Stream:
    """What other members send to this one."""

    store: Store
    intake: Intake
    peers: Peers
    metrics: Metrics
    tickets: Tickets
    relay: Relay

    def deltas_received(self, peer: Peer, message: Deltas, size: int, now: float) -> None:
        """Merge a batch and acknowledge it."""
        self.metrics.deltas_received += len(message.deltas)
        partial: dict[Key, None] = {}
        for delta in message.deltas:
            source = self._source(delta, peer)
            arrived = peer.assembly.arrived(delta)
            if not self.intake.take(arrived, source, now, in_transfer=False):
                partial[delta.key] = None
            elif partial:
                partial.pop(delta.key, None)
        self.relay.deltas(peer.id, message.deltas)
        self.peers.applied(peer, message.batch, size, now, tuple(partial))

    def send_tombstones(self, peer: Peer, now: float) -> None:
        """Tell the sender which of its sessions ended or sleep, and all which were buried."""
        for record in self.intake.stale:
            self.peers.put_record(peer, record, now)
        self.intake.stale.clear()
        for record in self.intake.buried:
            for other in self.peers:
                self.peers.put_record(other, record, now)
        self.intake.buried.clear()

    def acknowledged(self, peer: Peer, message: Acknowledge) -> None:
        """The member has applied one batch."""
        batch = peer.outbox.in_flight.get(message.batch)
        if batch is not None and batch.marks is not None:
            held = {k: mark for k, mark in batch.marks.items() if k not in message.partial}
            self.tickets.held(peer.id, peer.name, held)
        self.metrics.deltas_acknowledged += peer.outbox.acknowledged(message.batch)

    def accesses_received(self, peer: Peer, message: Accesses, now: float) -> None:
        """Merge the times of accesses on another member."""
        for access in message.accesses:
            self.intake.take_access(access, now)
            self.intake.tell_message("access", access.key, peer.id)
        self.relay.accesses(peer.id, message.accesses)

    def record_requested(self, peer: Peer, message: RecordRequest, now: float) -> None:
        """Send whole what is asked for and here, also if it sleeps or is partial."""
        for key in message.keys:
            record = self.store.peek(key)
            if record is None or peer.outbox.holds_whole(key, record.digest()):
                continue
            if not self.peers.put_record(peer, record, now, self.intake.mark(record)):
                return

    def ask(self, now: float) -> None:
        """Ask for the whole records that are wanted and due."""
        if not self.intake.wanted:
            return
        asks: dict[MemberId, list[Key]] = {}
        for sender, key in self.intake.due(now):
            self.metrics.records_requested += 1
            is_linked = sender is not None and self.peers.get(sender) is not None
            for peer in self.peers:
                if not is_linked or sender == peer.id:
                    asks.setdefault(peer.id, []).append(key)
        for member, keys in asks.items():
            for at in range(0, len(keys), KEYS_IN_MESSAGE_MAX):
                self.peers.send(member, RecordRequest(tuple(keys[at : at + KEYS_IN_MESSAGE_MAX])))

    def _source(self, delta: Delta, peer: Peer) -> MemberId:
        """Return whom to ask if something is missing before a delta: its writer, if we can."""
        if delta.since is None or peer.id in delta.version:
            return peer.id
        writer = delta.writer.member
        return peer.id if self.peers.get(writer) is None else writer
