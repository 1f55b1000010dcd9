"""
A process: one run of one member.

It is to its node what the channel is in the product: it gives inputs with the time of its own
clock, carries out what the node says, and fires its timer. It can be paused and killed. The
checkers look at the node after every input.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from replsession import messages as m
from replsession.events import Member
from replsession.identity import MEMBER_ID_BYTES, Address, Key
from replsession.membership.membership import Dial
from replsession.node import Node
from replsession.session.change import Change
from replsession.session.record import Record
from replsession.session.stamp import Stamp
from tests.simulation import checkers
from tests.simulation.links import Chunk, End, Input
from tests.simulation.oracle import Written

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

REPORTED = ("/", "/shop")
"""Contexts for whose sessions there are listeners."""
FRAMES_MAX = 60_000
"""Several times what any run needs: members that send more turn in a circle."""
EPOCH_S = 1_700_000_000.0


class Process:
    """
    One run of one member.

    Args:
        cluster: Where it runs.
        name: The member's name; a restart has the same one.
        address: Where it listens.
        skew_s: By how much its wall clock is wrong.
        rng: For its identity, its clock's zero, and the lateness of its timers.
    """

    def __init__(
        self, cluster: Cluster, name: str, address: Address, skew_s: float, rng: Random
    ) -> None:
        self.name = name
        self.address = address
        self.is_alive = True
        self.is_paused = False
        self.started_at = cluster.scheduler.now
        self.timers = 0
        """How often its timer fired."""
        self.dies_after: int | None = None
        """Frames that it still sends at its next occasion before it dies there."""
        self._cluster = cluster
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
        for context in rng.choice(((), REPORTED)):
            self.node.report(context)

    @property
    def now(self) -> float:
        """Its own monotonic time."""
        return self._cluster.scheduler.now + self._offset_s

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
        record = self.node.commit(change, self.now)
        if record is not None:
            self._note(change, record, read)
        self._touched[change.key] = None
        return record

    def open(self, key: Key) -> Record | None:
        """Look a session up for a request."""
        assert self.is_alive and not self.is_paused
        record = self.node.open(key, self.now)
        if record is not None:
            checkers.resurrect(self._cluster.oracle, self.name, self.node, record)
        return record

    def carry(self) -> None:
        """Carry out what the node says."""
        cluster = self._cluster
        ready = self.node.ready()
        for event in ready.events:
            cluster.told(self, event)
        frames = ready.frames
        dies = self.dies_after is not None and len(frames) > self.dies_after
        if dies:
            frames = frames[: self.dies_after]
        for payload in ready.datagrams:
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

    def resume(self) -> None:
        """Go on: everything that came meanwhile is there at once, the timer perhaps first."""
        self.is_paused = False
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

        self._cluster.scheduler.after(0.0, lambda: self.post(tell))

    def _receive(self, end: End, chunk: Chunk, now: float) -> None:
        node = self.node
        peer = next((peer for peer in node.peers if peer.link == end.id), None)
        before = list(peer.outbox.in_flight) if peer is not None else []
        node.bytes_received(end.id, chunk.data, now)
        for message in chunk.messages:
            if isinstance(message, m.Deltas):
                self._touched.update((delta.key, None) for delta in message.deltas)
            elif isinstance(message, m.StateChunk):
                self._touched.update((delta.key, None) for delta in message.records)
        if peer is not None and node.peers.get(peer.id) is peer:
            for batch in before:
                if batch not in peer.outbox.in_flight:
                    self._acknowledged(end, batch)

    def _acknowledged(self, end: End, batch: int) -> None:
        applier = end.other.host.node
        retention_s = self._cluster.config.timing.tombstone_retention_s
        deltas = end.batches.pop(batch)
        checkers.acknowledged(self._cluster.oracle, self.name, applier, deltas, retention_s)

    def _note(self, change: Change, record: Record, read: int) -> None:
        oracle = self._cluster.oracle
        if change.destroy:
            assert record.destroyed is not None
            oracle.ended(change.key, record.destroyed)
            stamp = record.destroyed
        else:
            stamp = Stamp(record.version[self.node.me.id], self.node.me.id)
            if change.birth:
                oracle.born(change.key, stamp, dict(change.writes))
            else:
                oracle.wrote(change.key, stamp, dict(change.writes), read)
        checkers.causal(self.name, change.key, Written(stamp, {}, read))

    def _check(self) -> None:
        oracle, node = self._cluster.oracle, self.node
        checkers.bounds(self.name, node)
        for key in self._touched:
            record = node.store.peek(key)
            if record is None:
                continue
            oracle.saw(node.me.id, record)
            checkers.real(oracle, self.name, record)
            checkers.honest(oracle, self.name, record)
            checkers.partial(oracle, self.name, record)
            checkers.resurrect(oracle, self.name, node, record)
        self._touched.clear()

    def _arm(self, wake_at: float) -> None:
        if wake_at != self._timer_at:
            self._timer_at = wake_at
            late_s = self._rng.uniform(0.0001, 0.002)
            delay_s = max(0.0, wake_at - self.now) + late_s
            self._cluster.scheduler.after(delay_s, lambda: self._timer(wake_at))

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
