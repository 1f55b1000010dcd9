"""
Listening to the group for some seconds, and probing it meanwhile.

Three ears: the socket that a member would have; on Linux, where permitted, the interface itself,
as ``tcpdump`` hears it, before any firewall; and, once somebody has fallen silent, the group again
after leaving and joining it, which makes switches send it here anew.

*Source*: packet(7); bpf(4) in the kernel's ``networking/filter.rst``.
"""

from __future__ import annotations

import errno
import secrets
import select
import socket
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from replsession.channel.multicast import drain, open_sockets, send
from replsession.cli.doctor import probing
from replsession.cli.doctor.facts import (
    Failure,
    Heard,
    Joined,
    OnWire,
    OtherDoctor,
    Question,
)
from replsession.cli.doctor.probing import Datagram, Probe
from replsession.cli.doctor.system import joined
from replsession.identity import Address
from replsession.security.keys import ClusterKeys

PROBE_INTERVAL_S: Final = 0.5
"""As often as a member sends a heartbeat."""
SOURCES_MAX: Final = 256
"""Hosts and kinds that are told apart; a network with more is a flood."""
REJOIN_S: Final = 2.0
"""How long the group is listened to after it was joined anew: four heartbeats."""
_ETH_P_IP: Final = 0x0800
_PACKET_OUTGOING: Final = 4
_SO_ATTACH_FILTER: Final = 26
_IP_BYTES_MIN: Final = 20
_PACKETS_AT_ONCE_MAX: Final = 64


@dataclass(slots=True)
class _Source:
    """What was counted of one host and kind."""

    first_s: float
    last_s: float = 0.0
    sizes: list[int] = field(default_factory=list)
    datagrams: int = 0
    receivers: dict[int, None] = field(default_factory=dict)

    def count(self, size: int, at_s: float, receiver: Address | None) -> None:
        self.datagrams += 1
        self.last_s = at_s
        self.sizes = [min([size, *self.sizes]), max([size, *self.sizes])]
        if receiver is not None and len(self.receivers) < SOURCES_MAX:
            self.receivers[receiver.port] = None


class Listening:
    """
    One time of listening.

    Args:
        asked: Group, and for how long.
        address: This host's address on the interface to use.
        interface: Name of that interface; None: not known.
        keys: Of the cluster that was asked about.
    """

    def __init__(
        self, asked: Question, address: str, interface: str | None, keys: ClusterKeys
    ) -> None:
        self._asked = asked
        self._address = address
        self._interface = interface
        self._keys = keys
        self._run = secrets.token_bytes(probing.RUN_BYTES)
        self._began = time.monotonic()
        self._sources: dict[tuple[str, str, bytes], _Source] = {}
        self._wire: Counter[str] = Counter()
        self._doctors: dict[bytes, OtherDoctor] = {}
        self.failed: Failure | None = None
        self.send_failed: Failure | None = None
        self.sent = 0
        self.heard_itself = 0
        self.joined: tuple[Joined, ...] | None = None
        self.on_wire: tuple[OnWire, ...] | None = None
        self.rejoined_hears: tuple[str, ...] = ()

    @property
    def heard(self) -> tuple[Heard, ...]:
        """What was heard, by host and kind."""
        return tuple(
            Heard(
                host,
                kind,
                source.datagrams,
                source.sizes[0],
                source.sizes[1],
                source.first_s,
                source.last_s,
                key_id.hex(),
                tuple(source.receivers),
            )
            for (host, kind, key_id), source in sorted(self._sources.items())
        )

    @property
    def doctors(self) -> tuple[OtherDoctor, ...]:
        """Other doctors that were heard."""
        return tuple(self._doctors.values())

    def run(self) -> None:
        """Listen; what the system refuses is kept as a fact."""
        try:
            receiving, sending = self._open()
        except OSError as error:
            self.failed = failure_of(error)
            return
        wire = packets_of(self._interface, self._asked.group) if self._interface else None
        try:
            self.joined = joined()
            self._began = time.monotonic()
            self._listen(receiving, sending, wire, self._asked.seconds)
        finally:
            for sock in (receiving, sending, wire):
                if sock is not None:
                    sock.close()
        if wire is not None:
            self.on_wire = tuple(OnWire(host, n) for host, n in sorted(self._wire.items()))
        self._join_anew()

    def _open(self) -> tuple[socket.socket, socket.socket]:
        return open_sockets(self._asked.group, self._asked.port, self._address)

    def _listen(
        self,
        receiving: socket.socket,
        sending: socket.socket,
        wire: socket.socket | None,
        seconds: float,
    ) -> None:
        ears = [receiving] if wire is None else [receiving, wire]
        now = time.monotonic()
        end, probe_at = now + seconds, now
        while (now := time.monotonic()) < end:
            if now >= probe_at:
                probe_at = now + PROBE_INTERVAL_S
                self._probe(sending)
            readable, _, _ = select.select(ears, [], [], max(0.0, min(end, probe_at) - now))
            if receiving in readable:
                self._hear(receiving)
            if wire is not None and wire in readable:
                self._wire.update(sources_on(wire, self._asked.port))

    def _hear(self, receiving: socket.socket) -> None:
        at_s = time.monotonic() - self._began
        for datagram, source in drain(receiving):
            told = probing.told_apart(datagram, source.host, self._keys)
            if told.kind == "probe" and told.probe is not None:
                self._probed(told.probe, source.host)
            elif told.kind != "other probe":
                self._count(told, source.host, len(datagram), at_s)

    def _count(self, told: Datagram, host: str, size: int, at_s: float) -> None:
        key = (host, told.kind, told.key_id)
        if key in self._sources or len(self._sources) < SOURCES_MAX:
            self._sources.setdefault(key, _Source(at_s)).count(size, at_s, told.receiver)

    def _probed(self, probe: Probe, host: str) -> None:
        if probe.run == self._run:
            self.heard_itself += 1
        elif probe.run in self._doctors or len(self._doctors) < SOURCES_MAX:
            ahead_s = probe.wall_ms / 1000 - time.time()
            doctor = OtherDoctor(host, probe.hears, probe.listened_ms / 1000, ahead_s)
            self._doctors[probe.run] = doctor

    def _probe(self, sending: socket.socket) -> None:
        listened_ms = int((time.monotonic() - self._began) * 1000)
        probe = Probe(
            self._run, self.sent, int(time.time() * 1000), listened_ms, self._what_it_hears()
        )
        datagram = probing.sealed(probe, self._keys)
        error = send(sending, datagram, self._asked.group, self._asked.port)
        if error is None:
            self.sent += 1
        else:
            self.send_failed = failure_of(error)

    def _what_it_hears(self) -> tuple[tuple[str, int], ...]:
        hears: Counter[str] = Counter()
        for (host, _, _), source in self._sources.items():
            hears[host] += source.datagrams
        for doctor in self._doctors.values():
            hears[doctor.host] += 1
        return tuple(sorted(hears.items()))

    def _silent(self) -> list[str]:
        """Return hosts that were heard and have been silent for as long as a dead member."""
        ended_s = time.monotonic() - self._began
        return [
            heard.host
            for heard in self.heard
            if heard.kind == "ours"
            and heard.is_missing(ended_s - heard.last_s, self._asked.drop_after_s)
        ]

    def _join_anew(self) -> None:
        silent = self._silent()
        if not silent:
            return
        try:
            receiving, sending = self._open()
        except OSError as error:
            self.failed = failure_of(error)
            return
        before = {host: self._datagrams_of(host) for host in silent}
        with receiving, sending:
            self._listen(receiving, sending, None, REJOIN_S)
        again = tuple(host for host in silent if self._datagrams_of(host) > before[host])
        self.rejoined_hears = again

    def _datagrams_of(self, host: str) -> int:
        return sum(
            source.datagrams
            for (of, kind, _), source in self._sources.items()
            if of == host and kind == "ours"
        )


def failure_of(error: OSError) -> Failure:
    """Return what the system refused."""
    return Failure(errno.errorcode.get(error.errno or 0, "unknown"), str(error.strerror or error))


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
    import ctypes

    (address,) = struct.unpack("!I", socket.inet_aton(group))
    steps = [(0x20, 0, 0, 16), (0x15, 0, 1, address), (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    filter_ = struct.pack("HP", len(steps), ctypes.addressof(program))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)
