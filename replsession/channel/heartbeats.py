"""Heartbeats on a loop: signed datagrams out, verified ones in, sockets made anew when they die."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from replsession.channel.log import MEMBERSHIP, RECEIVER
from replsession.channel.multicast import InterfaceGone, drain, open_sockets, send
from replsession.channel.repeats import Repeats
from replsession.config import LOG_REPEATS_MAX
from replsession.metrics import Metrics
from replsession.security.keys import HEARTBEAT_MAGIC, ClusterKeys

_FAMILY = HEARTBEAT_MAGIC[:-1]
"""Begins all datagrams of this package, whatever they are."""


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
        repeats: Counts what is warned of again and again; None: an own one.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        keys: ClusterKeys,
        group: tuple[str, int],
        interface_address: str,
        received: Callable[[bytes, str], None],
        metrics: Metrics,
        repeats: Repeats | None = None,
    ) -> None:
        self._loop = loop
        self._keys = keys
        self._group = group
        self._interface_address = interface_address
        self._received = received
        self._metrics = metrics
        self._sockets: tuple[socket.socket, socket.socket] | None = None
        self._repeats = repeats or Repeats(metrics)
        self._strangers: dict[str, None] = {}
        """Hosts of which it was said that they belong to another cluster."""
        self._failures = 0
        """Attempts in a row that came to nothing."""

    def open(self) -> None:
        """
        Join the group.

        Raises:
            OSError: the interface is not there, or the system refuses.
        """
        self._sockets = open_sockets(*self._group, self._interface_address)
        self._loop.add_reader(self._sockets[0].fileno(), self._readable)

    def join(self, *, is_needed: bool) -> None:
        """
        Join the group for the first time; see :meth:`open`.

        Args:
            is_needed: Whether there is no other way to find members; else it is tried again with
                each heartbeat.

        Raises:
            OSError: the interface is not there, or the system refuses, and it is needed.
        """
        try:
            self.open()
        except OSError as error:
            self._repeats.warn(
                MEMBERSHIP,
                logging.ERROR,
                "join",
                "Unable to join multicast group, make sure your system has multicasting enabled.",
            )
            if is_needed:
                raise
            self._complain(error)

    def move(self, interface_address: str) -> None:
        """Use another address of this host; the next heartbeat makes the sockets for it."""
        self.close()
        self._interface_address = interface_address

    def send(self, payload: bytes) -> None:
        """Send a heartbeat; without sockets, try to get some first."""
        try:
            if self._sockets is None:
                self.open()
            assert self._sockets is not None
            error = send(self._sockets[1], self._keys.seal(payload), *self._group)
        except OSError as raised:
            error = raised
        if error is not None:
            self._complain(error)
            if isinstance(error, InterfaceGone):
                self.close()
        elif self._failures:
            self._failures = 0
            MEMBERSHIP.info("Membership recovery was successful.")

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
                self._refused(datagram, source.host)
            else:
                self._received(payload, source.host)

    def _refused(self, datagram: bytes, host: str) -> None:
        # Anybody can send anything to a group: this is no error of ours, and no datagram is a line.
        if datagram.startswith(_FAMILY) and not datagram.startswith(HEARTBEAT_MAGIC):
            # A doctor that looks around, or a later version: nothing is wrong.
            return
        if not datagram.startswith(HEARTBEAT_MAGIC):
            self._repeats.warn(
                RECEIVER,
                logging.WARNING,
                host,
                "Discarded the package from %s, invalid header. Something else uses this group",
                host,
            )
        elif datagram.startswith(HEARTBEAT_MAGIC + self._keys.key_id):
            self._repeats.warn(
                RECEIVER,
                logging.WARNING,
                host,
                "Failed to verify a heartbeat from %s: it was not signed with our secret",
                host,
            )
        elif host not in self._strangers and len(self._strangers) < LOG_REPEATS_MAX:
            # Clusters may well share a group: once is enough.
            self._strangers[host] = None
            MEMBERSHIP.info(
                "Heartbeats from %s are of another cluster, or of this one with another secret",
                host,
            )

    def _complain(self, error: OSError) -> None:
        self._failures += 1
        if self._failures == 1:
            MEMBERSHIP.warning("Multicasting is not functional: %s. Trying again.", error)
        else:
            self._repeats.warn(
                MEMBERSHIP,
                logging.INFO,
                "recovery",
                "Recovery attempt number %d failed (%s). Trying again with the next heartbeat.",
                self._failures - 1,
                error,
            )
