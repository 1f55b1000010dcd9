"""
The inbox: which room of replication each message belongs to.

What is about members themselves (HELLO, readiness, goodbye) is the node's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from replsession import messages as m
from replsession.replication.freshness import Freshness
from replsession.replication.joining import Transfers
from replsession.replication.peers import Peer
from replsession.replication.reaping import Reaper
from replsession.replication.repair import Repairer
from replsession.replication.stream import Stream


@dataclass(slots=True)
class Inbox:
    """Hands each message on."""

    stream: Stream
    repairer: Repairer
    transfers: Transfers
    freshness: Freshness
    reaper: Reaper

    def received(self, peer: Peer, message: m.Message, size: int, now: float) -> bool:
        """
        Take in a message of a member; *size* is that of its body in bytes.

        Returns:
            Whether transfers or repair may have something to do because of it.
        """
        kind = type(message)
        _HANDLERS[kind](self, peer, message, size, now)
        self.stream.send_tombstones(peer, now)
        self.reaper.keep_bounds(now)
        return kind not in _QUIET or bool(self.stream.intake.wanted) or peer.outbox.needs_repair


_QUIET = frozenset({m.Deltas, m.Acknowledge, m.Ping, m.Urge, m.RecordInquiry, m.RecordAnswer})

_Handler = Callable[[Inbox, Peer, Any, int, float], None]

_HANDLERS: dict[type[Any], _Handler] = {
    m.Ping: lambda i, p, x, _, now: None,
    m.Deltas: lambda i, p, x, size, now: i.stream.deltas_received(p, x, size, now),
    m.Acknowledge: lambda i, p, x, _, now: i.stream.acknowledged(p, x),
    m.Accesses: lambda i, p, x, _, now: i.stream.accesses_received(p, x, now),
    m.RecordRequest: lambda i, p, x, _, now: i.stream.record_requested(p, x, now),
    m.Urge: lambda i, p, x, _, now: i.stream.peers.urged(p, now),
    m.RecordInquiry: lambda i, p, x, _, now: i.freshness.inquired(p, x, now),
    m.RecordAnswer: lambda i, p, x, _, now: i.freshness.answered(p, x, now),
    m.RepairOffer: lambda i, p, x, _, now: i.repairer.offer_received(p, x, now),
    m.RepairAnswer: lambda i, p, x, _, now: i.repairer.answer_received(p, x, now),
    m.LeafDigests: lambda i, p, x, _, now: i.repairer.leaves_received(p, x, now),
    m.RecordDigests: lambda i, p, x, _, now: i.repairer.digests_received(p, x, now),
    m.RepairRequest: lambda i, p, x, _, now: i.repairer.request_received(p, x, now),
    m.RepairRecords: lambda i, p, x, _, now: i.repairer.records_received(p, x, now),
    m.StateRequest: lambda i, p, x, _, now: i.transfers.requested(p, x, now),
    m.StateRefused: lambda i, p, x, _, now: i.transfers.refused(p, x),
    m.StateChunk: lambda i, p, x, size, now: i.transfers.chunk_received(p, x, size, now),
    m.StateCredit: lambda i, p, x, _, now: i.transfers.credit_received(p, x, now),
    m.StateEnd: lambda i, p, x, _, now: i.transfers.end_received(p, x, now),
    m.Expirations: lambda i, p, x, _, now: i.reaper.expirations_received(p, x, now),
}
