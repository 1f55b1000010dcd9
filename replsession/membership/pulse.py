"""The pulse: what a member says for no other reason than to be heard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from replsession.config import Timing
from replsession.events import Member
from replsession.membership.detector import needs_ping
from replsession.membership.mesh import Link, LinkId
from replsession.messages import Heartbeat, Message, Ping


@dataclass(slots=True)
class Pulse:
    """Heartbeats for the group, and signs of life on links that carry nothing else."""

    timing: Timing
    heartbeat_at: float = float("inf")
    heartbeats: list[Heartbeat] = field(default_factory=list)
    """To be sent as datagrams; taken out by the node."""
    sign: Message = field(default_factory=Ping)
    """What is said on a silent link. Who is ready says so again: it counts even if it was lost."""

    def beat(
        self, me: Member, links: Iterable[Link], now: float
    ) -> Iterator[tuple[LinkId, Message]]:
        """Make a heartbeat if one is due, and yield what is to be said on silent links."""
        if now >= self.heartbeat_at:
            self.heartbeat_at = now + self.timing.heartbeat_interval_s
            self.heartbeats.append(Heartbeat(me.id, me.address))
        for link in links:
            if link.member is not None and needs_ping(now, link.last_sent, self.timing):
                yield link.id, self.sign
