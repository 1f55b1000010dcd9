"""
What the system says of its network: interfaces, routes, groups, ports. Nothing is changed.

From ``/proc``, ``/sys`` and netdevice(7), and not from the ``ip`` command, which small container
images do not have. On other systems than Linux only what sockets tell is known.

*Source*: proc(5); netdevice(7); Linux ``igmp.c`` and ``fib_trie.c`` (words as the host orders
bytes, so an address reads backwards on most machines).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from typing import Final

from replsession.cli.doctor import macos
from replsession.cli.doctor.facts import Interface, Joined, Route

IFF_UP: Final = 0x1
IFF_LOOPBACK: Final = 0x8
IFF_POINTOPOINT: Final = 0x10
IFF_MULTICAST: Final = 0x1000
_ROUTE_IS_UP: Final = 0x1
_ROUTE_IS_REJECT: Final = 0x200
_ARP_IS_COMPLETE: Final = 0x2
_SIOCGIFCONF: Final = 0x8912
_SIOCGIFNETMASK: Final = 0x891B
_IFREQ_BYTES: Final = 40 if struct.calcsize("P") == 8 else 32
_ADDRESSES_MAX: Final = 256
"""Addresses of a host that are looked at; a host with more has them for other purposes."""


def interfaces() -> tuple[Interface, ...]:
    """Return the network interfaces; none where the system does not say."""
    if sys.platform == "darwin":
        return macos.interfaces()
    if sys.platform != "linux":
        return ()
    addresses = _addresses()
    return tuple(_interface(name, addresses) for _, name in socket.if_nameindex())


def interface_of(
    name: str, flags: int, carrier: str, addresses: Sequence[tuple[str, str]]
) -> Interface:
    """
    Return one interface.

    Args:
        name: Its name.
        flags: As in netdevice(7).
        carrier: ``1``, ``0``, or nothing while it is down.
        addresses: Names and addresses with networks, of all interfaces.
    """
    return Interface(
        name,
        tuple(address for of, address in addresses if of.partition(":")[0] == name),
        is_up=bool(flags & IFF_UP),
        has_carrier=carrier != "0",
        has_multicast=bool(flags & IFF_MULTICAST),
        is_loopback=bool(flags & IFF_LOOPBACK),
        is_tunnel=bool(flags & IFF_POINTOPOINT),
    )


def routes() -> tuple[Route, ...] | None:
    """Return the routes of the main table; None where the system does not say."""
    text = _read(Path("/proc/net/route"))
    return None if text is None else tuple(routes_in(text))


def routes_in(text: str) -> Iterator[Route]:
    """Yield the routes in ``/proc/net/route`` that lead anywhere."""
    for line in text.splitlines()[1:]:
        interface, network, _, flags, *_, mask = line.split()[:8]
        if int(flags, 16) & _ROUTE_IS_UP and not int(flags, 16) & _ROUTE_IS_REJECT:
            bits = int(mask, 16).bit_count()
            yield Route(interface, str(IPv4Network(f"{_address(network)}/{bits}")))


def joined() -> tuple[Joined, ...] | None:
    """Return the groups that somebody on this host has joined; None where it is not said."""
    text = _read(Path("/proc/net/igmp"))
    return None if text is None else tuple(joined_in(text))


def joined_in(text: str) -> Iterator[Joined]:
    """Yield the groups in ``/proc/net/igmp``."""
    interface = ""
    for line in text.splitlines()[1:]:
        words = line.split()
        if line[:1].isdigit():
            interface = words[1].removesuffix(":")
        elif words:
            yield Joined(interface, _address(words[0]))


def towards(group: str, port: int) -> str | OSError | None:
    """
    Return the address that the kernel would send to a group from; None without a route.

    An error: there is one, of a type that forbids the way (``prohibit``, ``blackhole``).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((group, port))
        except OSError as error:
            return error if error.errno in (errno.EACCES, errno.EINVAL) else None
        host: str = sock.getsockname()[0]
        return host


def has_no_neighbour(host: str) -> bool:
    """
    Tell whether the kernel asks the network in vain who has an address.

    *Source*: arp(7); Linux ``if_arp.h``: without ATF_COM an entry is not complete.
    """
    return is_asked_for(host, _read(Path("/proc/net/arp")) or "")


def is_asked_for(host: str, text: str) -> bool:
    """Tell whether an address stands in ``/proc/net/arp`` without an answer."""
    entries = [line.split() for line in text.splitlines()[1:]]
    flags = [int(entry[2], 16) for entry in entries if len(entry) > 2 and entry[0] == host]
    return bool(flags) and not any(flag & _ARP_IS_COMPLETE for flag in flags)


def memberships_max() -> int | None:
    """Return how many groups one socket may join; None where the system does not say."""
    text = _read(Path("/proc/sys/net/ipv4/igmp_max_memberships"))
    return None if text is None else int(text)


def ports_taken(host: str, first: int, count: int) -> tuple[int, ...]:
    """
    Return the TCP ports that a receiver could not have, without listening on any.

    A port that is bound and not listened on is in nobody's way (``SO_REUSEADDR``).
    """
    last = min(first + count - 1, 65535)
    return tuple(port for port in range(first, last + 1) if _is_taken(host, port))


def drops_without_way_back(interface: str) -> bool:
    """
    Tell whether the kernel drops what comes over an interface from hosts it would not answer there.

    *Source*: Linux ``ip-sysctl.rst``: the greater of both ``rp_filter`` counts.
    """
    folder = Path("/proc/sys/net/ipv4/conf")
    values = [_read(folder / name / "rp_filter") or "0" for name in ("all", interface)]
    return max(map(int, values)) > 0


def is_container() -> bool:
    """Tell whether this process runs in a container of Docker, Podman or Kubernetes."""
    marks = ("/.dockerenv", "/run/.containerenv")
    return "KUBERNETES_SERVICE_HOST" in os.environ or any(Path(mark).exists() for mark in marks)


def _is_taken(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _interface(name: str, addresses: Sequence[tuple[str, str]]) -> Interface:
    folder = Path("/sys/class/net") / name
    flags = int((_read(folder / "flags") or "0x0").strip(), 16)
    return interface_of(name, flags, (_read(folder / "carrier") or "").strip(), addresses)


def _addresses() -> list[tuple[str, str]]:
    """Return name and address, with its network, of every IPv4 address of the host."""
    import array
    import fcntl

    room = array.array("B", bytes(_ADDRESSES_MAX * _IFREQ_BYTES))
    place, length = room.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock.fileno(), _SIOCGIFCONF, struct.pack("iP", length, place))
        filled = struct.unpack_from("i", answer)[0]
        found = []
        for start in range(0, filled, _IFREQ_BYTES):
            entry = room[start : start + _IFREQ_BYTES].tobytes()
            asked = fcntl.ioctl(sock.fileno(), _SIOCGIFNETMASK, entry)
            host, mask = socket.inet_ntoa(entry[20:24]), socket.inet_ntoa(asked[20:24])
            name = entry[:16].rstrip(b"\0").split(b"\0")[0].decode("utf-8", "replace")
            found.append((name, str(IPv4Interface(f"{host}/{mask}"))))
    return found


def _address(word: str) -> str:
    return socket.inet_ntoa(struct.pack("=I", int(word, 16)))


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        # Not Linux; or no carrier is told of an interface that is down.
        return None
