"""
One member as a state machine: no socket, no clock, no thread, no randomness of its own.

Contract with whoever drives it: every input carries ``now``, seconds of one monotonic clock;
after any input, or after several of one turn, call :meth:`Node.ready` and carry it out.

::

    inputs     listening  datagram_received  addresses_found  link_opened  dial_failed  link_closed
               bytes_received  timer_fired  open  commit  stop
    output     Ready(datagrams, frames, links, events, wake_at)

The node only composes: who is there is ``membership/``, how writes travel is ``replication/``,
what a session is is ``session/``, how it is written down is ``wire/``.
Models: etcd/raft ``rawnode.go``; aioquic ``connection.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random

from replsession import events as e
from replsession import messages as m
from replsession.concern import Asked
from replsession.config import NodeConfig
from replsession.errors import WireError
from replsession.events import Event, Member
from replsession.identity import Address, Key, MemberId
from replsession.membership.membership import Close, Membership
from replsession.membership.mesh import Link, LinkId
from replsession.metrics import Metrics
from replsession.ready import Ready
from replsession.replication.acks import Ticket
from replsession.replication.freshness import Lookup
from replsession.replication.replication import Replication
from replsession.session.change import Change
from replsession.session.record import Record
from replsession.session.stamp import NOTHING_SEEN, Seen
from replsession.wire import encoding
from replsession.wire.framing import FrameReader


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
        self.timing = config.timing
        self.limits = config.limits
        self.me = me
        self.wall_offset_s = wall_offset_s
        self.alone = alone
        self.is_stopped = False
        self.metrics = Metrics()
        self.membership = Membership(config, me, rng, self.metrics)
        # One list for all rooms, so that events stay in the order in which they happened.
        self._events = self.membership.events
        rooms = Replication(
            config,
            me.id,
            encoding,
            self._events,
            self.metrics,
            self.membership.linked_with,
            rng,
            now,
            wall_offset_s,
        )
        self.replication = rooms
        self.store, self.clock = rooms.store, rooms.clock
        self.peers, self.intake, self.requests = rooms.peers, rooms.intake, rooms.requests
        self.repairer, self.transfers = rooms.repairer, rooms.transfers
        self.stream, self.inbox, self.waits = rooms.stream, rooms.inbox, rooms.waits
        self.reaper, self.principals = rooms.reaper, rooms.principals
        self.waits.freshness.is_whole = self._is_whole
        self._readers: dict[LinkId, FrameReader] = {}
        self._datagrams: list[bytes] = []
        self._now = self.started_at = now
        self.membership.pulse.heartbeat_at = now
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

    @property
    def writer(self) -> MemberId:
        """The id in stamps made here: that of this member, until it had to take another one."""
        return self.requests.me

    def open(
        self,
        key: Key,
        now: float,
        secret_hash: bytes | None = None,
        seen: Seen = NOTHING_SEEN,
        *,
        is_final: bool = False,
    ) -> Record | Lookup | None:
        """
        Look a session up for a request, which counts as an access.

        Args:
            key: Where the record is kept.
            now: Seconds of the monotonic clock.
            secret_hash: What the client's id must have; an id from before a rotation is refused.
            seen: What the client has seen of the session.
            is_final: Wait for nobody: take what is here.

        Returns:
            The record, which belongs to the store: read from it at once, and never keep it. None if
            the session is unknown, partial, ended, or over. A lookup if it is worth waiting for
            others: when it is done, call this again with *is_final*.
        """
        self._now = now
        return self.requests.open(key, now, secret_hash, seen, is_final=is_final)

    def commit(self, change: Change, now: float) -> Record | None:
        """
        Stamp a change, apply it here, and put it into every outbox.

        Returns:
            The record, under the same rule as with :meth:`open`; None if the session has ended or
            is gone, so that there is nothing to write to.
        """
        self._now = now
        if self.reaper.given_up:
            self.reaper.before_commit(change.key)
        return self.requests.commit(change, now)

    def acknowledgement(
        self, asked: Asked, keys: Iterable[Key], now: float, *, again: bool = False
    ) -> Ticket:
        """
        Wait until enough members hold what was committed, just before and without a ``ready()``.

        Args:
            asked: Write concern and time-out.
            keys: Of the sessions that were committed.
            now: Seconds of the monotonic clock.
            again: It was committed earlier, so it is sent once more.

        Returns:
            The ticket. If it is not done, it comes with :class:`Ready` when it is.
        """
        self._now = now
        view = self.membership.view
        known = len(view.known_names(now))
        return self.replication.acknowledgement(asked, keys, view, known, now, again=again)

    def listening(self, name: str, address: Address, now: float) -> None:
        """The receiver is bound, perhaps long after the first request: look for others from now."""
        self._now = self.started_at = self.membership.pulse.heartbeat_at = now
        self.me = self.membership.me = replace(self.me, name=name, address=address)
        self.transfers.joiner.started_at = now

    def adopt(self, other: Node, now: float) -> None:
        """Take over the sessions of an earlier start in this process."""
        self._now = now
        self.replication.adopt(other.replication, now)

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
        except WireError as error:
            self.metrics.datagrams_refused += 1
            self._events.append(e.HeartbeatRefused(source, str(error)))
        else:
            self.membership.heartbeat_received(heartbeat, now)

    def addresses_found(self, addresses: Iterable[Address], now: float) -> None:
        """Members may be at these addresses, and no more at those that were found before."""
        self._begin(now)
        self.membership.addresses_found(addresses, now)

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
            hello = self.membership.hello(self.is_ready, now - self.started_at)
            self.peers.send_on(link, hello)

    def dial_failed(self, dial: int, reason: str, now: float, *, refused: bool = False) -> None:
        """An order to dial came to nothing, *refused*: by a host on which nobody listens there."""
        self._begin(now)
        self.membership.dial_failed(dial, reason, now, refused=refused)
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
        self.membership.heard(known, now)
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
            self.reaper.timer_fired(now)
            return
        self.membership.timer_fired(now, wanted_at)
        for peer in list(self.peers):
            if peer.outbox.is_stuck(now, self.timing):
                self.membership.doubt(peer.link, e.SEND_FAILING, now)
        self.requests.announce(now)
        self.reaper.timer_fired(now)
        self._follow()

    def stop(self, now: float) -> None:
        """Leave on purpose: what waits is sent as far as windows allow, then a goodbye."""
        self._now = now
        self.is_stopped = True
        self.membership.stop()
        self.peers.flush(now)
        # On each link: while both ends dial at once, the other may use one that is none of ours.
        for link in self.membership.links:
            self.peers.send_on(link, m.Goodbye())

    def ready(self) -> Ready:
        """Return what is to be done, once; the next call returns what came up since."""
        now = self._now
        self.membership.notice_late(now, self._wake_at)
        for link_id, message in self.membership.messages:
            self.peers.send_on(link_id, message)
        self.membership.messages.clear()
        if not self.is_stopped and not self.alone:
            if self._is_advance_due:
                self._is_advance_due = False
                self._advance(now)
            self.replication.flush(self.membership.view.reachable, now)
        frames, self.peers.frames = self.peers.frames, []
        for link_id, frame in frames:
            link = self.membership.links.get(link_id)
            if link is not None:
                link.last_sent = now
            self.metrics.frames_sent += 1
            self.metrics.bytes_sent += len(frame)
        datagrams = [encoding.encode_heartbeat(beat) for beat in self.membership.pulse.heartbeats]
        self.membership.pulse.heartbeats.clear()
        orders, self.membership.orders = self.membership.orders, []
        for order in orders:
            if isinstance(order, Close):
                self._readers.pop(order.link, None)
        self._wake_at = self._next_at(now)
        done = self.waits.taken() if not self.waits.is_idle else []
        return Ready(datagrams, frames, orders, self.taken_events(), done, self._wake_at)

    def _begin(self, now: float, *, is_quiet: bool = False) -> None:
        # The timer may be late because we were stopped; what was sent meanwhile waits unread, and
        # any of it may come before the timer does.
        self._now = now
        if not is_quiet:
            self._is_advance_due = True
        self.membership.notice_late(now, self._wake_at)

    def _is_whole(self) -> bool:
        linked = {peer.name: None for peer in self.peers}
        return all(name in linked for name in self.membership.view.known_names(self._now))

    def _advance(self, now: float) -> None:
        view = self.membership.view
        up = {member.id: member for member in view if member.id in self.membership.link_of}
        if not self.is_ready:
            others_ready = sum(other.ready for other in view.reachable() if other.id not in up)
            if self.replication.join(up, others_ready, now):
                self._become_ready()
        if self.is_ready:
            self.replication.advance(up, now)

    def _become_ready(self) -> None:
        self.replication.become_ready(self._now)
        self._events.append(e.BecameReady())
        self.membership.pulse.sign = m.Status(True)
        self.peers.send_to_all(m.Status(True))

    def _received(self, link: Link, message: m.Message, encoded: int, now: float) -> None:
        if isinstance(message, m.Hello):
            self.membership.hello_received(link.id, message, now)
            self._follow()
            return
        if link.member is None:
            raise WireError(f"{type(message).__name__} before HELLO")
        was_ready = self.membership.view.is_ready(link.member)
        if self.membership.received(link, message, now):
            self._is_advance_due = True
            if not was_ready and self.membership.view.is_ready(link.member):
                self.replication.member_ready(link.member, now)
            return
        peer = self.peers.get(link.member)
        if peer is not None and peer.link == link.id:
            self._is_advance_due |= self.inbox.received(peer, message, encoded, now)

    def _follow(self) -> None:
        """Act on links that came or went: outboxes, donors, repair."""
        if not self.membership.changes:
            return
        self._is_advance_due = True
        left, self.membership.left = self.membership.left, []
        for name in left:
            self.replication.said_goodbye(name)
        changes, self.membership.changes = self.membership.changes, []
        for member, is_up in changes:
            if is_up:
                known = self.membership.view.get(member)
                assert known is not None
                self.replication.link_up(known, self.membership.link_of[member], self._now)
                if self.is_ready:
                    self.peers.send(member, m.Status(True))
            else:
                is_up = member in self.membership.link_of
                self.replication.link_down(member, self._now, is_up=is_up)

    def _next_at(self, now: float) -> float:
        at = self.replication.next_at(alone=self.alone)
        if not self.alone:
            at = min(at, self.membership.next_at(now))
        return max(at, now)

    def taken_events(self) -> list[Event]:
        """Return what happened, once; :meth:`ready` has it, too."""
        for member, deltas in self.peers.overflowed:
            known = self.membership.view.get(member)
            if known is not None:
                self._events.append(e.OutboxOverflowed(known, deltas))
        self.peers.overflowed.clear()
        events = self._events.copy()
        self._events.clear()
        return events
