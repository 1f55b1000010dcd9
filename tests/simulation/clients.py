"""
Clients: browsers that hop to any member, and hold what the product gives them: tokens.

Each has a session of its own or shares one with another. A request brings what its client has seen,
waits as the front door does, writes perhaps, and perhaps waits until enough members hold it.

* FRESH: an answer that is not flagged as stale has everything that the client has seen: its own
  writes, and what it was shown before. A client of cookies learns at answers that committed, one
  of printed URLs at every answer.
* FOUND: a session is called unknown only if no member that could be asked serves it.
* HELD: who has acknowledged a write holds it.
* PROMPT: nobody waits longer than the bounds say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from replsession.concern import CONCERNS, Asked
from replsession.identity import LOCATOR_BYTES, SECRET_HASH_BYTES, Key
from replsession.replication.acks import Ticket
from replsession.session.change import Change
from replsession.session.expiry import SessionLimits, encoded_limits
from replsession.session.record import INTERVAL, SECRET, Record
from replsession.session.stamp import NOTHING_SEEN, Seen, Stamp
from tests.simulation import telling
from tests.simulation.checkers import Failure, is_served
from tests.simulation.cluster import Cluster
from tests.simulation.oracle import greatest_in
from tests.simulation.process import Answer, Process
from tests.simulation.scheduler import split
from tests.simulation.swarm import Swarm

NAMES = ("basket", "name", "steps", "language")
CLIENTS_MAX = 6
LATE_S = 0.1
"""Timers of a process are a little late, and it may have been stopped."""


@dataclass(slots=True, eq=False)
class Client:
    """One browser with its token."""

    key: Key
    prints: bool
    """Its token is printed on every page; else it comes in a cookie at a commit."""
    seen: Seen = NOTHING_SEEN
    knows: dict[str, Stamp] = field(default_factory=dict)
    """The newest stamp of each attribute that it was shown or wrote, as its token says."""

    def learn(self, record: Record) -> None:
        """Take the token of an answer."""
        self.seen = Seen(record.seen(), max(self.seen.clock, greatest_in(record)))
        self.knows = {
            name: Stamp(write.hlc, write.member) for name, write in record.attributes.items()
        }


def writer_of(cluster: Cluster, stamp: Stamp) -> bytes:
    """Return the id, on links, of the member that made a stamp and still runs; else its own."""
    for process in cluster.live():
        if stamp.member in process.writers:
            return process.node.me.id
    return stamp.member


@dataclass(slots=True)
class Clients:
    """All clients, and their requests one after another."""

    cluster: Cluster
    swarm: Swarm
    operations: int = 0
    waited: int = 0
    stale: int = 0
    met: int = 0
    short: int = 0
    is_over: bool = False
    pending: int = 0
    acknowledged: list[tuple[Key, Stamp, dict[str, bytes | None], tuple[bytes, ...]]] = field(
        default_factory=list
    )
    """Writes that enough members held: session, stamp, values, and the holders."""
    rng: Random = field(init=False)
    _clients: list[Client] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = split(self.swarm.seed, "clients")

    def start(self) -> None:
        """Begin to make requests."""
        self.cluster.scheduler.after(0.0, self._turn)

    def _turn(self) -> None:
        if self.is_over:
            return
        delay_s = self.rng.expovariate(1.0 / (2 * self.swarm.operation_every_s))
        self.cluster.scheduler.after(delay_s, self._turn)
        process = self._process()
        if process is None:
            return
        if len(self._clients) < CLIENTS_MAX and self.rng.random() < 0.3:
            process.post(lambda node, now: self._create(process))
        elif self._clients:
            client = self.rng.choice(self._clients)
            process.post(lambda node, now: self._request(process, client))

    def _process(self) -> Process | None:
        fit = [process for process in self.cluster.live() if not process.is_paused]
        ready = [process for process in fit if process.node.is_ready]
        some = fit if self.rng.random() < 0.1 else ready
        return self.rng.choice(some) if some else None

    def _create(self, process: Process) -> None:
        rng = self.rng
        key = Key("/", b"\xcc" + rng.randbytes(LOCATOR_BYTES - 1))
        writes = self._writes()
        writes[SECRET] = rng.randbytes(SECRET_HASH_BYTES)
        writes[INTERVAL] = encoded_limits(SessionLimits(None, None))
        self._note(process, key, "creates")
        record = process.commit(Change(key, writes, birth=True))
        assert record is not None
        for _ in range(rng.choice((1, 1, 2))):
            client = Client(key, prints=rng.random() < 0.5)
            client.learn(record)
            self._clients.append(client)

    def _writes(self) -> dict[str, bytes | None]:
        names = self.rng.sample(NAMES, self.rng.choice((1, 1, 2)))
        return {name: self.rng.randbytes(4) for name in names}

    def _note(self, process: Process, key: Key, what: str) -> None:
        self.operations += 1
        self.cluster.trace.line(self.cluster.now, process.name, f"client {what} {telling.key(key)}")

    def _request(self, process: Process, client: Client) -> None:
        began_at = self.cluster.now
        asked_with = client.seen
        knows = dict(client.knows)
        could_serve = self._could_serve(process, client.key)

        def then(answer: Answer) -> None:
            self._in_time(process, answer, began_at)
            self.waited += answer.waited_s > 0
            if answer.record is None:
                self._none(process, client, answer, could_serve)
            else:
                is_current = client.seen is asked_with
                self._some(process, client, answer, knows, asked_with, is_current=is_current)

        self._note(process, client.key, "asks for")
        process.ask(client.key, asked_with, then)

    def _in_time(self, process: Process, answer: Answer, began_at: float) -> None:
        timing = self.cluster.config.timing
        most_s = timing.join_wait_s if answer.was_joining else timing.fresh_timeout_s
        if not answer.was_paused and self.cluster.now - began_at > most_s + LATE_S:
            what = f"a request waited {self.cluster.now - began_at:.3f} s"
            raise Failure("PROMPT", f"{process.name}: {what}")

    def _could_serve(self, process: Process, key: Key) -> list[tuple[Process, int]]:
        found: list[tuple[Process, int]] = []
        for peer in process.node.peers:
            for other in self.cluster.live():
                record = other.node.store.peek(key)
                if other.node.me.id == peer.id and record is not None and is_served(record):
                    found.append((other, peer.link))
        return found

    def _none(
        self,
        process: Process,
        client: Client,
        answer: Answer,
        could_serve: list[tuple[Process, int]],
    ) -> None:
        knows_end = self.cluster.oracle.knew_end(process.node.me.id, client.key)
        if not process.node.is_ready or not answer.is_certain or knows_end:
            return
        for other, link in could_serve:
            peer = process.node.peers.get(other.node.me.id)
            record = other.node.store.peek(client.key)
            still = peer is not None and peer.link == link and other.is_alive
            if still and record is not None and is_served(record):
                what = f"session {telling.key(client.key)} called unknown, but {other.name} has it"
                raise Failure("FOUND", f"{process.name}: {what}")
        self._clients = [other for other in self._clients if other.key != client.key]

    def _some(
        self,
        process: Process,
        client: Client,
        answer: Answer,
        knows: dict[str, Stamp],
        asked_with: Seen,
        *,
        is_current: bool,
    ) -> None:
        record = answer.record
        assert record is not None
        if answer.stale:
            self.stale += 1
            if is_current:
                client.learn(record)
        else:
            for name, stamp in knows.items():
                held = record.attributes.get(name)
                if held is None or held[:2] < stamp:
                    what = f"{name!r} of {telling.key(client.key)} is older than was seen"
                    raise Failure("FRESH", f"{process.name}: {what}")
            if client.prints and is_current:
                client.learn(record)
        if self.rng.random() < 0.5:
            self._write(process, client, record, asked_with.clock)

    def _write(self, process: Process, client: Client, record: Record, clock: int) -> None:
        read = max(greatest_in(record), clock)
        writes = self._writes()
        if self.rng.random() < 0.02:
            self._note(process, client.key, "ends")
            process.commit(Change(client.key, {}, destroy=True), read)
            self._clients = [other for other in self._clients if other.key != client.key]
            return
        self._note(process, client.key, "writes")
        if client.prints and self.rng.random() < 0.4:
            self._print_first(process, client, record, read)
            return
        concern = self.rng.choice(CONCERNS)
        committed = process.commit(Change(client.key, writes), read)
        if committed is None:
            return
        client.learn(committed)
        writer = process.node.writer
        stamp = Stamp(committed.version[writer], writer)
        if concern != "async":
            expected = self.rng.choice((None, self.swarm.members))
            asked = Asked(concern, self.rng.choice((0.05, 1.0)), expected)
            process.wait_for(
                asked, client.key, lambda ticket: self._told(client.key, stamp, writes, ticket)
            )

    def _print_first(self, process: Process, client: Client, record: Record, read: int) -> None:
        # The page has the token of a commit to come, which others may overtake.
        stamp = process.node.requests.reserve(process.now)
        token = Seen({**record.seen(), stamp.member: stamp.hlc}, stamp.hlc)
        shown = {name: Stamp(write.hlc, write.member) for name, write in record.attributes.items()}
        writes = self._writes() if self.rng.random() < 0.8 else {}

        def commit() -> None:
            held = process.node.store.peek(client.key)
            # What the token promises is exact unless another request of this session committed on
            # this member meanwhile, and its delta arrived and ours did not (docs/design.md).
            is_overtaken = held is None or held.version.get(stamp.member, 0) > stamp.hlc
            committed = process.commit(Change(client.key, writes), read)
            if committed is not None and not is_overtaken:
                # What others wrote since the page was made is not on it.
                writer = process.node.writer
                own = Stamp(committed.version[writer], writer)
                client.seen, client.knows = token, shown | dict.fromkeys(writes, own)

        think_s = self.rng.choice((0.0, 0.01, 0.2))
        self.cluster.scheduler.after(think_s, lambda: process.post(lambda node, now: commit()))

    def _told(
        self, key: Key, stamp: Stamp, writes: dict[str, bytes | None], ticket: Ticket
    ) -> None:
        if not ticket.is_met:
            self.short += 1
            return
        self.met += 1
        for process in self.cluster.live():
            if process.node.me.id in ticket.holders:
                self._holds(process, key, stamp, writes)
        holders = (writer_of(self.cluster, stamp), *ticket.holders)
        self.acknowledged.append((key, stamp, writes, holders))

    def _holds(
        self, process: Process, key: Key, stamp: Stamp, writes: dict[str, bytes | None]
    ) -> None:
        record = process.node.store.peek(key)
        if record is not None and record.destroyed is not None:
            return
        if record is None and self.cluster.oracle.knew_end(process.node.me.id, key):
            return
        for name in writes:
            held = None if record is None or not record.complete else record.attributes.get(name)
            if held is None or held[:2] < stamp:
                what = f"acknowledged {telling.stamp(stamp)} of {telling.key(key)} without it"
                raise Failure("HELD", f"{process.name}: {what}")

    def survive(self, served: dict[Key, Record], alive: dict[bytes, None]) -> None:
        """
        HELD: an acknowledged write is there in the end if one of its holders never crashed.

        Args:
            served: What one member serves after the healing.
            alive: Ids of the members that run.
        """
        for key, stamp, writes, holders in self.acknowledged:
            story = self.cluster.oracle.stories[key]
            if story.ends or story.buried or not any(holder in alive for holder in holders):
                continue
            record = served.get(key)
            for name in writes:
                held = None if record is None else record.attributes.get(name)
                if held is None or held[:2] < stamp:
                    what = f"{telling.stamp(stamp)} of {telling.key(key)} was acknowledged"
                    raise Failure("HELD", f"all: {what}, and is gone")
