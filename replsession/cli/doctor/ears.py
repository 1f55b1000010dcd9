"""
Ears beside a member's own: what arrives at an interface, and the group on the other interfaces.

*Source*: packet(7); bpf(4) in the kernel's ``networking/filter.rst``.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from collections.abc import Mapping
from typing import Final

from replsession.channel.multicast import open_sockets

INTERFACES_MAX: Final = 16
"""Other interfaces that are listened on; a host with more has them for containers."""
_ETH_P_IP: Final = 0x0800
_PACKET_OUTGOING: Final = 4
_SO_ATTACH_FILTER: Final = 26
_IP_BYTES_MIN: Final = 20
_PACKETS_AT_ONCE_MAX: Final = 64


def group_elsewhere(
    group: str, port: int, interfaces: Mapping[str, str]
) -> dict[socket.socket, str]:
    """
    Return a socket that hears the group on each of some interfaces, and the interface's name.

    On Linux only: elsewhere such a socket hears what comes in on any interface.

    Args:
        group: IPv4 multicast address.
        port: 1 to 65535.
        interfaces: Addresses by names; what cannot be joined is left out.
    """
    ears: dict[socket.socket, str] = {}
    if sys.platform != "linux":
        return ears
    for name, address in list(interfaces.items())[:INTERFACES_MAX]:
        try:
            receiving, sending = open_sockets(group, port, address)
        except OSError:
            # No member could be there either.
            continue
        sending.close()
        ears[receiving] = name
    return ears


def packets_of(interface: str, group: str) -> socket.socket | None:
    """
    Return a socket that hears what arrives at an interface for a group, as ``tcpdump`` does.

    None, where the system or our rights do not allow it. The kernel drops all other traffic before
    it wakes us.
    """
    if sys.platform != "linux":
        return None
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    except OSError:
        return None
    try:
        _only_to(group, sock)
        sock.setblocking(False)
        sock.bind((interface, _ETH_P_IP))
    except OSError:
        sock.close()
        return None
    return sock


def sources_on(wire: socket.socket, port: int) -> list[str]:
    """Return the source of each datagram to a port that has arrived, without waiting."""
    sources = []
    for _ in range(_PACKETS_AT_ONCE_MAX):
        try:
            packet, address = wire.recvfrom(2048)
        except OSError:
            # Nothing more is there, or the interface is down now.
            break
        if address[2] != _PACKET_OUTGOING and (source := source_in(packet, port)):
            sources.append(source)
    return sources


def source_in(packet: bytes, port: int) -> str | None:
    """Return the source of an IPv4 packet that is a UDP datagram to a port, else None."""
    if len(packet) < _IP_BYTES_MIN or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_UDP:
        return None
    head = (packet[0] & 0xF) * 4
    if len(packet) < head + 4 or struct.unpack_from("!H", packet, head + 2)[0] != port:
        return None
    return socket.inet_ntoa(packet[12:16])


def _only_to(group: str, sock: socket.socket) -> None:
    """Let the kernel pass only packets to a group: load bytes 16 to 19, compare, take or drop."""
    (address,) = struct.unpack("!I", socket.inet_aton(group))
    steps = [(0x20, 0, 0, 16), (0x15, 0, 1, address), (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    filter_ = struct.pack("HP", len(steps), ctypes.addressof(program))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)
