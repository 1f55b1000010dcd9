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
from replsession.replication.intake import Intake
from replsession.replication.peers import Peer, Peers
from replsession.session.store import Store


@dataclass(slots=True)
class Stream:
    """What other members send to this one."""

    store: Store
    intake: Intake
    peers: Peers
    metrics: Metrics

    def deltas_received(self, peer: Peer, message: Deltas, size: int, now: float) -> None:
        """Merge a batch and acknowledge it."""
        self.metrics.deltas_received += len(message.deltas)
        for delta in message.deltas:
            self.intake.take(peer.assembly.arrived(delta), peer.id, now, in_transfer=False)
        self.peers.applied(peer, message.batch, size, now)

    def send_tombstones(self, peer: Peer, now: float) -> None:
        """Tell the sender which of its sessions have ended, and everybody which were buried."""
        for record in self.intake.stale:
            self.peers.put_record(peer, record, now)
        self.intake.stale.clear()
        for record in self.intake.buried:
            for other in self.peers:
                self.peers.put_record(other, record, now)
        self.intake.buried.clear()

    def acknowledged(self, peer: Peer, message: Acknowledge) -> None:
        """The member has applied one batch."""
        self.metrics.deltas_acknowledged += peer.outbox.acknowledged(message.batch)

    def accesses_received(self, message: Accesses, now: float) -> None:
        """Merge the times of accesses on another member."""
        for access in message.accesses:
            self.intake.take_access(access, now)

    def record_requested(self, peer: Peer, message: RecordRequest, now: float) -> None:
        """Send whole what is asked for and here, also if it sleeps or is partial."""
        for key in message.keys:
            record = self.store.peek(key)
            if record is None or peer.outbox.holds_whole(key, record.digest()):
                continue
            if not self.peers.put_record(peer, record, now):
                return

    def ask(self, now: float) -> None:
        """Ask for the whole records that are wanted and due."""
        if not self.intake.wanted:
            return
        asks: dict[MemberId, list[Key]] = {}
        for sender, key in self.intake.due(now):
            self.metrics.records_requested += 1
            for peer in self.peers:
                if sender is None or sender == peer.id:
                    asks.setdefault(peer.id, []).append(key)
        for member, keys in asks.items():
            self.peers.send(member, RecordRequest(tuple(keys)))
