"""
Listening to the group for some seconds, and probing it meanwhile.

Four ears: the socket that a member would have; on Linux the group on all other interfaces, and,
where permitted, the interface itself, as ``tcpdump`` hears it, before any firewall; and, once
somebody has fallen silent, the group again after leaving and joining it, which makes switches send
it here anew.
"""

from __future__ import annotations

import errno
import secrets
import select
import socket
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from replsession.channel.multicast import InterfaceGone, drain, open_sockets, send
from replsession.cli.doctor import probing
from replsession.cli.doctor.ears import group_elsewhere, packets_of, sources_on
from replsession.cli.doctor.facts import (
    Elsewhere,
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
"""Members and kinds that are told apart; a network with more is a flood."""
REJOIN_S: Final = 2.0
"""How long the group is listened to after it was joined anew: four heartbeats."""


@dataclass(slots=True)
class _Source:
    """What was counted of one member."""

    first_s: float
    last_s: float = 0.0
    sizes: list[int] = field(default_factory=list)
    datagrams: int = 0

    def count(self, size: int, at_s: float) -> None:
        self.datagrams += 1
        self.last_s = at_s
        self.sizes = [min([size, *self.sizes]), max([size, *self.sizes])]


@dataclass(frozen=True, slots=True, order=True)
class _Who:
    """Of whom datagrams are counted; port 0: its receiver is not known."""

    host: str
    kind: str
    key_id: bytes
    port: int


class Listening:
    """
    One time of listening.

    Args:
        asked: Group, and for how long.
        address: This host's address on the interface to use.
        interface: Name of that interface; None: not known.
        keys: Of the cluster that was asked about.
        others: Addresses of the other interfaces, by their names.
    """

    def __init__(
        self,
        asked: Question,
        address: str,
        interface: str | None,
        keys: ClusterKeys,
        others: Mapping[str, str] | None = None,
    ) -> None:
        self._asked = asked
        self._address = address
        self._interface = interface
        self._keys = keys
        self._run = secrets.token_bytes(probing.RUN_BYTES)
        self._began = time.monotonic()
        self._others = others or {}
        self._sources: dict[_Who, _Source] = {}
        self._elsewhere: Counter[tuple[str, str]] = Counter()
        self._wire: Counter[str] = Counter()
        self._doctors: dict[bytes, OtherDoctor] = {}
        self._probed_s: dict[bytes, float] = {}
        self.failed: Failure | None = None
        self.send_failed: Failure | None = None
        self.sent = 0
        self.heard_itself = 0
        self.joined: tuple[Joined, ...] | None = None
        self.on_wire: tuple[OnWire, ...] | None = None
        self.rejoined_hears: tuple[str, ...] = ()

    @property
    def heard(self) -> tuple[Heard, ...]:
        """What was heard, by member and kind."""
        return tuple(_heard(who, self._sources[who]) for who in sorted(self._sources))

    @property
    def elsewhere(self) -> tuple[Elsewhere, ...]:
        """Hosts whose heartbeats came in on other interfaces."""
        return tuple(Elsewhere(*where, n) for where, n in sorted(self._elsewhere.items()))

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
        others = group_elsewhere(self._asked.group, self._asked.port, self._others)
        try:
            self.joined = joined()
            self._began = time.monotonic()
            self._listen(receiving, sending, self._asked.seconds, wire, others)
        finally:
            for sock in (receiving, sending, wire, *others):
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
        seconds: float,
        wire: socket.socket | None = None,
        others: Mapping[socket.socket, str] | None = None,
    ) -> None:
        others = others or {}
        ears = [receiving, *others] if wire is None else [receiving, wire, *others]
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
            for sock in readable:
                if sock in others:
                    self._hear_elsewhere(sock, others[sock])

    def _hear_elsewhere(self, sock: socket.socket, interface: str) -> None:
        for datagram, source in _drained(sock):
            told = probing.told_apart(datagram, source.host, self._keys)
            if told.kind == "ours" and len(self._elsewhere) < SOURCES_MAX:
                self._elsewhere[interface, source.host] += 1

    def _hear(self, receiving: socket.socket) -> None:
        at_s = time.monotonic() - self._began
        for datagram, source in _drained(receiving):
            told = probing.told_apart(datagram, source.host, self._keys)
            if told.kind == "probe" and told.probe is not None:
                self._probed(told.probe, source.host)
            elif told.kind != "other probe":
                self._count(told, source.host, len(datagram), at_s)

    def _count(self, told: Datagram, host: str, size: int, at_s: float) -> None:
        port = told.receiver.port if told.receiver else 0
        who = _Who(host, told.kind, told.key_id, port)
        if who in self._sources or len(self._sources) < SOURCES_MAX:
            self._sources.setdefault(who, _Source(at_s)).count(size, at_s)

    def _probed(self, probe: Probe, host: str) -> None:
        if probe.run == self._run:
            self.heard_itself += 1
        elif probe.run in self._doctors or len(self._doctors) < SOURCES_MAX:
            ahead_s = probe.wall_ms / 1000 - time.time()
            doctor = OtherDoctor(host, probe.hears, probe.listened_ms / 1000, ahead_s)
            self._doctors[probe.run] = doctor
            self._probed_s[probe.run] = time.monotonic() - self._began

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
        """
        Return hosts that were heard lately, and datagrams of each; doctors first, as a probe has no
        room for all.
        """
        now_s = time.monotonic() - self._began
        hears: Counter[str] = Counter()
        for run, doctor in self._doctors.items():
            if now_s - self._probed_s[run] < self._asked.drop_after_s:
                hears[doctor.host] += 1
        for who, source in self._sources.items():
            if now_s - source.last_s < self._asked.drop_after_s:
                hears[who.host] += source.datagrams
        return tuple(hears.items())

    def _silent(self) -> list[_Who]:
        """Return members that were heard and have been silent for as long as a dead one."""
        ended_s = time.monotonic() - self._began
        return [
            who
            for who, source in self._sources.items()
            if who.kind == "ours"
            and _heard(who, source).is_missing(ended_s - source.last_s, self._asked.drop_after_s)
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
        before = {who: self._sources[who].datagrams for who in silent}
        with receiving, sending:
            self._listen(receiving, sending, REJOIN_S)
        self.rejoined_hears = tuple(
            f"{who.host}:{who.port}" for who in silent if self._sources[who].datagrams > before[who]
        )


def _heard(who: _Who, source: _Source) -> Heard:
    return Heard(
        who.host,
        who.kind,
        source.datagrams,
        source.sizes[0],
        source.sizes[1],
        source.first_s,
        source.last_s,
        who.key_id.hex(),
        (who.port,) if who.port else (),
    )


def _drained(sock: socket.socket) -> Sequence[tuple[bytes, Address]]:
    try:
        return drain(sock)
    except InterfaceGone:
        # What is sent fails as well, and that is told.
        return ()


def failure_of(error: OSError) -> Failure:
    """Return what the system refused."""
    return Failure(errno.errorcode.get(error.errno or 0, "unknown"), str(error.strerror or error))
