"""
Waits: the requests of this member that wait for others, for fresh state or for acknowledgements.

Here both meet the links: what must be sent again on a new one, and who will never answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from replsession.concern import Asked
from replsession.events import Member
from replsession.identity import Key, MemberId
from replsession.metrics import Metrics
from replsession.replication.acks import Ticket, Tickets
from replsession.replication.freshness import Freshness, Lookup
from replsession.replication.intake import Intake
from replsession.replication.peers import Peers
from replsession.session.store import Store

Waiting: TypeAlias = Ticket | Lookup


@dataclass(slots=True)
class Waits:
    """Tickets and lookups, and what of them is done."""

    tickets: Tickets
    freshness: Freshness
    intake: Intake
    peers: Peers
    store: Store
    metrics: Metrics

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits and nothing is to be handed out."""
        return not (self.tickets or self.freshness or self.tickets.done or self.freshness.done)

    def open_ticket(
        self,
        asked: Asked,
        keys: Iterable[Key],
        up: Iterable[Member],
        known: int,
        now: float,
        *,
        again: bool = False,
    ) -> Ticket:
        """
        Wait for the commits of this very turn on these sessions.

        Args:
            asked: By the application.
            keys: Of the sessions; each was just committed by this member.
            up: The other members that are up.
            known: Names of other members that were seen in the last hour.
            now: Seconds of the local monotonic clock.
            again: They were committed earlier: the records are sent whole.
        """
        marks = {key: self.intake.mark(self.store.peek(key)) for key in keys}
        ready = {member.id: member.name for member in up if member.ready}
        ticket = self.tickets.open(asked, marks, ready, known, now)
        if again and not ticket.is_done:
            for member in ready:
                self._send(member, marks, now)
        self.metrics.commits_waited += not ticket.is_done
        self.metrics.commits_short += ticket.is_done and not ticket.is_met
        return ticket

    def member_up(self, member: MemberId, name: str, now: float) -> None:
        """A ready member has a link: what is waited for is sent to it whole."""
        self._send(member, self.tickets.member_up(member, name), now)

    def member_lost(self, member: MemberId) -> None:
        """A link is gone."""
        self.tickets.member_lost(member)
        self.freshness.member_lost(member)

    def advance(self, up: Iterable[Member], now: float) -> None:
        """Send again what was thrown away, and find out what is done."""
        for member, _ in self.peers.overflowed if self.tickets else ():
            self._send(member, self.tickets.outbox_emptied(member), now)
        for member, key, mark in self.intake.confirmed:
            peer = self.peers.get(member)
            if peer is not None:
                self.tickets.held(member, peer.name, {key: mark})
        self.intake.confirmed.clear()
        short = len(self.tickets.done)
        self.tickets.settle({member.name: None for member in up}, now)
        for ticket in self.tickets.done[short:]:
            self.metrics.commits_short += not ticket.is_met
        self.freshness.advance(now)

    def next_at(self, at: float) -> float:
        """Return when somebody has waited long enough, or *at* if that is earlier."""
        return self.freshness.next_at(self.tickets.next_at(at))

    def taken(self) -> list[Waiting]:
        """Return what is done, once."""
        done: list[Waiting] = [*self.tickets.done, *self.freshness.done]
        self.tickets.done.clear()
        self.freshness.done.clear()
        return done

    def _send(self, member: MemberId, keys: Iterable[Key], now: float) -> None:
        peer = self.peers.get(member)
        for key in keys:
            record = self.store.peek(key)
            if peer is not None and record is not None:
                self.peers.put_record(peer, record, now, self.intake.mark(record))
