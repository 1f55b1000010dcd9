"""What a look at a machine has found: values only, from which everything else follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from typing import Final

HEARD_MIN: Final = 3
"""Datagrams after which a silence means something."""
MISSED_MIN: Final = 4
"""Datagrams that must be missing in a row."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was to be looked at: the settings that a member would have."""

    name: str
    group: str
    """Empty: the cluster has no multicast, only seeds."""
    port: int
    """Of the group."""
    bind: str = "auto"
    receiver_port: int = 4000
    auto_bind: int = 100
    on_this_host: bool = False
    has_secret: bool = True
    seconds: float = 5.0
    """How long the group was listened to."""
    drop_after_s: float = 3.0


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface."""

    name: str
    addresses: tuple[str, ...] = ()
    """With their networks, as ``10.0.0.5/24``."""
    is_up: bool = True
    has_carrier: bool = True
    has_multicast: bool = True
    is_loopback: bool = False
    is_tunnel: bool = False
    """It has one other end (a VPN's, as ``tun0``), and no network."""

    def has(self, address: str) -> bool:
        """Tell whether it has this address."""
        return any(str(IPv4Interface(own).ip) == address for own in self.addresses)

    def reaches(self, address: str) -> bool:
        """Tell whether an address is in one of its networks."""
        return any(IPv4Address(address) in IPv4Interface(own).network for own in self.addresses)


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the kernel's main table."""

    interface: str
    network: str
    """As ``10.0.0.0/24``."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A group that somebody on this host has joined on an interface."""

    interface: str
    group: str


@dataclass(frozen=True, slots=True)
class Heard:
    """What came from one member; of what is nobody's heartbeat, from one host."""

    host: str
    kind: str
    """``ours``, ``unlike`` (of our cluster, but in no format we know), ``other key`` (another
    secret or cluster name), ``forged`` (our key id, a wrong seal), ``other version``, ``tomcat``,
    ``unknown``."""
    datagrams: int
    bytes_least: int
    bytes_most: int
    first_s: float
    """Since the look began."""
    last_s: float
    key_id: str = ""
    """Public name of the key that it was sealed with, in hexadecimal."""
    receivers: tuple[int, ...] = ()
    """TCP port that its heartbeats name; none, if they name none that can be believed."""
    hint: str = ""
    """What its key fits, when it is nearly ours."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its receiver, as ``10.0.0.2:4000``."""
        return tuple(f"{self.host}:{port}" for port in self.receivers)

    def is_missing(self, missing_s: float, drop_after_s: float) -> bool:
        """
        Tell whether it has been gone for too long, by its own habit too: who sends every ten
        seconds is not missed after three.
        """
        if self.datagrams < HEARD_MIN:
            return False
        usual_s = (self.last_s - self.first_s) / (self.datagrams - 1)
        return missing_s > max(drop_after_s, MISSED_MIN * usual_s)


@dataclass(frozen=True, slots=True)
class OnWire:
    """What arrived at the interface from one host for the group, before any firewall."""

    host: str
    datagrams: int


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Heartbeats of this cluster that came in on another interface than a member would use."""

    interface: str
    host: str
    datagrams: int


@dataclass(frozen=True, slots=True)
class OtherDoctor:
    """Another doctor of this cluster, running at the same time, and what it told."""

    host: str
    hears: tuple[tuple[str, int], ...]
    """Hosts, and datagrams from each."""
    heard_for_s: float
    ahead_s: float
    """By how much its wall clock is ahead of ours."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A receiver that was dialled."""

    host: str
    port: int
    why: str
    """``heartbeat`` (it announced itself), ``stranger`` (so did another cluster's member),
    ``asked`` (by the user), ``seed`` (of the settings) or ``own port`` (of this host)."""
    answer: str
    """``open``, ``refused``, ``silent``, ``no route`` (from this host), ``no host`` (nobody has the
    address), ``unreachable`` (somebody said so), ``no name`` (it has no address)."""
    speaks: str = ""
    """When open: ``ours``, ``other secret``, ``other name``, ``other version``, ``other program``,
    ``nothing``."""

    @property
    def name(self) -> str:
        """As ``10.0.0.2:4000``."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that the system refused."""

    reason: str
    """The name of the error, as ``EPERM``."""
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that one look has found; None where the system does not say."""

    asked: Question
    platform: str = field(default="linux", kw_only=True)
    """As ``sys.platform``."""
    interfaces: tuple[Interface, ...] = ()
    routes: tuple[Route, ...] | None = None
    joined: tuple[Joined, ...] | None = None
    """Groups as the kernel lists them, while the doctor was a member."""
    towards_group: str | None = None
    """Address that the kernel would send to the group from; None: it has no route."""
    route_refuses: Failure | None = None
    """What a route that forbids the way to the group says."""
    memberships_max: int | None = None
    """Groups that one socket may join."""
    in_container: bool = False
    drops_without_way_back: bool = False
    """Whether what comes from a host is dropped if no route leads back to it over the interface."""
    address: str | None = None
    """Where a member would listen; None: there is none, and ``no_address`` says why."""
    no_address: str = ""
    key_id: str = ""
    sockets_failed: Failure | None = None
    sent: int = 0
    send_failed: Failure | None = None
    """The last refusal, if not everything could be sent."""
    heard_itself: int = 0
    heard: tuple[Heard, ...] = ()
    rejoined_hears: tuple[str, ...] = ()
    """Members that had fallen silent, and were heard again after the group was joined anew."""
    on_wire: tuple[OnWire, ...] | None = None
    elsewhere: tuple[Elsewhere, ...] = ()
    doctors: tuple[OtherDoctor, ...] = ()
    peers: tuple[Peer, ...] = ()
    ports_taken: tuple[int, ...] = ()
    """Of those that the receiver would try."""
    own_addresses: tuple[str, ...] = field(default=())

    @property
    def interface(self) -> Interface | None:
        """The interface that a member would use; None if it is not known."""
        if self.address is None:
            return None
        found = [each for each in self.interfaces if each.has(self.address)]
        return found[0] if found else None

    @property
    def is_for_this_host(self) -> bool:
        """Whether a member here could be dialled from this host only."""
        on_loopback = self.address is not None and IPv4Address(self.address).is_loopback
        return self.asked.on_this_host or on_loopback

    def is_own(self, host: str) -> bool:
        """Tell whether a host is this one."""
        return host == self.address or host in self.own_addresses

    def others(self, kind: str) -> tuple[Heard, ...]:
        """Return what was heard of a kind from other hosts."""
        return tuple(h for h in self.heard if h.kind == kind and not self.is_own(h.host))

    @property
    def sees_others(self) -> bool:
        """Whether a member on another host is heard, on any interface, or can be dialled."""
        dialled = any(p.speaks == "ours" and not self.is_own(p.host) for p in self.peers)
        return dialled or bool(self.others("ours") or self.elsewhere)

    def is_elsewhere(self, host: str) -> bool:
        """Tell whether an address is in none of this host's networks; a name is not."""
        try:
            address = str(IPv4Address(host))
        except ValueError:
            # A name that was not found, or whose address was not reached.
            return False
        known = [interface for interface in self.interfaces if not interface.is_loopback]
        return bool(known) and not any(interface.reaches(address) for interface in known)

    def fell_silent(self, heard: Heard) -> bool:
        """Tell whether what was heard stopped, and is missing for as long as a dead member."""
        missing_s = self.asked.seconds - heard.last_s
        return heard.is_missing(missing_s, self.asked.drop_after_s)

    def of_strangers(self) -> tuple[Heard, ...]:
        """Return what was heard of other clusters' keys; also from this host, where they meet."""
        return tuple(h for h in self.heard if h.kind == "other key")
