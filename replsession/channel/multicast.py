"""
Sockets for heartbeats: everybody in the group hears everybody, several processes of a host too.

The receiving socket is bound to the group's address and joined on one interface. So it hears
neither unicast datagrams nor what other programs joined elsewhere, and with ``SO_REUSEADDR`` every
process of a host that does the same gets its own copy of each datagram.

What a network does meanwhile (measured on Linux):

* interface down: sending says ``ENETUNREACH``; it goes on by itself when the interface is up again.
* address taken away: the same, until the address is back. A new address needs new sockets.
* interface made anew: sending says ``ENODEV`` for ever, and nothing is heard: new sockets are
  needed. This is :class:`InterfaceGone`.

Nothing here answers a datagram.

*Source*: RFC 1112 (IPv4 multicast); ip(7); Tomcat ``McastServiceImpl`` (TTL, loop-back mode).
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from typing import Final

from replsession.errors import ConfigError
from replsession.identity import Address
from replsession.security.keys import HEARTBEAT_BYTES_MAX

DATAGRAMS_AT_ONCE_MAX: Final = 64
"""Bound on one reading, so that a flood of datagrams leaves the loop to others in between."""

_HOPS: Final = 1
"""Heartbeats stay in their network; a router between members needs a reason and a setting."""
_IP_MULTICAST_ALL: Final = 49
"""From Linux ``in.h``: 0 means only groups joined on this socket; Python has no name for it."""
_GONE: Final = frozenset({errno.ENODEV, errno.ENXIO, errno.EADDRNOTAVAIL})
_PASSING: Final = frozenset(
    {
        errno.ECONNREFUSED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOBUFS,
        errno.ENOMEM,
    }
)


class InterfaceGone(OSError):
    """The interface that the sockets belong to is not there any more: close them, open new ones."""


def check_group(group: str, port: int, field: str = "multicast") -> None:
    """
    Refuse what no heartbeat can be sent to.

    Args:
        group: IPv4 multicast address.
        port: 1 to 65535.
        field: Name of the setting, for the message.

    Raises:
        ConfigError: It is anything else; IPv6 groups are not supported.
    """
    if not _is_group(group):
        raise ConfigError(field, group, "an IPv4 multicast address, 224.0.0.0 to 239.255.255.255")
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        raise ConfigError(field, port, "a port, 1 to 65535")


def open_sockets(
    group: str, port: int, interface_address: str
) -> tuple[socket.socket, socket.socket]:
    """
    Return a receiving and a sending socket for a group, neither of which blocks.

    Args:
        group: IPv4 multicast address.
        port: 1 to 65535; the same on all members.
        interface_address: IPv4 address of this host; names the interface, and is the source
            address of what is sent. ``127.0.0.1`` keeps the group inside this host.

    Raises:
        ConfigError: The group is none.
        InterfaceGone: No interface of this host has that address.
        OSError: The port belongs to a program that does not share it, or the system refuses.
    """
    check_group(group, port)
    receiving = _datagram_socket()
    sending = _datagram_socket()
    try:
        _prepare_receiving(receiving, group, port, interface_address)
        _prepare_sending(sending, interface_address)
    except OSError as error:
        receiving.close()
        sending.close()
        raise _explained(error, interface_address) from None
    return receiving, sending


def drain(sock: socket.socket, most: int = DATAGRAMS_AT_ONCE_MAX) -> list[tuple[bytes, Address]]:
    """
    Return what has arrived, each datagram with its source, without waiting.

    A datagram that is longer than any heartbeat comes cut to ``HEARTBEAT_BYTES_MAX + 1`` bytes, so
    that no seal fits it.

    Args:
        sock: The receiving socket.
        most: Datagrams and errors after which this returns; what is left wakes the loop again.

    Raises:
        InterfaceGone: The interface is not there any more.
        OSError: The socket is of no use, for example closed; never for what may pass.
    """
    arrived: list[tuple[bytes, Address]] = []
    for _ in range(most):
        try:
            datagram, (host, port) = sock.recvfrom(HEARTBEAT_BYTES_MAX + 1)
        except BlockingIOError:
            break
        except OSError as error:
            if error.errno not in _PASSING:
                raise _explained(error) from None
        else:
            arrived.append((datagram, Address(host, port)))
    return arrived


def send(sock: socket.socket, payload: bytes, group: str, port: int) -> OSError | None:
    """
    Send one datagram to the group; return what went wrong instead of raising it.

    Args:
        sock: The sending socket.
        payload: A sealed heartbeat.
        group: IPv4 multicast address.
        port: 1 to 65535.

    Returns:
        None; or :class:`InterfaceGone`, after which the sockets are of no use; or another
        ``OSError``, after which the next heartbeat may get through.
    """
    try:
        sock.sendto(payload, (group, port))
    except OSError as error:
        return _explained(error)
    return None


def _is_group(group: object) -> bool:
    try:
        return isinstance(group, str) and ipaddress.IPv4Address(group).is_multicast
    except ValueError:
        return False


def _datagram_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    return sock


def _prepare_receiving(sock: socket.socket, group: str, port: int, interface_address: str) -> None:
    # For a multicast address SO_REUSEADDR is enough, on BSD as on Linux. SO_REUSEPORT would only
    # add the demand that all processes run as one user.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sys.platform == "linux":
        # Else a group that any program joined on another interface is heard here as well.
        sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    sock.bind((group, port))
    membership = socket.inet_aton(group) + socket.inet_aton(interface_address)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)


def _prepare_sending(sock: socket.socket, interface_address: str) -> None:
    sock.bind((interface_address, 0))
    interface = socket.inet_aton(interface_address)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, _HOPS)


def _explained(error: OSError, interface_address: str | None = None) -> OSError:
    """Return an :class:`InterfaceGone` if that is what the error says, else the error itself."""
    if error.errno not in _GONE:
        return error
    which = "the interface" if interface_address is None else f"an interface {interface_address}"
    return InterfaceGone(error.errno, f"this host does not have {which} (any more)")
