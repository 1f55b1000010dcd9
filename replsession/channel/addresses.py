"""
Where a member's receiver listens: an address that the others can dial, and a free port.

``auto`` asks the kernel which address it would send to the group from, since that is the network
where the other members are. Without any route the host's only address is taken; if there are
several, the user has to say which, and the error names them.

*Source*: Tomcat ``ReceiverBase`` (``address="auto"``, ``autoBind``), but for its ``auto``, which is
the address that the host's own name resolves to: on Debian 127.0.1.1, which nobody else can dial.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Final, NoReturn

from replsession.errors import ConfigError
from replsession.identity import Address

AUTO: Final = "auto"
LOOPBACK: Final = "127.0.0.1"

_ALLOWED: Final = (
    '"auto", an IPv4 address of this host that other members can dial, '
    "or the name of a network interface"
)
_FIX: Final = "set bind=… (REPLSESSION_BIND) to an address or interface that the other members see"
_ELSEWHERE: Final = ("203.0.113.1", 9)
"""Without a group: an address that only the default route leads to (RFC 5737, TEST-NET-3)."""
_NOT_DIALLED: Final = (
    ipaddress.IPv4Network("0.0.0.0/8"),
    ipaddress.IPv4Network("224.0.0.0/3"),
)
"""Wildcard, multicast, reserved and broadcast addresses."""
_INTERFACE_CHARACTERS_MAX: Final = 15
_SIOCGIFFLAGS: Final = 0x8913
_SIOCGIFADDR: Final = 0x8915
_IFF_UP: Final = 0x1
_REQUEST_BYTES: Final = 256
"""More than any ``struct ifreq``, of which name, flags and address are the first 24 bytes."""


class NoAddress(OSError):
    """This host has, at the moment, no address that fits; the text says what to set."""


def check_bind(bind: str, field: str = "bind") -> None:
    """
    Refuse what can never be an address to listen on, without asking the system.

    Args:
        bind: ``"auto"``, an IPv4 address, or the name of a network interface.
        field: Name of the setting, for the message.

    Raises:
        ConfigError: It is none of the three; or a wildcard or multicast address, which the other
            members cannot dial; or an IPv6 address.
    """
    if not isinstance(bind, str):
        raise ConfigError(field, bind, _ALLOWED)
    address = _ipv4(bind)
    if address is None:
        if not _may_be_interface(bind):
            raise ConfigError(field, bind, _ALLOWED)
    elif not can_be_dialled(address):
        raise ConfigError(field, bind, _ALLOWED)


def can_be_dialled(address: ipaddress.IPv4Address) -> bool:
    """Tell whether a member may listen there: not a wildcard, multicast or broadcast address."""
    return not any(address in network for network in _NOT_DIALLED)


def resolve_bind(bind: str, multicast: tuple[str, int] | None, *, loopback_allowed: bool) -> str:
    """
    Return the IPv4 address that a member listens on and tells the others.

    Args:
        bind: ``"auto"``, an IPv4 address, or the name of a network interface.
        multicast: Group and port of the heartbeats, or None for a cluster without them.
        loopback_allowed: Whether ``auto`` may end at a loopback address, which only members on
            this host can dial. An address or interface that was asked for by name is not judged.

    Raises:
        ConfigError: As :func:`check_bind`.
        NoAddress: This host has no such address now; it may have one later.
    """
    check_bind(bind)
    if bind == AUTO:
        return _automatic(multicast or _ELSEWHERE, loopback_allowed)
    if _ipv4(bind) is not None:
        return bind
    return _address_of_interface(bind)


def has_address(host: str) -> bool:
    """Tell whether an interface has this address, be it up or down; only Linux says so."""
    if sys.platform != "linux":
        return False
    answers = [_asked(name, _SIOCGIFADDR) for _, name in socket.if_nameindex()]
    return host in [_address_in(answer) for answer in answers if answer is not None]


def listen(host: str, port: int, auto_bind: int, backlog: int) -> socket.socket:
    """
    Return a listening socket, which does not block, on the first free port.

    Args:
        host: IPv4 address of this host.
        port: First port tried, 1 to 65535; 0 leaves the choice to the kernel.
        auto_bind: How many ports are tried, from *port* on; 1 means only that one.
        backlog: Connections that may wait to be accepted.

    Raises:
        NoAddress: This host does not have the address.
        OSError: All ports are taken, or the system refuses.
    """
    last = min(port + auto_bind - 1, 65535) if port else 0
    for candidate in range(port, last + 1):
        address = Address(host, candidate)
        try:
            return _listening(address, backlog)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise _explained(error, address) from None
    ports = f"port {port} is" if port == last else f"ports {port} to {last} are all"
    problem = f"{ports} taken on {host}; set another port=… (REPLSESSION_PORT)"
    raise OSError(errno.EADDRINUSE, problem)


def _listening(address: Address, backlog: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if os.name == "posix":
            # Connections of a former process that linger on the port do not count as taking it;
            # a socket that listens does.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        # Two processes may both have bound the port by now; only the first to listen has it.
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock


def _explained(error: OSError, address: Address) -> OSError:
    if error.errno == errno.EADDRNOTAVAIL:
        return NoAddress(error.errno, f"this host does not have the address {address.host}; {_FIX}")
    return OSError(error.errno, f"cannot listen on {address}: {error.strerror}")


def _ipv4(text: str) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(text)
    except ValueError:
        return None


def _may_be_interface(name: str) -> bool:
    if not 0 < len(name) <= _INTERFACE_CHARACTERS_MAX or not name.isascii():
        return False
    if "/" in name or ":" in name or not name.isprintable() or " " in name:
        return False
    return not name.replace(".", "").isdigit()


def _automatic(destination: tuple[str, int], loopback_allowed: bool) -> str:
    address = _source_towards(destination)
    if loopback_allowed:
        return address or LOOPBACK
    address = address or _only_address()
    if ipaddress.IPv4Address(address).is_loopback:
        _refuse(f"the route to {destination[0]} stays on this host's loopback interface")
    return address


def _source_towards(destination: tuple[str, int]) -> str | None:
    """Return the address that the kernel would send from; None without a route. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(destination)
        except OSError as error:
            if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
                return None
            raise
        host: str = sock.getsockname()[0]
        return host


def _only_address() -> str:
    """Return the single address of the host that others can dial."""
    addresses = dict(_addresses())
    if not addresses:
        _refuse("this host has no network address but loopback")
    if len(addresses) > 1:
        listed = ", ".join(f"{address} ({name})" for name, address in addresses.items())
        _refuse(f"there is no route to the others, and this host has several addresses: {listed}")
    return next(iter(addresses.values()))


def _addresses() -> Iterator[tuple[str, str]]:
    """Yield name and address of each interface that is up and not a loopback one."""
    if sys.platform != "linux":
        return
    for _, name in socket.if_nameindex():
        flags = _asked(name, _SIOCGIFFLAGS)
        address = _asked(name, _SIOCGIFADDR)
        if flags is None or address is None or not struct.unpack_from("H", flags, 16)[0] & _IFF_UP:
            continue
        text = _address_in(address)
        if not ipaddress.IPv4Address(text).is_loopback:
            yield name, text


def _address_of_interface(name: str) -> str:
    if sys.platform != "linux":
        _refuse(f"interface names such as {name!r} are understood on Linux only")
    if name not in [known for _, known in socket.if_nameindex()]:
        _refuse(f"this host has no network interface {name!r}")
    answer = _asked(name, _SIOCGIFADDR)
    if answer is None:
        _refuse(f"the network interface {name!r} has no IPv4 address")
    return _address_in(answer)


def _asked(name: str, request: int) -> bytes | None:
    """Return the kernel's answer about an interface, or None if it knows none (netdevice(7))."""
    if sys.platform != "linux":
        return None
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        question = struct.pack(f"{_REQUEST_BYTES}s", os.fsencode(name))
        try:
            return fcntl.ioctl(sock.fileno(), request, question)
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENXIO):
                return None
            raise


def _address_in(answer: bytes) -> str:
    return socket.inet_ntoa(answer[20:24])


def _refuse(problem: str) -> NoReturn:
    raise NoAddress(errno.EADDRNOTAVAIL, f"{problem}; {_FIX}")
