"""
One member as a state machine: no socket, no clock, no thread, no randomness of its own.

Contract with whoever drives it: every input carries ``now``, seconds of one monotonic clock;
after any input, or after several of one turn, call :meth:`Node.ready` and carry it out.

::

    inputs     listening  datagram_received  link_opened  dial_failed  link_closed  bytes_received
               timer_fired  open  commit  stop
    output     Ready(datagrams, frames, links, events, wake_at)

The node only composes: who is there is ``membership/``, how writes travel is ``replication/``,
what a session is is ``session/``, how it is written down is ``wire/``.
Models: etcd/raft ``rawnode.go``; aioquic ``connection.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from replsession import events as e
from replsession import messages as m
from replsession.config import NodeConfig
from replsession.errors import WireError
from replsession.events import Event, Member
from replsession.identity import Address, Key, MemberId
from replsession.membership.detector import needs_ping, was_late
from replsession.membership.membership import Close, Dial, Membership
from replsession.membership.mesh import Link, LinkId
from replsession.metrics import Metrics
from replsession.replication.inbox import Inbox
from replsession.replication.intake import Intake
from replsession.replication.joining import Transfers
from replsession.replication.peers import Peers
from replsession.replication.pieces import whole
from replsession.replication.repair import Repair, Repairer
from replsession.replication.requests import Requests
from replsession.replication.stream import Stream
from replsession.replication.transfer import Joiner
from replsession.session.change import Change
from replsession.session.record import Record
from replsession.session.stamp import HybridClock
from replsession.session.store import Store
from replsession.wire import encoding
from replsession.wire.framing import FrameReader


@dataclass(frozen=True, slots=True)
class Ready:
    """Everything the channel must do now."""

    datagrams: list[bytes]
    """Heartbeats to sign and to send to the group."""
    frames: list[tuple[LinkId, bytes]]
    """Bytes for each link, in this order."""
    links: list[Dial | Close]
    """Orders about links, after the frames."""
    events: list[Event]
    wake_at: float
    """Call ``timer_fired`` no later than this."""


class Node:
    """
    One member.

    Args:
        config: Bounds and times.
        me: Who this member is; its ``ready`` is kept here.
        rng: Randomness for pauses; seeded in tests.
        now: Seconds of the monotonic clock.
        wall_offset_s: Unix seconds minus ``now`` at the start. Stamps are made from it, so a wall
            clock that is set while the process runs changes nothing.
        alone: No other member can exist: ready at once.
    """

    def __init__(
        self,
        config: NodeConfig,
        me: Member,
        rng: Random,
        now: float,
        wall_offset_s: float,
        *,
        alone: bool = False,
    ) -> None:
        limits, timing = config.limits, config.timing
        self.timing = timing
        self.limits = limits
        self.me = me
        self.metrics = Metrics()
        self.store = Store(limits, timing)
        self.clock = HybridClock()
        self.wall_offset_s = wall_offset_s
        self.alone = alone
        self.is_stopped = False
        self.membership = Membership(config, me, rng)
        self.peers = Peers(limits, timing, encoding, self.metrics)
        self.intake = Intake(
            self.store, self.clock, me.id, limits, timing, self.metrics, wall_offset_s
        )
        self.requests = Requests(
            self.store, self.clock, me.id, wall_offset_s, self.peers, self.metrics, timing, now
        )
        repair = Repair(timing, now + timing.repair_interval_s)
        self.repairer = Repairer(self.store, self.intake, self.peers, self.metrics, repair)
        self.transfers = Transfers(
            self.store,
            self.intake,
            self.peers,
            limits,
            timing,
            me.id,
            Joiner(timing, now),
            wall_offset_s,
        )
        self.stream = Stream(self.store, self.intake, self.peers, self.metrics)
        self.inbox = Inbox(self.stream, self.repairer, self.transfers)
        self._readers: dict[LinkId, FrameReader] = {}
        self._datagrams: list[bytes] = []
        # One list for all rooms, so that events stay in the order in which they happened.
        self._events = self.membership.events
        self.transfers.events = self.intake.events = self._events
        self._now = self._started_at = now
        self._heartbeat_at = self._sweep_at = now
        self._bucket = 0
        self._wake_at: float | None = None
        self._is_advance_due = True
        """Transfers and repair may have something to do; a commit alone gives them nothing."""
        if alone:
            self.transfers.joiner.done = True
            self._become_ready()

    @property
    def is_ready(self) -> bool:
        """Whether this member has its state, or was the first one, and may be given traffic."""
        return self.intake.is_ready

    def open(self, key: Key, now: float, secret_hash: bytes | None = None) -> Record | None:
        """
        Look a session up for a request, which counts as an access.

        Args:
            key: Where the record is kept.
            secret_hash: What the client's id must have; an id from before a rotation is refused.

        Returns:
            The record, which belongs to the store: read from it at once, and never keep it. None if
            the session is unknown, partial, ended, or over.
        """
        return self.requests.open(key, now, secret_hash)

    def commit(self, change: Change, now: float) -> Record | None:
        """
        Stamp a change, apply it here, and put it into every outbox.

        Returns:
            The record, under the same rule as with :meth:`open`; None if the session has ended or
            is gone, so that there is nothing to write to.
        """
        self._now = now
        return self.requests.commit(change, now)

    def listening(self, name: str, address: Address, now: float) -> None:
        """The receiver is bound, perhaps long after the first request: look for others from now."""
        self._now = self._started_at = self._heartbeat_at = now
        self.me = self.membership.me = replace(self.me, name=name, address=address)
        self.transfers.joiner.started_at = now

    def adopt(self, other: Node, now: float) -> None:
        """Take over the sessions of an earlier start in this process."""
        self._now = now
        self.store.forget(other.store.forgotten)
        for record in other.store.records():
            self.intake.take(whole(record, now), self.me.id, now, in_transfer=True)

    def report(self, context: str) -> None:
        """Tell changes of this context's sessions as events from now on."""
        self.intake.reported[context] = None

    def datagram_received(self, payload: bytes, source: str, now: float) -> None:
        """
        A heartbeat came whose signature was right.

        Args:
            payload: What was signed.
            source: Host that sent the datagram; a heartbeat that names another one is refused.
        """
        self._begin(now)
        try:
            heartbeat = encoding.decode_heartbeat(payload)
            if heartbeat.address.host != source:
                raise WireError("a heartbeat that names another host")
        except WireError:
            self.metrics.datagrams_refused += 1
        else:
            self.membership.heartbeat_received(heartbeat, now)

    def link_opened(
        self,
        link: LinkId,
        address: Address,
        certified: MemberId | None,
        dial: int | None,
        now: float,
    ) -> None:
        """A link is there; *dial* is the number of our order, None if the other end dialled."""
        self._begin(now)
        if self.membership.link_opened(link, address, certified, dial, now):
            self._readers[link] = FrameReader(self.limits.frame_bytes_max)
            hello = self.membership.hello(self.is_ready, now - self._started_at)
            self.peers.send_on(link, hello)

    def dial_failed(self, dial: int, reason: str, now: float) -> None:
        """An order to dial came to nothing; *reason* is for people."""
        self._begin(now)
        self.membership.dial_failed(dial, reason, now)
        self._follow()

    def link_closed(self, link: LinkId, reason: str, now: float) -> None:
        """A link is gone, whoever closed it."""
        self._begin(now)
        self._readers.pop(link, None)
        self.membership.link_closed(link, reason, now)
        self._follow()

    def bytes_received(self, link: LinkId, data: bytes, now: float) -> None:
        """Bytes came on a link. What is wrong with them closes the link and is told as an event."""
        self._begin(now, is_quiet=True)
        known = self.membership.links.get(link)
        reader = self._readers.get(link)
        if known is None or reader is None:
            return
        known.last_heard = now
        try:
            for kind, body in reader.feed(data):
                self._received(known, encoding.decode(kind, body), len(body), now)
                if link not in self.membership.links:
                    break
        except WireError as error:
            self.metrics.links_refused += 1
            self._events.append(e.LinkRefused(known.address, str(error)))
            self.membership.give_up(link, str(error), now)
        self._follow()

    def timer_fired(self, now: float) -> None:
        """Time passed; call it at ``wake_at`` or earlier, never much later."""
        self._now = now
        self._is_advance_due = True
        wanted_at, self._wake_at = self._wake_at, None
        if self.alone:
            self._sweep(now)
            return
        if now >= self._heartbeat_at:
            self._heartbeat_at = now + self.timing.heartbeat_interval_s
            heartbeat = m.Heartbeat(self.me.id, self.me.address)
            self._datagrams.append(encoding.encode_heartbeat(heartbeat))
        self.membership.timer_fired(now, wanted_at)
        for peer in list(self.peers):
            if peer.outbox.is_stuck(now, self.timing):
                self.membership.give_up(peer.link, "acknowledges nothing", now)
        for link in self.membership.links.values():
            if link.member is not None and needs_ping(now, link.last_sent, self.timing):
                # A sign of life, and who is ready says so again: it counts even if it was lost.
                self.peers.send_on(link.id, m.Status(True) if self.is_ready else m.Ping())
        self.requests.announce(now)
        self._sweep(now)
        self._follow()

    def stop(self, now: float) -> None:
        """Leave on purpose: what waits is sent as far as windows allow, then a goodbye."""
        self._now = now
        self.is_stopped = True
        self.peers.flush(now)
        # On each link: while both ends dial at once, the other may use one that is none of ours.
        for link in self.membership.links:
            self.peers.send_on(link, m.Goodbye())

    def ready(self) -> Ready:
        """Return what is to be done, once; the next call returns what came up since."""
        now = self._now
        if not self.is_stopped and not self.alone:
            if self._is_advance_due:
                self._is_advance_due = False
                self._advance(now)
            self.transfers.now = now
            self.peers.flush(now)
            self.transfers.finish_served(now)
        frames, self.peers.frames = self.peers.frames, []
        for link_id, frame in frames:
            link = self.membership.links.get(link_id)
            if link is not None:
                link.last_sent = now
            self.metrics.frames_sent += 1
            self.metrics.bytes_sent += len(frame)
        datagrams, self._datagrams = self._datagrams, []
        orders, self.membership.orders = self.membership.orders, []
        for order in orders:
            if isinstance(order, Close):
                self._readers.pop(order.link, None)
        self._wake_at = self._next_at(now)
        return Ready(datagrams, frames, orders, self._taken_events(), self._wake_at)

    def _begin(self, now: float, *, is_quiet: bool = False) -> None:
        # The timer may be late because we were stopped; what was sent meanwhile waits unread, and
        # any of it may come before the timer does.
        self._now = now
        if not is_quiet:
            self._is_advance_due = True
        if was_late(now, self._wake_at, self.timing):
            self.membership.stopped_ourselves(now)

    def _advance(self, now: float) -> None:
        view = self.membership.view
        up = {member.id: member for member in view if member.id in self.membership.link_of}
        if not self.is_ready:
            self.transfers.advance([member for member in up.values() if member.ready], up, now)
            if self.transfers.joiner.done:
                self._become_ready()
        if self.is_ready:
            names = {member.id: member.name for member in up.values() if member.ready}
            self.repairer.advance(names, now)
            self.stream.ask(now)

    def _become_ready(self) -> None:
        self.intake.become_ready(self._now)
        self._events.append(e.BecameReady())
        self.peers.send_to_all(m.Status(True))
        self.repairer.want_all()

    def _received(self, link: Link, message: m.Message, encoded: int, now: float) -> None:
        if isinstance(message, m.Hello):
            self.membership.hello_received(link.id, message, now)
            self._follow()
            return
        if link.member is None:
            raise WireError(f"{type(message).__name__} before HELLO")
        if isinstance(message, m.Goodbye):
            known = self.membership.view.get(link.member)
            if known is not None:
                self.repairer.said_goodbye(known.name)
            self.membership.goodbye_received(link.id, now)
            return
        peer = self.peers.get(link.member)
        if peer is None or peer.link != link.id:
            return
        if isinstance(message, m.Status):
            self.membership.view.set_ready(peer.id, message.ready)
            self._is_advance_due = True
        elif self.inbox.received(peer, message, encoded, now):
            self._is_advance_due = True

    def _follow(self) -> None:
        """Act on links that came or went: outboxes, donors, repair."""
        if not self.membership.changes:
            return
        self._is_advance_due = True
        changes, self.membership.changes = self.membership.changes, []
        for member, is_up in changes:
            if is_up:
                self.peers.link_up(member, self.membership.link_of[member])
                if self.is_ready:
                    self.peers.send(member, m.Status(True))
                    if self.me.id < member:
                        self.repairer.repair.want(member)
            else:
                self.peers.link_down(member)
                self.repairer.repair.lost(member)
                self.transfers.link_down(member, self._now)

    def _sweep(self, now: float) -> None:
        if now < self._sweep_at:
            return
        self._sweep_at = now + self.timing.sweep_interval_s
        for record in self.store.sweep(self._bucket, now, self.repairer.settled_at(now)):
            self.intake.fell_asleep(record)
        self._bucket = self.store.next_bucket(self._bucket)

    def _next_at(self, now: float) -> float:
        at = self._sweep_at
        if not self.alone:
            at = min(at, self._heartbeat_at, self.membership.next_at(now))
            if self.requests.announced:
                at = min(at, self.requests.announce_at)
            at = self.peers.acknowledge_at(at)
        return max(at, now)

    def _taken_events(self) -> list[Event]:
        for member, deltas in self.peers.overflowed:
            known = self.membership.view.get(member)
            if known is not None:
                self._events.append(e.OutboxOverflowed(known, deltas))
        self.peers.overflowed.clear()
        events = self._events.copy()
        self._events.clear()
        return events
