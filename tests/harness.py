"""
Several nodes in one thread, wired in memory: what the tests of the node drive it with.

Time is virtual and stands still until a test says otherwise. Whatever a node wants done is carried
out after each input, in the order in which it was asked for; nothing is lost unless a test says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeVar

from replsession.concern import Asked
from replsession.config import Limits, NodeConfig, Timing
from replsession.events import Event, Member
from replsession.identity import Address, Key, MemberId
from replsession.membership.membership import Close, Dial
from replsession.messages import Acknowledge, Deltas, Heartbeat, Hello, Message, Ping
from replsession.node import Node
from replsession.replication.acks import Ticket
from replsession.replication.freshness import Lookup
from replsession.replication.waits import Waiting
from replsession.session.change import Change
from replsession.session.delta import Delta
from replsession.session.record import Record
from replsession.session.stamp import NOTHING_SEEN, Seen
from replsession.wire.encoding import decode, encode
from replsession.wire.framing import FrameReader

HOST = "127.0.0.1"
FIRST_PORT = 4000
WALL_OFFSET_S = 1.7e9
AT_ONCE_MAX = 10_000
TIMERS_AT_ONCE_MAX = 10
"""What may happen without time passing, before it is called an endless loop."""

Kind = TypeVar("Kind")


def some_id(number: int) -> MemberId:
    """Return a member's id; ids are ordered as their numbers."""
    return bytes([number]) * 8


def some_member(number: int, name: str | None = None, *, ready: bool = False) -> Member:
    """Return a member with its own name and address."""
    address = Address(HOST, FIRST_PORT + number)
    return Member(some_id(number), name or f"m{number}", number, address, ready)


def heartbeat_of(number: int) -> Heartbeat:
    """Return the heartbeat of a member."""
    member = some_member(number)
    return Heartbeat(member.id, member.address)


def some_key(number: int = 1, context: str = "/shop") -> Key:
    """Return the key of a session; each number has a bucket of its own."""
    return Key(context, bytes([number]) * 12)


def decoded(frames: bytes) -> list[Message]:
    """Return the messages in whole frames."""
    reader = FrameReader(Limits().frame_bytes_max)
    return [decode(kind, body) for kind, body in reader.feed(frames)]


def of_kind(kind: type[Kind], items: Sequence[object]) -> list[Kind]:
    """Return those of one type, in their order."""
    return [item for item in items if isinstance(item, kind)]


@dataclass
class Hand:
    """The other end of one link of a node, played by the test: it sends whatever the test wants."""

    network: Network
    target: str
    link: int
    member: Member
    received: list[Message] = field(default_factory=list)
    batches: int = 0
    is_hung: bool = False
    """Its system takes connections, but nobody answers on them."""
    closed: str | None = None
    """Why the node closed the link, or None while it is open."""

    def send(self, *messages: Message) -> None:
        """Send messages, all in one piece of bytes."""
        self.send_bytes(b"".join(map(encode, messages)))

    def send_bytes(self, data: bytes) -> None:
        """Send any bytes."""
        self.network.input(self.target, lambda node, now: node.bytes_received(self.link, data, now))

    def send_deltas(self, *deltas: Delta) -> None:
        """Send deltas and whole records in one batch."""
        self.batches += 1
        self.send(Deltas(self.batches, deltas))

    def hello(self, *, ready: bool = True) -> None:
        """Send the HELLO of this end's member."""
        member = self.member
        self.send(
            Hello(member.id, member.name, member.incarnation, member.address, ready, alive_ms=7)
        )

    def close(self, reason: str = "closed by the other end") -> None:
        """Close the link from this end."""
        self.network.input(self.target, lambda node, now: node.link_closed(self.link, reason, now))

    def live(self, seconds: float) -> None:
        """Let time pass, and give a sign of life twice a second."""
        steps = max(1, round(seconds * 2))
        for _ in range(steps):
            self.network.run(seconds / steps)
            self.send(Ping())

    def acknowledge(self) -> None:
        """Acknowledge every batch that came."""
        for batch in self.got(Deltas):
            self.send(Acknowledge(batch.batch))

    def deltas(self) -> list[Delta]:
        """Return everything that came in batches."""
        return [delta for batch in self.got(Deltas) for delta in batch.deltas]

    def forget(self) -> None:
        """Begin a new list of what came."""
        self.received.clear()

    def got(self, kind: type[Kind]) -> list[Kind]:
        """Return the messages of one kind that the node sent here."""
        return of_kind(kind, self.received)


@dataclass
class _End:
    """One end of a link between two nodes."""

    owner: str
    other: int


class Network:
    """
    Nodes by name, and the links between them.

    ``events`` and ``sent`` hold everything that a node told and every message it sent on a link,
    ``done`` the requests that it let go on.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.nodes: dict[str, Node] = {}
        self.events: dict[str, list[Event]] = {}
        self.sent: dict[str, list[Message]] = {}
        self.done: dict[str, list[Waiting]] = {}
        self.let_go: Callable[[str, list[Waiting]], None] = lambda name, done: None
        """Called with those who need not wait any more, as a channel is."""
        self.datagrams = 0
        """Heartbeats that left, however many members there were to hear them."""
        self.has_multicast = True
        """Whether heartbeats are heard."""
        self.dials_refused: list[Address] = []
        self._addresses: dict[Address, str] = {}
        self._ends: dict[int, _End] = {}
        self._hands: dict[int, Hand] = {}
        self._queue: deque[Callable[[], None]] = deque()
        self._held: dict[str, list[Callable[[], None]]] = {}
        self._held_kinds: dict[str, tuple[type[object], ...]] = {}
        self._parted: list[tuple[str, str]] = []
        self._wake_at: dict[str, float] = {}
        self._links = 0

    def add(
        self,
        number: int,
        *,
        limits: Limits | None = None,
        timing: Timing | None = None,
        alone: bool = False,
        name: str | None = None,
        port: int | None = None,
        wall_ahead_s: float = 0.0,
    ) -> Node:
        """Start a member; its name is ``m`` and the number unless given."""
        member = some_member(number, name)
        if port is not None:
            member = replace(member, address=Address(HOST, port))
        config = NodeConfig(limits or Limits(), timing or Timing())
        offset_s = WALL_OFFSET_S - self.now + wall_ahead_s
        node = Node(config, member, Random(number), self.now, offset_s, alone=alone)
        self.nodes[member.name] = node
        self.events[member.name] = []
        self.sent[member.name] = []
        self.done[member.name] = []
        self._addresses[member.address] = member.name
        self.input(member.name, lambda node, now: node.timer_fired(now))
        return node

    def input(self, name: str, call: Callable[[Node, float], object]) -> None:
        """Give an input to a node, and carry out everything that follows from it."""
        call(self.nodes[name], self.now)
        self._carry_out(name)
        self.settle()

    def commit(
        self, name: str, key: Key, writes: Mapping[str, bytes | None], *, birth: bool = False
    ) -> None:
        """Commit writes on a member."""
        self.input(name, lambda node, now: node.commit(Change(key, dict(writes), birth), now))

    def destroy(self, name: str, key: Key) -> None:
        """End a session on a member."""
        self.input(name, lambda node, now: node.commit(Change(key, {}, destroy=True), now))

    def commit_asking(
        self,
        name: str,
        asked: Asked,
        key: Key,
        writes: Mapping[str, bytes | None],
        *,
        birth: bool = False,
    ) -> Ticket:
        """Commit writes on a member with a write concern; return what waits for it."""
        tickets: list[Ticket] = []

        def request(node: Node, now: float) -> None:
            node.commit(Change(key, dict(writes), birth), now)
            tickets.append(node.acknowledgement(asked, (key,), now))

        self.input(name, request)
        return tickets[0]

    def look_up(
        self,
        name: str,
        key: Key,
        seen: Seen = NOTHING_SEEN,
        *,
        secret_hash: bytes | None = None,
        is_final: bool = False,
    ) -> Record | Lookup | None:
        """Begin a request on a member; a lookup that it returns may be done already."""
        found: list[Record | Lookup | None] = []

        def request(node: Node, now: float) -> None:
            found.append(node.open(key, now, secret_hash, seen, is_final=is_final))

        self.input(name, request)
        self.run(0.0)
        return found[0]

    def values(self, name: str, key: Key) -> dict[str, bytes] | None:
        """Return what a request on this member would find, without making it one."""
        record = self.nodes[name].store.peek(key)
        if record is None or record.destroyed is not None or not record.complete:
            return None
        return record.values()

    def run(self, seconds: float) -> None:
        """Let time pass; every timer fires when it is due."""
        end = self.now + seconds
        again = 0
        while (due_at := min(self._wake_at.values(), default=end)) <= end:
            again = again + 1 if due_at <= self.now else 0
            assert again <= TIMERS_AT_ONCE_MAX, "a timer is wanted without end"
            self.now = max(self.now, due_at)
            for name in [name for name, at in self._wake_at.items() if at <= self.now]:
                self.input(name, lambda node, now: node.timer_fired(now))
        self.now = end

    def hold(self, name: str, *kinds: type[object]) -> None:
        """Keep back what this member sends on links from now on: all, or these kinds only."""
        self._held[name] = []
        self._held_kinds[name] = kinds or (object,)

    def release(self, name: str) -> None:
        """Deliver what was kept back, in its order."""
        self._queue.extend(self._held.pop(name))
        self.settle()

    def drop_held(self, name: str) -> None:
        """Lose what was kept back, and keep nothing back any more."""
        del self._held[name]

    def part(self, one: str, other: str) -> None:
        """Lose everything between two members, and their dials too, until they :meth:`meet`."""
        self._parted.append((one, other))

    def meet(self, one: str, other: str) -> None:
        """Undo :meth:`part`."""
        self._parted.remove((one, other))

    def stop(self, name: str) -> None:
        """Stop a member as its channel does: after the last frames its address refuses dials."""
        self.nodes[name].stop(self.now)
        self._carry_out(name)
        self._vanish(name)
        self.settle()
        self._break_links(name)

    def kill(self, name: str) -> None:
        """Stop a member without a word: its links are reset, its address refuses dials."""
        self._vanish(name)
        self._break_links(name)

    def by_hand(
        self,
        target: str,
        number: int = 9,
        *,
        certified: MemberId | None = None,
        name: str | None = None,
    ) -> Hand:
        """Open a link to a node, as member *number*; the test plays that end."""
        self._links += 1
        hand = Hand(self, target, self._links, some_member(number, name))
        self._hands[hand.link] = hand
        certificate = certified if certified is not None else hand.member.id
        self.input(
            target,
            lambda node, now: node.link_opened(
                hand.link, Address(HOST, 50_000 + hand.link), certificate, None, now
            ),
        )
        return hand

    def hands(self) -> Iterable[Hand]:
        """Return all ends that a test plays."""
        return self._hands.values()

    def settle(self) -> None:
        """Deliver whatever is under way."""
        delivered = 0
        while self._queue:
            delivered += 1
            assert delivered <= AT_ONCE_MAX, "members talk to each other without end"
            self._queue.popleft()()

    def told(self, name: str, kind: type[Kind]) -> list[Kind]:
        """Return the events of one kind that a node told."""
        return of_kind(kind, self.events[name])

    def frames_of(self, name: str, kind: type[Kind]) -> list[Kind]:
        """Return the messages of one kind that a node sent on links."""
        return of_kind(kind, self.sent[name])

    def _vanish(self, name: str) -> None:
        member = self.nodes.pop(name).me
        self._held.pop(name, None)
        self._wake_at.pop(name)
        if self._addresses.get(member.address) == name:
            del self._addresses[member.address]

    def _break_links(self, name: str) -> None:
        for link in [link for link, end in self._ends.items() if end.owner == name]:
            if link in self._ends:
                self._close(link, "connection reset")
        self.settle()

    def _are_parted(self, one: str, other: str) -> bool:
        return (one, other) in self._parted or (other, one) in self._parted

    def _carry_out(self, name: str) -> None:
        ready = self.nodes[name].ready()
        self.events[name] += ready.events
        self.done[name] += ready.done
        self.let_go(name, ready.done)
        self._wake_at[name] = ready.wake_at
        self.datagrams += len(ready.datagrams)
        for datagram in ready.datagrams:
            for other in self.nodes:
                if self.has_multicast and other != name and not self._are_parted(name, other):
                    self._deliver(other, "datagram_received", datagram, HOST)
        for link, frame in ready.frames:
            self.sent[name] += decoded(frame)
            self._send(name, link, frame)
        for order in ready.links:
            if isinstance(order, Dial):
                self._dial(name, order)
            else:
                self._carry_out_close(name, order)

    def _deliver(self, name: str, method: str, *arguments: object) -> None:
        def act() -> None:
            if name in self.nodes:
                getattr(self.nodes[name], method)(*arguments, self.now)
                self._carry_out(name)

        self._queue.append(act)

    def _send(self, name: str, link: int, frame: bytes) -> None:
        if link in self._hands:
            self._hands[link].received += decoded(frame)
        elif link in self._ends:
            end = self._ends[link]

            def act() -> None:
                other = self._ends.get(end.other)
                if other is not None and not self._are_parted(name, other.owner):
                    self._deliver(other.owner, "bytes_received", end.other, frame)

            held = self._held.get(name)
            if held is not None and isinstance(decoded(frame)[0], self._held_kinds[name]):
                held.append(act)
            else:
                self._queue.append(act)

    def _dial(self, name: str, order: Dial) -> None:
        if any(hand.is_hung and hand.member.address == order.address for hand in self.hands()):
            return
        target = self._addresses.get(order.address)
        if target is None:
            self.dials_refused.append(order.address)
            self._fail_dial(name, order, "connection refused", refused=True)
            return
        if self._are_parted(name, target):
            self._fail_dial(name, order, "no answer", refused=False)
            return
        self._links += 2
        ours, theirs = self._links - 1, self._links
        self._ends[ours] = _End(name, theirs)
        self._ends[theirs] = _End(target, ours)
        me, other = self.nodes[name].me.id, self.nodes[target].me.id
        self._deliver(name, "link_opened", ours, order.address, other, order.dial)
        self._deliver(target, "link_opened", theirs, Address(HOST, 50_000 + theirs), me, None)

    def _fail_dial(self, name: str, order: Dial, reason: str, *, refused: bool) -> None:
        def act() -> None:
            if name in self.nodes:
                self.nodes[name].dial_failed(order.dial, reason, self.now, refused=refused)
                self._carry_out(name)

        self._queue.append(act)

    def _carry_out_close(self, name: str, order: Close) -> None:
        hand = self._hands.get(order.link)
        if hand is not None:
            hand.closed = order.reason
            self._deliver(name, "link_closed", order.link, order.reason)
        elif order.link in self._ends:
            self._close(order.link, order.reason)

    def _close(self, link: int, reason: str) -> None:
        end = self._ends.pop(link)
        self._deliver(end.owner, "link_closed", link, reason)
        other = self._ends.pop(end.other, None)
        if other is not None and not self._are_parted(end.owner, other.owner):
            self._deliver(other.owner, "link_closed", end.other, "closed by the other end")
