"""
Members that really run, for the tests of the channel: on loops of their own, over loopback.

Each test has a multicast group of its own, so that tests which run at the same time, and members
of earlier tests, do not meet. A test waits for what it wants to see, with a generous bound.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import uvloop

from replsession.channel.channel import Channel
from replsession.channel.waiting import Waiter
from replsession.config import ClusterSettings, NodeConfig, Timing
from replsession.identity import Key, hash_of_secret
from replsession.security.keys import ClusterKeys
from replsession.session.change import Change
from replsession.session.context import Identity
from replsession.session.record import SECRET as SECRET_NAME
from replsession.session.stamp import NOTHING_SEEN

SECRET = "k2Vd9-mQx7RtY4bLw1ZpN8sHc5JfG3aU_eXo6TiBrDy"
NAME = "shop"
HOST = "127.0.0.1"
PATIENCE_S = 20.0
QUICK = Timing(heartbeat_interval_s=0.1, drop_after_s=1.5, discovery_s=0.15, transfer_stall_s=0.5)
STILL = Timing(
    heartbeat_interval_s=1000,
    drop_after_s=3000,
    sweep_interval_s=1000,
    access_batch_s=1000,
    expiry_grace_s=2000,
    repair_interval_s=1000,
)
"""No timer fires in the time of a test, but for the one at the start."""

Result = TypeVar("Result")

_groups = itertools.count(random.randrange(1, 250))


def some_group() -> tuple[str, int]:
    """Return a multicast group and port that no other test uses at the same time."""
    return f"239.77.{next(_groups) % 255}.{random.randrange(1, 255)}", free_port()


def free_port() -> int:
    """Return a port of loopback that nobody has, and that the system gives to nobody by itself."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as sock:
            try:
                sock.bind((HOST, port))
            except OSError:
                continue
            return port


def some_settings(timing: Timing = QUICK, **changes: Any) -> ClusterSettings:
    """Return settings of a cluster that no other test belongs to."""
    settings = ClusterSettings(
        NAME,
        SECRET,
        port=free_port(),
        multicast=some_group(),
        on_this_host=True,
        node=NodeConfig(timing=timing),
    )
    return replace(settings, **changes)


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Listen on a port, so that no member can."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((HOST, port))
        sock.listen(1)
        yield


def keys_of(settings: ClusterSettings) -> ClusterKeys:
    """Return the keys of a cluster."""
    assert settings.secret is not None
    return ClusterKeys(settings.secret, settings.name)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition; fail when it does not come."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.005)


class Home:
    """A loop in a thread of the test: the application that a member lives in."""

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.problems: list[dict[str, Any]] = []
        """What would have been logged as an exception that nobody handled."""
        self.loop = loop_factory()
        self.loop.set_exception_handler(lambda _, context: self.problems.append(context))
        self._thread = threading.Thread(target=self.loop.run_forever, name="home", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)

    def close(self) -> None:
        """End the loop as ``asyncio.run`` does: tasks are cancelled, and nobody is asked."""
        if not self.loop.is_closed():
            self.run(_cancel_the_others())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(PATIENCE_S)
            self.loop.close()


async def _cancel_the_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    # Transports that were aborted are closed in the next turns.
    for _ in range(3):
        await asyncio.sleep(0)


class Host:
    """
    Starts and stops the channels of one test, on one of three kinds of home.

    Args:
        kind: ``asyncio`` or ``uvloop``: on the application's loop; ``thread``: on one of its own.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.homes: list[Home] = []
        self._channels: list[tuple[Channel, Home | None]] = []

    def channel(self, settings: ClusterSettings | None, **options: Any) -> Channel:
        """Return a channel that is ended with the test; it is not started."""
        channel = Channel(settings, **options)
        home = None
        if self.kind != "thread":
            home = Home(uvloop.new_event_loop if self.kind == "uvloop" else asyncio.new_event_loop)
            self.homes.append(home)
        self._channels.append((channel, home))
        return channel

    def started(self, settings: ClusterSettings, **options: Any) -> Channel:
        """Return a channel whose member runs and has its state."""
        channel = self.channel(settings, **options)
        self.start(channel)
        until(lambda: channel.is_ready, "ready")
        return channel

    def start(self, channel: Channel) -> None:
        """Start a channel as its application would."""
        home = self.home(channel)
        if home is None:
            channel.ensure_started()
        else:
            home.run(channel.start())

    def stop(self, channel: Channel) -> None:
        """Stop a channel as its application would."""
        home = self.home(channel)
        if home is None:
            channel.stop_thread()
        else:
            home.run(channel.stop())

    def home(self, channel: Channel) -> Home | None:
        """Return the loop of a channel's application, if it has one."""
        return next(home for known, home in self._channels if known is channel)

    def close(self) -> None:
        """End everything; nothing may have been left unhandled on any loop."""
        for channel, home in self._channels:
            if home is not None and not home.loop.is_closed():
                home.run(channel.stop())
                home.close()
            channel.stop_thread()
        problems = [problem for home in self.homes for problem in home.problems]
        assert not problems, problems


def some_key(number: int = 1) -> Key:
    """Return the key of a session."""
    return Key("/", number.to_bytes(12, "big"))


def some_hash(number: int = 1) -> bytes:
    """Return the hash of the secret part of that session's id."""
    return hash_of_secret(number.to_bytes(16, "big"))


def some_identity(number: int = 1) -> Identity:
    """Return the names of that session, as a client's token gives them."""
    return Identity(some_key(number), some_hash(number), "")


def write(channel: Channel, number: int = 1, *, birth: bool = False, **writes: bytes) -> bool:
    """Commit writes to a session; return whether they were kept."""
    named: dict[str, bytes | None] = dict(writes)
    if birth:
        named[SECRET_NAME] = some_hash(number)
    return channel.commit((Change(some_key(number), named, birth),)) is not None


def read(channel: Channel, number: int = 1) -> dict[str, bytes] | None:
    """Return what a request finds in a session, or None if there is none."""
    loaded = channel.open(some_identity(number), NOTHING_SEEN)
    if isinstance(loaded, Waiter):
        loaded.wait_blocking()
        loaded = channel.opened_at_last(some_identity(number), loaded.lookup)
    if loaded is None:
        return None
    return {name: value for name, value in loaded.values.items() if not name.startswith("\0")}


def names_of_others(channel: Channel) -> list[str]:
    """Return the names of the members that this one sees."""
    member = channel.member
    with member.lock:
        return [other.name for other in member.node.membership.view]


def has_one_link(channel: Channel) -> bool:
    """Tell whether a member has one other, and no second link from dialling at the same time."""
    member = channel.member
    with member.lock:
        membership = member.node.membership
        dials = [candidate.dial for candidate in membership.candidates.values()]
        return len(membership.links) == len(membership.link_of) == 1 and dials == [None]
