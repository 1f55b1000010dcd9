"""
The driver: sockets and a clock around a node, on one asyncio loop (uvloop or not).

::

    accept, dial ──▶ TLS ──▶ Link ── bytes ──▶ node
    multicast ── payload ────────────────────▶ node ── ready() ──▶ frames, dials, datagrams, events
    timer ───────────────────────────────────▶ node

Inputs run under the member's lock as they come; ``ready()`` is carried out once for each turn of
the loop, so that the deltas of many requests leave in one frame and one write.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
from collections.abc import Coroutine
from typing import Any

from replsession.channel import log
from replsession.channel.dispatch import Dispatcher
from replsession.channel.heartbeats import Heartbeats
from replsession.channel.links import Accepting, Link
from replsession.channel.member import LocalMember, nothing
from replsession.channel.place import Place
from replsession.channel.resolver import Resolver
from replsession.channel.tls import LinkSecurity
from replsession.config import ClusterSettings
from replsession.events import MemberJoined
from replsession.identity import Address
from replsession.membership.membership import Close, Dial
from replsession.ready import Ready
from replsession.security.keys import ClusterKeys

BACKLOG = 128
HANDSHAKE_TIMEOUT_S = 5.0
DIAL_TIMEOUT_S = 6.0
LINGER_S = 1.0
"""How long what is closed on purpose goes on: a link writes what it still has, and a receiver that
moved is found at its old address, where that still works, by who has not heard of the new one."""


class Network:
    """
    Runs one member on the running loop, from :meth:`start` to :meth:`stop`.

    Args:
        member: The member to drive.
        settings: Where it meets the others.
        keys: The keys of the cluster.
        dispatcher: Where events of sessions go.
        contexts: Applications of this member, for the log; may grow.
    """

    def __init__(
        self,
        member: LocalMember,
        settings: ClusterSettings,
        keys: ClusterKeys,
        dispatcher: Dispatcher,
        contexts: dict[str, None],
    ) -> None:
        self.member = member
        self.settings = settings
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._keys = keys
        self._dispatcher = dispatcher
        self._contexts = contexts
        self._place = Place(settings, BACKLOG)
        self._security: LinkSecurity | None = None
        self._heartbeats: Heartbeats | None = None
        self._accepting: tuple[Accepting, asyncio.Task[None]] | None = None
        self._links: dict[int, Link] = {}
        self._link_numbers = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._is_flush_due = False
        self._is_delivering = False
        self._is_stopping = False
        self._is_stopped = False
        self.is_abandoned = False
        """The loop has ended, or all of its tasks have: the member needs another driver."""

    async def start(self) -> None:
        """
        Bind the receiver, join the group, and begin.

        Raises:
            OSError: an address, a port or an interface is not to be had now.
        """
        settings, node, timing = self.settings, self.member.node, self.member.node.timing
        log.CLUSTER.info("Cluster is about to start")
        receiver = self._place.bind()
        try:
            address = Address(*receiver.getsockname()[:2])
            self._security = LinkSecurity(self._keys, settings.name, node.me.id)
            if settings.multicast is not None:
                self._heartbeats = Heartbeats(
                    self.loop,
                    self._keys,
                    settings.multicast,
                    self._place.host,
                    self._heard,
                    node.metrics,
                    self.member.repeats,
                )
                self._heartbeats.join(is_needed=not settings.seeds)
        except BaseException:
            receiver.close()
            raise
        name = settings.member_name or f"{socket.gethostname()}-{address.port}"
        with self.member.lock:
            node.listening(name, address, time.monotonic())
        log.log_start(settings, address, timing)
        self._accept_from(receiver)
        self.member.wake = self.wake
        self._tick()
        if settings.seeds:
            resolver = Resolver(
                self.loop, settings.seeds, timing.resolve_interval_s, self._addresses_found
            )
            self._spawn(resolver.run())

    def _accept_from(self, receiver: socket.socket) -> None:
        accepting = Accepting(receiver, self.loop, self.member.node.metrics, self.member.repeats)
        task = self._spawn(accepting.run(self._accept))
        task.add_done_callback(self._accepting_ended)
        self._accepting = accepting, task

    def _move(self) -> None:
        """Listen elsewhere if this host has got another address."""
        try:
            receiver = self._place.bind_anew()
        except OSError as error:
            self.member.repeats.warn(
                log.RECEIVER, logging.WARNING, "", "Receiver cannot move: %s", error
            )
            return
        if receiver is None or self._accepting is None:
            return
        address = Address(*receiver.getsockname()[:2])
        log.RECEIVER.warning("This host has another address: receiver moves to /%s", address)
        accepting, task = self._accepting
        task.remove_done_callback(self._accepting_ended)
        task.add_done_callback(lambda _: accepting.abandon())
        self.loop.call_later(LINGER_S, task.cancel)
        self._accept_from(receiver)
        if self._heartbeats is not None:
            self._heartbeats.move(self._place.host)
        with self.member.lock:
            node = self.member.node
            node.listening(node.me.name, address, time.monotonic())
        # They came from an address that is gone: nothing passes there any more.
        for link in list(self._links.values()):
            link.abort()

    def wake(self) -> None:
        """Carry out ``ready()`` at the end of this turn of the loop; from any thread."""
        if self._is_flush_due:
            return
        self._is_flush_due = True
        try:
            if threading.get_ident() == self._thread:
                self.loop.call_soon(self._flush)
            else:
                self.loop.call_soon_threadsafe(self._flush)
        except RuntimeError:
            # The loop was closed without a word; the next request starts the member elsewhere.
            self.member.wake = nothing

    async def stop(self) -> None:
        """Say goodbye, wait a moment for the others to close their links, and end everything."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self.member.wake = nothing
        with self.member.lock:
            self.member.node.stop(time.monotonic())
            ready = self.member.node.ready()
            told = [peer.link for peer in self.member.node.peers]
        self._carry_out(ready)
        self.member.release()
        if self._timer is not None:
            self._timer.cancel()
        if self._heartbeats is not None:
            self._heartbeats.close()
        for number, link in list(self._links.items()):
            if number not in told:
                link.close("stopped")
        await self._links_closed(LINGER_S)
        self._is_stopped = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._accepting is not None:
            await self._accepting[0].close()
        self.member.repeats.finish()
        log.CLUSTER.info("Cluster has stopped")

    async def _links_closed(self, patience_s: float) -> None:
        # Who was told goodbye closes the link. If we closed it while he still writes, his system
        # would tell him of the broken link first, and of the goodbye never.
        deadline = self.loop.time() + patience_s
        while self._links and self.loop.time() < deadline:
            await asyncio.sleep(0.005)
        for link in list(self._links.values()):
            link.abort()

    def abandon(self) -> None:
        """Give sockets back when the loop ends, or has ended, without a word to us."""
        self.is_abandoned = self._is_stopping = self._is_stopped = True
        self.member.wake = nothing
        self.member.release()
        if self._timer is not None:
            self._timer.cancel()
        if self._heartbeats is not None:
            self._heartbeats.close()
        if self._accepting is not None:
            self._accepting[0].abandon()
        if not self.loop.is_closed():
            for link in list(self._links.values()):
                link.abort()

    def _accepting_ended(self, _: asyncio.Task[None]) -> None:
        # Whoever ends a loop cancels its tasks first.
        if not self._is_stopping:
            self.abandon()

    def _flush(self) -> None:
        self._is_flush_due = False
        if self._is_stopped:
            return
        with self.member.lock:
            ready = self.member.node.ready()
        self._carry_out(ready)

    def _tick(self) -> None:
        self._timer = None
        self.member.turned()
        with self.member.lock:
            self.member.node.timer_fired(time.monotonic())
            ready = self.member.node.ready()
        self._carry_out(ready)

    def _carry_out(self, ready: Ready) -> None:
        self._write(ready.frames)
        if ready.datagrams and not self._is_stopping:
            self._move()
        if self._heartbeats is not None:
            for payload in ready.datagrams:
                self._heartbeats.send(payload)
        for order in ready.links:
            if isinstance(order, Close):
                self._close(order)
            elif not self._is_stopping:
                self._spawn(self._dial(order))
        if ready.done:
            self.member.finish(ready.done)
        if ready.events:
            self._tell(ready)
        if not self._is_stopping:
            self._wake_at(ready.wake_at)

    def _write(self, frames: list[tuple[int, bytes]]) -> None:
        if len(frames) == 1:
            number, frame = frames[0]
            if number in self._links:
                self._links[number].write(frame)
            return
        joined: dict[int, list[bytes]] = {}
        for number, frame in frames:
            joined.setdefault(number, []).append(frame)
        for number, parts in joined.items():
            if number in self._links:
                self._links[number].write(b"".join(parts))

    def _close(self, order: Close) -> None:
        link = self._links.get(order.link)
        if link is not None:
            log.MEMBERSHIP.debug("Link with %s closes: %s", link.address, order.reason)
            link.close(order.reason)
            self.loop.call_later(LINGER_S, link.abort)

    def _tell(self, ready: Ready) -> None:
        node = self.member.node
        for event in ready.events:
            log.log_event(event, self._contexts, node.timing, self.member.repeats)
            if isinstance(event, MemberJoined):
                log.log_namesakes(event.member, (node.me, *node.membership.view))
            self._dispatcher.put(event, node.metrics, self.member.repeats)
        if not self._is_delivering:
            self._is_delivering = True
            self.loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._is_delivering = self._dispatcher.deliver()
        if self._is_delivering:
            self.loop.call_soon(self._deliver)

    def _wake_at(self, monotonic: float) -> None:
        if self._timer is not None:
            if self._timer_at <= monotonic + 0.001:
                return
            self._timer.cancel()
        self._timer_at = monotonic
        self._timer = self.loop.call_later(max(0.0, monotonic - time.monotonic()), self._tick)

    def _heard(self, payload: bytes, source: str) -> None:
        with self.member.lock:
            self.member.node.datagram_received(payload, source, time.monotonic())
        self.wake()

    def _addresses_found(self, addresses: list[Address]) -> None:
        with self.member.lock:
            self.member.node.addresses_found(addresses, time.monotonic())
        self.wake()

    def _link(self, dial: int | None, address: Address) -> Link:
        self._link_numbers += 1
        return Link(self._link_numbers, dial, address, self)

    async def _accept(self, connection: socket.socket, source: Address) -> None:
        assert self._security is not None
        await self.loop.connect_accepted_socket(
            lambda: self._link(None, source),
            connection,
            ssl=self._security.server_context,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
        )

    async def _dial(self, order: Dial) -> None:
        assert self._security is not None
        reason, refused = "connection lost", False
        try:
            async with asyncio.timeout(DIAL_TIMEOUT_S):
                await self.loop.create_connection(
                    lambda: self._link(order.dial, order.address),
                    *order.address,
                    ssl=self._security.client_context,
                    server_hostname=self._security.server_hostname,
                    ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
                )
            return
        except (ConnectionRefusedError, ConnectionResetError):
            # Reset: the kernel had accepted for a process that died before it could answer.
            reason, refused = "connection refused", True
        except TimeoutError:
            reason = "no answer"
        except ssl.SSLError as error:
            reason = f"TLS refused: {error.reason or error}"
            log.log_tls_refused(order.address, reason, self.member.repeats)
        except OSError as error:
            reason = error.strerror or str(error)
        except ValueError as error:
            # A host that a member gave, and that cannot be one.
            reason = str(error)
        log.SENDER.debug("Member at %s cannot be dialled: %s", order.address, reason)
        with self.member.lock:
            now = time.monotonic()
            self.member.node.dial_failed(order.dial, reason, now, refused=refused)
        self.wake()

    def link_opened(self, link: Link) -> None:
        """A link's handshake is done."""
        self._links[link.number] = link
        if self._is_stopping:
            # A HELLO after the goodbye would bring us back.
            link.abort()
            return
        with self.member.lock:
            self.member.node.link_opened(
                link.number, link.address, link.certified, link.dial, time.monotonic()
            )
        self.wake()

    def bytes_received(self, link: Link, data: bytes) -> None:
        """Bytes came on a link."""
        with self.member.lock:
            self.member.node.bytes_received(link.number, data, time.monotonic())
        self.wake()

    def link_closed(self, link: Link, reason: str) -> None:
        """A link is gone."""
        self._links.pop(link.number, None)
        with self.member.lock:
            self.member.node.link_closed(link.number, reason, time.monotonic())
        self.wake()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
