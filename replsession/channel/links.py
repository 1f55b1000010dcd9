"""
Links: one TLS connection each, and the door through which others come in.

The door counts before it spends: a connection that has not finished its handshake is bounded in
number, in all and for each source, and in time.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from replsession.channel.log import RECEIVER
from replsession.channel.repeats import Repeats
from replsession.channel.tls import member_of_peer
from replsession.identity import Address, MemberId
from replsession.metrics import Metrics

HANDSHAKES_MAX = 32
"""Connections in their handshake at a time. A refused handshake costs about 1 ms of processor."""
HANDSHAKES_OF_SOURCE_MAX = 16
"""The same for one source address; all members of one host have the same."""
_NO_CERTIFICATE = "PEER_DID_NOT_RETURN_A_CERTIFICATE"
ACCEPT_PAUSE_S = 0.1
"""Pause after the system refused to accept, for example without file descriptors left."""


class Holder(Protocol):
    """Who is told what happens on links; ``aio.py`` has it."""

    def link_opened(self, link: Link) -> None:
        """A link's handshake is done."""

    def bytes_received(self, link: Link, data: bytes) -> None:
        """Bytes came on a link."""

    def link_closed(self, link: Link, reason: str) -> None:
        """A link is gone."""


class Link(asyncio.Protocol):
    """
    One connection. It exists only after the handshake: not a byte is read before.

    Args:
        number: Number of the link, as the node knows it.
        dial: Number of our order, None if the other end dialled.
        address: The other end.
        holder: Whom to tell.
    """

    def __init__(self, number: int, dial: int | None, address: Address, holder: Holder) -> None:
        self.number = number
        self.dial = dial
        self.address = address
        self.certified: MemberId | None = None
        self._holder = holder
        self._transport: asyncio.Transport | None = None
        self._reason: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done: who is it?"""
        self._transport = cast(asyncio.Transport, transport)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ssl_object = cast(ssl.SSLObject, transport.get_extra_info("ssl_object"))
        self.certified = member_of_peer(ssl_object)
        if self.certified is None:
            # A certificate of our own authority always names a member.
            RECEIVER.error("Link with %s has no member in its certificate: closed", self.address)
            self._transport.abort()
            return
        self._holder.link_opened(self)

    def data_received(self, data: bytes) -> None:
        """Bytes, authenticated by TLS."""
        self._holder.bytes_received(self, data)

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone, by whichever end."""
        reason = self._reason or (str(error) if error else "connection closed")
        self._holder.link_closed(self, reason)

    def write(self, data: bytes) -> None:
        """Send; how much may wait here is bounded by the windows of the node."""
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.write(data)

    def close(self, reason: str) -> None:
        """Close after what was written has left."""
        self._reason = reason
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()


class Accepting:
    """
    The accept loop of the receiver, with bounds before TLS.

    An own loop instead of ``create_server``, because those bounds must come before the handshake,
    and because upgrading an accepted connection later does not work on uvloop.
    """

    def __init__(
        self,
        receiver: socket.socket,
        loop: asyncio.AbstractEventLoop,
        metrics: Metrics,
        repeats: Repeats | None = None,
    ) -> None:
        self._receiver = receiver
        self._loop = loop
        self._metrics = metrics
        self._repeats = repeats or Repeats(metrics)
        self._pending: dict[str, int] = {}
        self._handshakes: set[asyncio.Task[None]] = set()

    async def run(self, admit: Callable[[socket.socket, Address], Awaitable[None]]) -> None:
        """Accept until cancelled; *admit* does the handshake of one connection."""
        while True:
            try:
                connection, source = await self._loop.sock_accept(self._receiver)
            except OSError as error:
                self._repeats.warn(
                    RECEIVER, logging.WARNING, "", "Receiver cannot accept: %s", error
                )
                await asyncio.sleep(ACCEPT_PAUSE_S)
            else:
                self._accepted(admit, connection, Address(*source[:2]))

    def _accepted(
        self,
        admit: Callable[[socket.socket, Address], Awaitable[None]],
        connection: socket.socket,
        address: Address,
    ) -> None:
        pending = self._pending.get(address.host, 0)
        if len(self._handshakes) >= HANDSHAKES_MAX or pending >= HANDSHAKES_OF_SOURCE_MAX:
            self._metrics.links_refused += 1
            self._repeats.warn(
                RECEIVER,
                logging.WARNING,
                address.host,
                "Connection from %s refused: too many in their handshake",
                address,
            )
            connection.close()
            return
        self._pending[address.host] = pending + 1
        task = self._loop.create_task(self._handshake(admit, connection, address))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _handshake(
        self,
        admit: Callable[[socket.socket, Address], Awaitable[None]],
        connection: socket.socket,
        address: Address,
    ) -> None:
        try:
            await admit(connection, address)
        except (OSError, ssl.SSLError) as error:
            self._metrics.links_refused += 1
            self._log_failed(address, error)
            connection.close()
        finally:
            self._pending[address.host] -= 1
            if not self._pending[address.host]:
                del self._pending[address.host]

    def _log_failed(self, address: Address, error: OSError) -> None:
        # A doctor, for example: who shows no certificate does not say that he is a member. One with
        # another secret just closes, when he has seen ours.
        if getattr(error, "reason", None) == _NO_CERTIFICATE:
            RECEIVER.debug("Connection from %s is no member's: %s", address, error)
            return
        self._repeats.warn(
            RECEIVER, logging.WARNING, address.host, "Handshake with %s failed: %s", address, error
        )

    async def close(self) -> None:
        """
        Drop connections in their handshake, and stop listening.

        ``run`` must have ended: no loop may be waiting for a socket that is closed.
        """
        for task in self._handshakes:
            task.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)
        self._receiver.close()

    def abandon(self) -> None:
        """Stop listening although the loop is closed."""
        self._receiver.close()
