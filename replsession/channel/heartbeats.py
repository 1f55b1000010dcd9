"""Heartbeats on a loop: signed datagrams out, verified ones in, sockets made anew when they die."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from replsession.channel.log import LOGGER
from replsession.channel.multicast import InterfaceGone, drain, open_sockets, send
from replsession.metrics import Metrics
from replsession.security.keys import ClusterKeys


class Heartbeats:
    """
    The multicast side of one member. All methods run on the loop.

    Args:
        loop: Where to read.
        keys: Sign what goes out; what does not verify with them is dropped before it is parsed.
        group: Multicast group and port.
        interface_address: This host's address on the interface to use.
        received: Called with payload and source host of each heartbeat that verified.
        metrics: ``datagrams_refused`` is counted here.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        keys: ClusterKeys,
        group: tuple[str, int],
        interface_address: str,
        received: Callable[[bytes, str], None],
        metrics: Metrics,
    ) -> None:
        self._loop = loop
        self._keys = keys
        self._group = group
        self._interface_address = interface_address
        self._received = received
        self._metrics = metrics
        self._sockets: tuple[socket.socket, socket.socket] | None = None
        self._complained = False

    def open(self) -> None:
        """
        Join the group.

        Raises:
            OSError: the interface is not there, or the system refuses.
        """
        self._sockets = open_sockets(*self._group, self._interface_address)
        self._loop.add_reader(self._sockets[0].fileno(), self._readable)

    def move(self, interface_address: str) -> None:
        """Use another address of this host; the next heartbeat makes the sockets for it."""
        self.close()
        self._interface_address = interface_address

    def send(self, payload: bytes) -> None:
        """Send a heartbeat; without sockets, try to get some first."""
        try:
            if self._sockets is None:
                self.open()
                LOGGER.info("Membership on multicast works again")
                self._complained = False
            assert self._sockets is not None
            error = send(self._sockets[1], self._keys.seal(payload), *self._group)
        except OSError as raised:
            error = raised
        if error is not None:
            self._complain(error)
            if isinstance(error, InterfaceGone):
                self.close()

    def close(self) -> None:
        """Leave the group; also when the loop is closed."""
        if self._sockets is not None:
            receiving, sending = self._sockets
            if not self._loop.is_closed():
                self._loop.remove_reader(receiving.fileno())
            receiving.close()
            sending.close()
            self._sockets = None

    def _readable(self) -> None:
        assert self._sockets is not None
        try:
            datagrams = drain(self._sockets[0])
        except OSError as error:
            self._complain(error)
            self.close()
            return
        for datagram, source in datagrams:
            payload = self._keys.opened(datagram)
            if payload is None:
                self._metrics.datagrams_refused += 1
            else:
                self._received(payload, source.host)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            LOGGER.warning("Multicasting is not functional: %s. Trying again.", error)
