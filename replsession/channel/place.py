"""
The place of a member: the address of this host at which the others reach it.

A host may get another address while it runs: by DHCP, or when a container's network is made anew.
Whoever listens on the old one is not found any more, so the member moves. It stays while its
address is only out of order, as when a cable is pulled: the others know it there.
"""

from __future__ import annotations

import errno
import socket

from replsession.channel.addresses import has_address, listen, resolve_bind
from replsession.config import ClusterSettings


class Place:
    """
    Where one member is.

    Args:
        settings: What was asked for.
        backlog: Connections that may wait to be accepted.
    """

    def __init__(self, settings: ClusterSettings, backlog: int) -> None:
        self._settings = settings
        self._backlog = backlog
        self.host = ""
        """The address of this host; empty until the first :meth:`bind`."""

    def bind(self) -> socket.socket:
        """
        Return a socket that listens where the others can dial.

        Raises:
            OSError: an address or a port is not to be had now.
        """
        host = self._wanted()
        receiver = listen(host, self._settings.port, self._settings.auto_bind, self._backlog)
        self.host = host
        return receiver

    def bind_anew(self) -> socket.socket | None:
        """
        Return a new socket if this host has lost the address, and has another one that fits.

        Raises:
            OSError: it has another one, but no port of it is free.
        """
        if _can_be_bound(self.host) or has_address(self.host):
            return None
        try:
            host = self._wanted()
        except OSError:
            # None yet; this is asked again soon.
            return None
        return None if host == self.host else self.bind()

    def _wanted(self) -> str:
        settings = self._settings
        if settings.on_this_host and settings.bind == "auto":
            return "127.0.0.1"
        return resolve_bind(
            settings.bind, settings.multicast, loopback_allowed=settings.on_this_host
        )


def _can_be_bound(host: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((host, 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True
