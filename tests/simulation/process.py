"""
A process: one run of one member.

It is to its node what the channel is in the product: it gives inputs with the time of its own
clock, carries out what the node says, and fires its timer. It can be paused and killed. The
checkers look at the node after every input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from replsession import messages as m
from replsession.concern import Asked
from replsession.events import Member
from replsession.identity import MEMBER_ID_BYTES, Address, Key, MemberId
from replsession.membership.membership import Dial
from replsession.node import Node
from replsession.replication.acks import Ticket
from replsession.replication.freshness import Lookup, covers
from replsession.replication.waits import Waiting
from replsession.session.change import Change
from replsession.session.expiry import limits_of
from replsession.session.principals import epochs_in
from replsession.session.record import Record
from replsession.session.stamp import Seen, Stamp
from tests.simulation import aging, checkers, principals
from tests.simulation.aging import Watch
from tests.simulation.links import Chunk, End, Input, news_in
from tests.simulation.oracle import Counted, Written, bases_of
from tests.simulation.witness import Witness

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

REPORTED = ("/", "/shop")
"""Contexts for whose sessions there are listeners."""
FRAMES_MAX = 60_000
"""Several times what any run needs: members that send more turn in a circle."""
EPOCH_S = 1_700_000_000.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request found, and how."""

    record: Record | None
    stale: bool = False
    is_certain: bool = True
    """What is not here is nowhere."""
    waited_s: float = 0.0
    was_joining: bool = False
    was_paused: bool = False


class Process:
    """
    One run of one member.

    Args:
        cluster: Where it runs.
        name: The member's name; a restart has the same one.
        address: Where it listens.
        skew_s: By how much its wall clock is wrong.
        drift: By which share its seconds are too short.
        rng: For its identity, its clock's zero, and the lateness of its timers.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        address: Address,
        skew_s: float,
        drift: float,
        rng: Random,
    ) -> None:
        self.name = name
        self.address = address
        self.is_alive = True
        self.is_paused = False
        self.started_at = cluster.scheduler.now
        self.undisturbed_since = cluster.scheduler.now
        """Since then it did not hang, nor throw its outbox away."""
        self.timers = 0
        """How often its timer fired."""
        self.dies_after: int | None = None
        """Frames that it still sends at its next occasion before it dies there."""
        self.stops = 0
        """How often it was stopped."""
        self._waiting: dict[Waiting, Callable[[], None]] = {}
        self.cluster = cluster
        self._pace = 1.0 + drift
        self._rng = rng
        self._offset_s = rng.uniform(0.0, 100_000.0)
        # Whether a channel says that a link is gone which the node itself closed is its own choice.
        self._hears_own_closes = rng.random() < 0.5
        self._backlog: list[Input] = []
        self._touched: dict[Key, None] = {}
        self._timer_at = -1.0
        self._timer_missed = False
        wall_s = EPOCH_S + cluster.scheduler.now + skew_s
        me = Member(rng.randbytes(MEMBER_ID_BYTES), name, int(wall_s * 1000), address)
        self.node = Node(
            cluster.config,
            me,
            Random(rng.getrandbits(64)),
            self.now,
            wall_s - self.now,
        )
        others = [process.node for process in cluster.live()]
        oracle, find = cluster.oracle, cluster.node_of
        self.witness = Witness(oracle, self.node, name, find, others)
        self.writers: dict[MemberId, None] = {me.id: None}
        """All names that it ever had in stamps."""
        self._watch = Watch()
        self._ended: list[tuple[Key, Stamp]] = []
        aging.hear_of_sleep(cluster, self, self._watch)
        principals.hear_of_ends(self.node, self._has_ended)
        for context in rng.choice(((), REPORTED)):
            self.node.report(context)

    @property
    def now(self) -> float:
        """Its own monotonic time."""
        elapsed_s = self.cluster.scheduler.now - self.started_at
        return self._offset_s + elapsed_s * self._pace

    def post(self, call: Input) -> None:
        """Give an input to the node, now or when the process goes on."""
        if not self.is_alive:
            return
        if self.is_paused:
            self._backlog.append(call)
        else:
            self._run(call)

    def received(self, end: End, chunk: Chunk) -> None:
        """Give bytes to the node."""
        self.post(lambda node, now: self._receive(end, chunk, now))

    def commit(self, change: Change, read: int = 0) -> Record | None:
        """
        Commit for a request, and tell the oracle.

        Args:
            change: What the request did.
            read: The greatest clock value in what it had read.
        """
        assert self.is_alive and not self.is_paused
        story = self.cluster.oracle.stories.get(change.key)
        epochs = bases_of(story, self.node.store.peek(change.key), change.increments)
        record = self.node.commit(change, self.now)
        if record is not None:
            self._note(change, record, read, epochs)
            self.cluster.ages.touched(self.node.me.id, record, self.cluster.now)
        self._touched[change.key] = None
        return record

    def open(self, key: Key) -> Record | None:
        """Look a session up for a request."""
        assert self.is_alive and not self.is_paused
        record = self.node.open(key, self.now, is_final=True)
        assert not isinstance(record, Lookup)
        if record is not None:
            checkers.resurrect(self.cluster.oracle, self.name, self.node, record)
            aging.prolonged(self.cluster, self, key)
            self.cluster.ages.touched(self.node.me.id, record, self.cluster.now)
        elif self.node.is_ready:
            held = self.node.store.peek(key)
            if held is not None and held.complete and held.destroyed is None:
                aging.early(self.cluster, self, key)
        return record

    def end_all(self, place: Key, name: str) -> None:
        """End all sessions of a principal, and tell the oracle."""
        self.node.requests.end_all(place.context[1:], name, self.now)
        epoch = epochs_in(self.node.store.peek(place)).get(self.node.writer, 0)
        self.cluster.oracle.ended_all(place, Stamp(epoch, self.node.writer))

    def ask(self, key: Key, seen: Seen, then: Callable[[Answer], None]) -> None:
        """Look a session up for a client's request, and call *then* when its wait is over."""
        assert self.is_alive and not self.is_paused
        was_joining = not self.node.is_ready
        found = self.node.open(key, self.now, None, seen)
        if isinstance(found, Lookup):
            began_at, stops = self.cluster.now, self.stops

            def at_last() -> None:
                record = self.node.open(key, self.now, None, seen, is_final=True)
                assert not isinstance(record, Lookup)
                is_stale = record is not None and not covers(record, seen.version, self.node.writer)
                waited_s = self.cluster.now - began_at
                is_certain = found.is_fresh or found.is_certain
                was_paused = self.stops != stops
                then(Answer(record, is_stale, is_certain, waited_s, was_joining, was_paused))

            if found.is_done:
                at_last()
            else:
                self._waiting[found] = at_last
        else:
            if found is not None:
                checkers.resurrect(self.cluster.oracle, self.name, self.node, found)
            then(Answer(found, was_joining=was_joining))

    def wait_for(self, asked: Asked, key: Key, then: Callable[[Ticket], None]) -> None:
        """Wait for acknowledgements of what was just committed, and call *then*."""
        ticket = self.node.acknowledgement(asked, (key,), self.now)
        if ticket.is_done:
            then(ticket)
        else:
            self._waiting[ticket] = lambda: then(ticket)

    def _go_on(self, waiting: Waiting) -> None:
        call = self._waiting.pop(waiting, None)
        if call is not None:
            self.cluster.scheduler.after(0.0, lambda: self.post(lambda node, now: call()))

    def carry(self) -> None:
        """Carry out what the node says."""
        cluster = self.cluster
        ready = self.node.ready()
        for waiting in ready.done:
            self._go_on(waiting)
        for event in ready.events:
            cluster.told(self, event)
            self.witness.told(event)
        frames = ready.frames
        dies = self.dies_after is not None and len(frames) > self.dies_after
        if dies:
            frames = frames[: self.dies_after]
        for payload in ready.datagrams if cluster.is_multicast else ():
            cluster.network.multicast(self, payload)
        cluster.network.send(self, frames)
        if cluster.network.frames_sent > FRAMES_MAX:
            raise checkers.Failure("BOUNDS", f"more than {FRAMES_MAX} frames")
        if dies:
            cluster.crash(self.name)
            return
        for order in ready.links:
            if isinstance(order, Dial):
                cluster.network.dial(self, order)
            else:
                cluster.network.close(order.link, order.reason)
                if self._hears_own_closes:
                    self._closed(order.link, order.reason)
        self._arm(ready.wake_at)
        self._check()

    def pause(self) -> None:
        """Stop: nothing is read, no timer fires."""
        self.is_paused = True
        self.stops += 1

    def resume(self) -> None:
        """Go on: everything that came meanwhile is there at once, the timer perhaps first."""
        self.is_paused = False
        self.undisturbed_since = self.cluster.now
        if self._timer_missed and self._rng.random() < 0.5:
            self._fire_missed()
        backlog, self._backlog = self._backlog, []
        if self._rng.random() < 0.5:
            self._run_together(backlog)
        else:
            for call in backlog:
                self.post(call)
        if self._timer_missed:
            self._fire_missed()

    def _run(self, call: Input) -> None:
        call(self.node, self.now)
        if self.is_alive:
            self.carry()

    def _run_together(self, calls: list[Input]) -> None:
        if self.is_alive and calls:
            for call in calls:
                call(self.node, self.now)
            self.carry()

    def _closed(self, link: int, reason: str) -> None:
        def tell(node: Node, now: float) -> None:
            node.link_closed(link, reason, now)

        self.cluster.scheduler.after(0.0, lambda: self.post(tell))

    def _receive(self, end: End, chunk: Chunk, now: float) -> None:
        node = self.node
        peer = next((peer for peer in node.peers if peer.link == end.id), None)
        before = list(peer.outbox.in_flight) if peer is not None else []
        for message in chunk.messages:
            for news in news_in(message):
                self.cluster.ages.came(news, self.cluster.now)
        node.bytes_received(end.id, chunk.data, now)
        for message in chunk.messages:
            for news in news_in(message):
                self._touched[news.key] = None
            if isinstance(message, m.RecordDigests):
                checkers.few_digests(end.other.host.name, message, node.limits)
        if peer is not None and node.peers.get(peer.id) is peer:
            for batch in before:
                if batch not in peer.outbox.in_flight:
                    self._acknowledged(end, batch)

    def _acknowledged(self, end: End, batch: int) -> None:
        applier = end.other.host.node
        retention_s = self.cluster.config.timing.tombstone_retention_s
        deltas = end.batches.pop(batch)
        checkers.acknowledged(self.cluster.oracle, self.name, applier, deltas, retention_s)

    def _note(
        self, change: Change, record: Record, read: int, epochs: dict[str, tuple[int, MemberId]]
    ) -> None:
        oracle = self.cluster.oracle
        if change.destroy:
            assert record.destroyed is not None
            oracle.ended(change.key, record.destroyed)
            stamp = record.destroyed
        else:
            stamp = Stamp(record.version[self.node.writer], self.node.writer)
            # What the member keeps for itself it has made of the change.
            attributes = record.attributes.items()
            own = {n: w.value for n, w in attributes if n.startswith("\0") and w[:2] == stamp}
            values = {**change.writes, **own}
            if change.birth:
                oracle.born(change.key, stamp, values)
                self.cluster.ages.born(change.key, limits_of(record), self.cluster.now)
            else:
                oracle.wrote(change.key, stamp, values, read)
            login = principals.login_in(self.node, change)
            if login is not None:
                principals.note(oracle, change.key, stamp, login)
            counts = change.increments.items()
            oracle.counted(change.key, [Counted(stamp, n, m, epochs[n]) for n, m in counts])
            oracle.flashed(change.key, stamp.member, change)
        checkers.causal(self.name, change.key, Written(stamp, {}, read))

    def _check(self) -> None:
        oracle, node = self.cluster.oracle, self.node
        for key, stamp in self._ended:
            is_bounded = key.context in node.principals.sessions_max
            principals.justified(oracle, self.name, key, stamp, is_bounded=is_bounded)
        self._ended.clear()
        checkers.bounds(self.name, node)
        self.witness.look()
        self._watch.look(self.cluster, self, list(self._touched))
        self.writers[node.writer] = None
        for key in self._touched:
            record = node.store.peek(key)
            if record is None or key.is_internal:
                continue
            oracle.saw(node.me.id, record)
            checkers.real(oracle, self.name, record)
            checkers.honest(oracle, self.name, record)
            checkers.partial(oracle, self.name, record)
            checkers.resurrect(oracle, self.name, node, record)
        self._touched.clear()

    def _has_ended(self, key: Key, stamp: Stamp) -> None:
        self._touched[key] = None
        self._ended.append((key, stamp))

    def _arm(self, wake_at: float) -> None:
        if wake_at != self._timer_at:
            self._timer_at = wake_at
            late_s = self._rng.uniform(0.0001, 0.002)
            delay_s = max(0.0, wake_at - self.now) / self._pace + late_s
            self.cluster.scheduler.after(delay_s, lambda: self._timer(wake_at))

    def _timer(self, wanted_at: float) -> None:
        if not self.is_alive or wanted_at != self._timer_at:
            return
        if self.is_paused:
            self._timer_missed = True
        else:
            self._timer_at = -1.0
            self.timers += 1
            self._run(lambda node, now: node.timer_fired(now))

    def _fire_missed(self) -> None:
        self._timer_missed = False
        self._timer_at = -1.0
        self.post(lambda node, now: node.timer_fired(now))
