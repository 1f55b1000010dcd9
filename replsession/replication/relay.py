"""
Relaying: two members that cannot reach each other get each other's writes through a third.

::

    writer ──delta──▶ relay ──the same delta──▶ target          writer ──╳── target

Rules of this file:

1. Only what comes from its own writer is handed on, so nothing is ever handed on twice: whoever
   gets it from a relay has it from somebody who did not write it.
2. Of those that have a link with both, the one ranked first for this pair does it.
3. Whether two members have a link is what they say themselves; while one of them says so, nothing
   is handed on. A delta too few is found by repair, and a delta too many would be sent for each
   write of each member that starts.

A longer chain, where no single member has a link with both, is left to repair.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from replsession.identity import MemberId
from replsession.messages import Access, Accesses
from replsession.metrics import Metrics
from replsession.replication.outbox import Item
from replsession.replication.peers import Peers
from replsession.session.delta import Delta

LinkedWith = dict[MemberId, dict[MemberId, None]]


def targets(me: MemberId, writer: MemberId, linked_with: LinkedWith) -> list[MemberId]:
    """
    Return the members to whom *me* hands on what *writer* says.

    Args:
        me: A member that has links with all others in *linked_with*.
        writer: The one that it was heard from.
        linked_with: For each neighbour of *me*, whom it says it has a link with.
    """
    heard_by = linked_with.get(writer)
    if heard_by is None:
        return []
    return [
        target
        for target, others in linked_with.items()
        if target != writer
        and target not in heard_by
        and writer not in others
        and _first([one for one in heard_by if one in others], writer, target) == me
    ]


def _first(relays: list[MemberId], writer: MemberId, target: MemberId) -> MemberId | None:
    """Return which of those that can hand on does; spread over the pairs by a hash."""

    def rank(relay: MemberId) -> bytes:
        return blake2b(relay + writer + target, digest_size=8).digest()

    return min(relays, key=rank, default=None)


def is_own(delta: Delta, sender: MemberId) -> bool:
    """Tell whether the member that sent a delta or a tombstone made it itself."""
    if delta.destroyed is not None:
        return delta.destroyed.member == sender
    return delta.since is not None and delta.writer.member == sender


@dataclass(slots=True)
class Relay:
    """Hands on what comes; ``linked_with`` is kept by the membership."""

    me: MemberId
    peers: Peers
    metrics: Metrics
    linked_with: LinkedWith

    def deltas(self, sender: MemberId, deltas: tuple[Delta, ...]) -> None:
        """Put what a member has written into the outboxes of those that it cannot reach."""
        found = targets(self.me, sender, self.linked_with)
        if not found:
            return
        for delta in deltas:
            if is_own(delta, sender):
                # Not as a part of our own stream: there, deltas of one session are joined while
                # they wait, and only those of one writer may be.
                encoded = self.peers.encoding.encode_item(delta)
                item = Item(delta.key, encoded, is_stream=False)
                for target in found:
                    self.metrics.deltas_relayed += self.peers.put_for(target, item)

    def accesses(self, sender: MemberId, accesses: tuple[Access, ...]) -> None:
        """Send accesses on a member to those that it cannot reach."""
        own = tuple(access for access in accesses if access.access.member == sender)
        for target in targets(self.me, sender, self.linked_with) if own else ():
            self.metrics.deltas_relayed += len(own)
            self.peers.send(target, Accesses(own))
