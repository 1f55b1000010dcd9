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
import threading
import time
from collections.abc import Callable
from random import Random

from replsession.config import ClusterSettings
from replsession.events import Event, Member
from replsession.identity import MEMBER_ID_BYTES, Address
from replsession.node import Node
from replsession.session.change import Change
from replsession.session.context import Identity, Loaded
from replsession.session.expiry import limits_of
from replsession.session.record import SECRET


def nothing() -> None:
    """Wake nobody: the member has no driver."""


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
        self.lock = threading.Lock()
        self.wake: Callable[[], None] = nothing
        """Tell the driver that there is something to carry out; set by it."""
        self.told: list[Event] = []
        now = time.monotonic()
        wall = time.time()
        # Seeded by the system: only pauses between dials come from it.
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
        self._timer_at = now

    def open(self, identity: Identity) -> Loaded | None:
        """Look a session up for a request; None: there is none, or the id is an old one."""
        now = time.monotonic()
        node = self.node
        if node.alone:
            self._tick(now)
        with self.lock:
            record = node.open(identity.key, now, identity.secret_hash)
            if record is None:
                return None
            offset = node.wall_offset_s
            loaded = Loaded(
                identity,
                record.values(),
                record.created + offset,
                record.accessed_before + offset,
                limits_of(record),
            )
        return loaded

    def is_current(self, identity: Identity) -> bool:
        """Tell whether an id is still that of a session that lives; unlike a look-up, no access."""
        with self.lock:
            record = self.node.store.peek(identity.key)
            return (
                record is not None
                and record.destroyed is None
                and record.value(SECRET) == identity.secret_hash
            )

    def commit(self, changes: tuple[Change, ...]) -> bytes | None:
        """
        Apply and replicate changes, in this order.

        Returns:
            What the id of the session has now as the hash of its secret part, which another request
            may have rotated; empty if it was ended by this commit. None: it has ended elsewhere,
            so there was nothing to end, and what was written has nowhere to go.
        """
        now = time.monotonic()
        secret_hash: bytes | None = b""
        with self.lock:
            for change in changes:
                record = self.node.commit(change, now)
                if record is None:
                    secret_hash = None
                else:
                    secret_hash = b"" if change.destroy else record.value(SECRET)
        self.wake()
        if self.node.alone:
            self._tick(now)
        return secret_hash

    def _tick(self, now: float) -> None:
        # Without a driver requests keep the time: sessions of a process alone end by them.
        if now >= self._timer_at:
            with self.lock:
                self.node.timer_fired(now)
                ready = self.node.ready()
            self._timer_at = ready.wake_at
            self.told += ready.events
