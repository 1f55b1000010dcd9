"""
Replication: the rooms of one member's sessions, put together, and what links mean to them.

It knows no link but those of members that have said HELLO, and nothing of how members are found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random

from replsession.concern import Asked
from replsession.config import UNCOUNTED_MAX, NodeConfig
from replsession.events import Event, Member
from replsession.identity import Key, MemberId
from replsession.metrics import Metrics
from replsession.replication.acks import Ticket, Tickets
from replsession.replication.freshness import Freshness
from replsession.replication.inbox import Inbox
from replsession.replication.intake import Intake
from replsession.replication.joining import Transfers
from replsession.replication.peers import Encoding, Peers
from replsession.replication.pieces import whole
from replsession.replication.principals import Principals
from replsession.replication.reaping import Reaper
from replsession.replication.relay import LinkedWith, Relay
from replsession.replication.repair import Repairer
from replsession.replication.requests import Requests
from replsession.replication.rounds import Rounds
from replsession.replication.stream import Stream
from replsession.replication.transfer import Joiner
from replsession.replication.waits import Waits
from replsession.session.stamp import HybridClock
from replsession.session.store import Store


class Replication:
    """
    All rooms of replication of one member.

    Args:
        config: Bounds and times.
        me: The member's id, which is also that of its stamps.
        encoding: The wire format.
        events: Where events go, in the order in which they happen.
        metrics: The member's counters.
        linked_with: For each neighbour, whom it says it has a link with; the membership keeps it.
        rng: Randomness for further names in stamps.
        now: Seconds of the monotonic clock.
        wall_offset_s: Unix seconds minus ``now``, for stamps.
    """

    def __init__(
        self,
        config: NodeConfig,
        me: MemberId,
        encoding: Encoding,
        events: list[Event],
        metrics: Metrics,
        linked_with: LinkedWith,
        rng: Random,
        now: float,
        wall_offset_s: float,
    ) -> None:
        limits, timing = config.limits, config.timing
        self._me = me
        self.metrics = metrics
        self.store = store = Store(limits, timing)
        self.clock = clock = HybridClock()
        self.peers = peers = Peers(limits, timing, encoding, metrics)
        self.intake = intake = Intake(store, clock, me, limits, timing, metrics, wall_offset_s)
        freshness = Freshness(store, intake, peers, limits, timing, metrics)
        tickets = Tickets(limits.tickets_max)
        peers.tracked = intake.tracked = tickets.tracked
        intake.lost_pieces = peers.lost_pieces
        self.waits = Waits(tickets, freshness, intake, peers, store, metrics)
        self.principals = principals = Principals(store, peers, metrics, events, intake.reported)
        self.requests = Requests(
            store, clock, me, wall_offset_s, peers, metrics, timing, freshness, principals, now
        )
        principals.stamp, intake.came = self.requests.stamp, principals.came
        self.repairer = Repairer(store, intake, peers, Rounds(timing, now))
        self.transfers = Transfers(
            store, intake, peers, limits, timing, me, Joiner(timing, now), wall_offset_s
        )
        relay = Relay(me, peers, metrics, linked_with)
        self.stream = Stream(store, intake, peers, metrics, tickets, relay)
        self.reaper = Reaper(intake, self.requests, self.repairer.settled_at, rng, now)
        self.inbox = Inbox(self.stream, self.repairer, self.transfers, freshness, self.reaper)
        self.transfers.events = intake.events = events

    def adopt(self, other: Replication, now: float) -> None:
        """Take over the sessions of an earlier start in this process."""
        self.store.forget(other.store.forgotten)
        for record in other.store.records():
            self.intake.take(whole(record, now), self._me, now, in_transfer=True)

    def link_up(self, member: Member, link: int, now: float) -> None:
        """A member can be sent to."""
        self.peers.link_up(member.id, link, member.name)
        self.repairer.met(member.name)
        self.waits.freshness.member_met(member.id)
        if member.ready:
            self.waits.member_up(member.id, member.name, now)
        if self.intake.is_ready and self._me < member.id:
            self.repairer.rounds.want(member.id)

    def link_down(self, member: MemberId, now: float, *, is_up: bool) -> None:
        """A member can't be sent to over a link that is gone; *is_up*: it has another one."""
        self.peers.link_down(member)
        self.repairer.link_down(member, is_up, now)
        self.transfers.link_down(member, now)
        self.waits.member_lost(member)

    def member_ready(self, member: MemberId, now: float) -> None:
        """A member has got its state: from now on its acknowledgements count."""
        peer = self.peers.get(member)
        if peer is not None:
            self.waits.member_up(member, peer.name, now)

    def said_goodbye(self, name: str) -> None:
        """A member has left on purpose."""
        self.repairer.said_goodbye(name)
        self.waits.tickets.member_left(name)

    def acknowledgement(
        self,
        asked: Asked,
        keys: Iterable[Key],
        view: Iterable[Member],
        known: int,
        now: float,
        *,
        again: bool,
    ) -> Ticket:
        """Wait for acknowledgements; see :meth:`Node.acknowledgement`."""
        return self.waits.open_ticket(asked, keys, view, known, now, again=again)

    def join(self, up: Mapping[MemberId, Member], others_ready: int, now: float) -> bool:
        """Go on with the own state transfer; return whether it is done."""
        ready = [member for member in up.values() if member.ready]
        self.transfers.advance(ready, dict(up), now, others_ready)
        return self.transfers.joiner.done

    def become_ready(self, now: float) -> None:
        """The state is here: judge, repair, and give it to others."""
        self.intake.become_ready(now)
        self.repairer.want_all()

    def advance(self, up: Mapping[MemberId, Member], now: float) -> None:
        """Repair, and ask for records that are wanted."""
        names = {member.id: member.name for member in up.values() if member.ready}
        self.repairer.advance(names, now)
        self.stream.ask(now)

    def flush(self, reachable: Callable[[], Iterable[Member]], now: float) -> None:
        """
        Turn what may leave now into frames, and find out who need not wait any more.

        Args:
            reachable: Returns the members that can acknowledge; only asked while somebody waits.
            now: Seconds of the monotonic clock.
        """
        self.transfers.now = now
        if not self.waits.is_idle:
            self.waits.advance(reachable(), now)
        self.peers.flush(now)
        self.store.count(now, UNCOUNTED_MAX)
        self.transfers.finish_served(now)

    def next_at(self, *, alone: bool) -> float:
        """Return when the timer should fire for this part."""
        at = self.reaper.next_at()
        if alone:
            return at
        if self.requests.announced:
            at = min(at, self.requests.announce_at)
        return self.waits.next_at(self.peers.acknowledge_at(at))
