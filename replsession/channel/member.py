"""
This process's member: the node, the one lock, and the clock that drives it.

Every input of the node runs under the lock, from whatever thread; a driver (``aio.py``) carries out
what ``node.ready()`` says. A process that forks makes a new one: what a fork copies is another
member's memory.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import NamedTuple

from replsession.channel.log import is_wanted, log_commit
from replsession.channel.native import new_lock
from replsession.channel.repeats import Repeats
from replsession.channel.waiting import Waiter
from replsession.concern import NOTHING_ASKED, Asked
from replsession.config import ClusterSettings
from replsession.events import Event, Member
from replsession.identity import MEMBER_ID_BYTES, Address, Key, MemberId
from replsession.node import Node
from replsession.replication.acks import Ticket
from replsession.replication.freshness import Lookup, covers
from replsession.replication.waits import Waiting
from replsession.session.change import Change
from replsession.session.context import Identity, Loaded
from replsession.session.expiry import limits_of
from replsession.session.principals import login_of
from replsession.session.record import SECRET, Record
from replsession.session.stamp import Seen


def nothing() -> None:
    """Wake nobody: the member has no driver."""


class StateMissing(Exception):
    """This member has no state yet: whether there is such a session, it cannot say."""


class Committed(NamedTuple):
    """What became of a commit."""

    secret_hash: bytes
    """Hash of the current id's secret part, which another request may have rotated; empty if the
    session was ended by this commit."""
    seen: dict[MemberId, int]
    """What the client has seen when the response arrives."""
    waiter: Waiter | None
    """Set if acknowledgements were asked for."""


class LocalMember:
    """
    The member of this process.

    Args:
        settings: The cluster to belong to; None: no other member exists.
        earlier: The member of an earlier start in this process, whose sessions are taken over.
    """

    def __init__(self, settings: ClusterSettings | None, earlier: LocalMember | None) -> None:
        self.settings = settings
        self.pid = os.getpid()
        self.lock = new_lock()
        self.wake: Callable[[], None] = nothing
        """Tell the driver that there is something to carry out; set by it."""
        self.told: list[Event] = []
        self.waiters: dict[Waiting, Waiter] = {}
        """Requests that wait; changed under the lock, or popped by the driver."""
        now = time.monotonic()
        wall = time.time()
        # Seeded by the system: pauses between dials and further names in stamps come from it.
        rng = Random(secrets.randbits(64))
        name = (settings and settings.member_name) or f"{socket.gethostname()}-{self.pid}"
        me = Member(
            secrets.token_bytes(MEMBER_ID_BYTES), name, int(wall * 1000), Address("127.0.0.1", 1)
        )
        config = settings.node if settings is not None else ClusterSettings("").node
        self.node = Node(config, me, rng, now, wall - now, alone=settings is None)
        if earlier is not None:
            with earlier.lock:
                self.node.adopt(earlier.node, now)
        self.repeats = Repeats(self.node.metrics)
        """What this member has warned of lately."""
        self._timer_at = now

    def open(self, identity: Identity, seen: Seen) -> Loaded | Waiter | None:
        """
        Look a session up for a request.

        Returns:
            None: there is none, or the id is an old one. A waiter: others have more of it, or may
            have; when it is over, :meth:`opened_at_last` says what there is.
        """
        now = time.monotonic()
        node = self.node
        if node.alone:
            self._tick(now)
        # Without a driver nobody would answer.
        is_alone = self.wake is nothing
        with self.lock:
            found = node.open(identity.key, now, identity.secret_hash, seen, is_final=is_alone)
            if found is None:
                return None
            if not isinstance(found, Lookup):
                loaded = self._loaded(identity, found, seen)
                return self._judged(loaded, found, seen.version) if is_alone else loaded
            waiter = Waiter(found)
            if not found.is_done:
                self.waiters[found] = waiter
        self.wake()
        return waiter

    def served_last(self, key: Key) -> bool:
        """Tell whether this member served a session last, as far as it knows; this is no access."""
        with self.lock:
            record = self.node.store.peek(key)
            return record is not None and record.access.member == self.node.writer

    def opened_at_last(self, identity: Identity, lookup: Lookup) -> Loaded | None:
        """
        Return what is here after a wait.

        Raises:
            StateMissing: this member has no state yet, so it cannot say what there is.
        """
        now = time.monotonic()
        seen = Seen(lookup.seen, max(lookup.seen.values(), default=0))
        with self.lock:
            node = self.node
            record = node.open(identity.key, now, identity.secret_hash, seen, is_final=True)
            assert not isinstance(record, Lookup)
            if record is not None:
                return self._judged(self._loaded(identity, record, seen), record, lookup.seen)
            if not node.is_ready and self.wake is not nothing:
                raise StateMissing
            return None

    def _judged(self, loaded: Loaded, record: Record, seen: Mapping[MemberId, int]) -> Loaded:
        if covers(record, seen, self.node.writer):
            return loaded
        self.node.metrics.requests_stale += 1
        version = record.seen()
        clock = max(0, *seen.values(), *version.values())
        return loaded._replace(stale=Seen(version, clock))

    def _loaded(self, identity: Identity, record: Record, seen: Seen) -> Loaded:
        offset = self.node.wall_offset_s
        values = record.values()
        news = None
        # A token that says nothing asks for nothing.
        held = seen if seen.version else None
        if held is not None and record.shows_more(seen):
            news = Seen({**seen.version, **record.seen()}, seen.clock)
        login = None if record.indexed is None else login_of(record)
        return Loaded(
            identity,
            values,
            record.created + offset,
            record.accessed_before + offset,
            limits_of(record),
            news,
            principal=None if login is None else login.name,
            held=held,
        )

    def reserve(self, key: Key) -> Seen:
        """Return what a token must name that is printed before its request has committed."""
        now = time.monotonic()
        with self.lock:
            record = self.node.store.peek(key)
            stamp = self.node.requests.reserve(now)
            version = {} if record is None else record.seen()
        version[stamp.member] = stamp.hlc
        return Seen(version, stamp.hlc)

    def is_current(self, identity: Identity) -> bool:
        """Tell whether an id is still that of a session that lives; unlike a look-up, no access."""
        with self.lock:
            record = self.node.store.peek(identity.key)
            return (
                record is not None
                and record.destroyed is None
                and record.value(SECRET) == identity.secret_hash
            )

    def age_s(self, key: Key) -> float:
        """Return how many seconds ago a session was born, over or not; 0 if it is unknown here."""
        now = time.monotonic()
        with self.lock:
            record = self.node.store.peek(key)
            return 0.0 if record is None else max(now - record.created, 0.0)

    def commit(self, changes: tuple[Change, ...], asked: Asked = NOTHING_ASKED) -> Committed | None:
        """
        Apply and replicate changes, in this order.

        Args:
            changes: What a request did.
            asked: Who must hold it before the request goes on.

        Returns:
            What became of it. None: the session has ended elsewhere, so there was nothing to end,
            and what was written has nowhere to go.
        """
        now = time.monotonic()
        record = waiter = None
        with self.lock:
            for change in changes:
                record = self.node.commit(change, now)
            if record is None:
                committed = None
            else:
                is_alive = record.destroyed is None
                secret_hash = (record.value(SECRET) or b"") if is_alive else b""
                if asked.concern != "async":
                    keys = dict.fromkeys(change.key for change in changes)
                    waiter = self._waiter(self.node.acknowledgement(asked, keys, now))
                committed = Committed(secret_hash, record.seen(), waiter)
        if committed is not None and is_wanted():
            log_commit(changes, committed.secret_hash, len(self.node.store))
        self.wake()
        if self.node.alone:
            self._tick(now)
        return committed

    def acknowledgement(self, key: Key, asked: Asked) -> Waiter:
        """Wait for what was committed earlier: it is sent once more."""
        with self.lock:
            waiter = self._waiter(
                self.node.acknowledgement(asked, (key,), time.monotonic(), again=True)
            )
        self.wake()
        return waiter

    def _waiter(self, ticket: Ticket) -> Waiter:
        waiter = Waiter(ticket)
        if self.wake is nothing:
            # Nobody drives the node, so nothing will come.
            waiter.finish()
        elif not ticket.is_done:
            self.waiters[ticket] = waiter
        return waiter

    def finish(self, done: Iterable[Waiting]) -> None:
        """Let go on who has waited; called by the driver, outside the lock."""
        for waiting in done:
            waiter = self.waiters.pop(waiting, None)
            if waiter is not None:
                waiter.finish()

    def release(self) -> None:
        """Let everybody go on: the driver ends."""
        self.finish(list(self.waiters))

    def end_served(self, contexts: Iterable[str]) -> list[Event]:
        """End the sessions of these applications that were served last here; return the events."""
        now = time.monotonic()
        with self.lock:
            for context in contexts:
                self.node.reaper.end_served(context, now)
            return self.node.taken_events()

    def turned(self) -> None:
        """Time has passed, as whoever drives this member knows: do what belongs to the log."""
        self.repeats.flush()
        self.node.intake.tells_messages = is_wanted()

    def _tick(self, now: float) -> None:
        # Without a driver requests keep the time: sessions of a process alone end by them.
        if now >= self._timer_at:
            self.turned()
            with self.lock:
                self.node.timer_fired(now)
                ready = self.node.ready()
                self.told += ready.events
            self._timer_at = ready.wake_at
