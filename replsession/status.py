"""
The status of a member: what an administrator wants to know of it, at one moment.

All of it is read, nothing is changed. Ages are seconds of this member's own monotonic clock (and,
for other members, what they told of themselves when their link came); no two machines' clocks are
compared. Neither secrets nor values nor names of attributes are in it. The fields of these classes
are the names in ``replsession status --json``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isinf
from typing import Any

from replsession.events import Member, StateGivenUp, StateReceived, StateSkipped
from replsession.node import Node
from replsession.replication.joining import Transfers
from replsession.replication.peers import Peer
from replsession.session.census import Count
from replsession.session.store import BUCKETS
from replsession.wire.framing import WIRE_VERSION


@dataclass(frozen=True, slots=True)
class ThisMember:
    """The member that answers."""

    name: str
    id: str
    """16 hexadecimal digits, new at each start."""
    incarnation: int
    """Greater for a later start of the same member."""
    pid: int
    cluster: str
    """Name of the cluster; empty for one process alone."""
    state: str
    """``ready``, ``state transfer``, ``not started``, ``stopped``, or why it cannot start."""
    ready: bool
    age_s: float
    address: str
    """Where its receiver listens, ``host:port``."""
    protocol: int
    """Version of the wire format; members of another one do not talk with it."""
    version: str
    """Version of this library."""


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """What waits for another member and has not left yet."""

    deltas: int
    bytes: int
    deltas_max: int
    bytes_max: int
    """Beyond either the outbox is emptied, and repair levels out."""
    overflows: int
    """How often that happened since the link with the member came."""


@dataclass(frozen=True, slots=True)
class Lag:
    """What another member has not acknowledged: waiting in the outbox, or under way."""

    deltas: int
    bytes: int
    oldest_s: float | None
    """How long ago the oldest of it was sent; None: nothing is under way."""


@dataclass(frozen=True, slots=True)
class OtherMember:
    """Another member, as the one that answers sees it."""

    name: str
    id: str
    incarnation: int
    state: str
    """``up``; ``suspected`` (silent, it is being asked); ``unreachable`` (seen through others)."""
    via: str | None
    """Name of the member through which one that is unreachable is seen."""
    ready: bool
    age_s: float
    address: str
    lag: Lag | None
    """None: there is no link with it now."""
    outbox: OutboxStatus | None
    repaired_s_ago: float | None
    """Since the beginning of the last round of repair with it that this member began and finished;
    None: there was none yet."""
    is_repairing: bool
    """Whether such a round runs."""
    gets_state: float | None
    """How much of the state it has been sent, 0 to 1; None: it is not being sent any."""


@dataclass(frozen=True, slots=True)
class TransferStatus:
    """The state transfer with which this member began."""

    state: str
    """``looking`` (for a donor), ``running``, ``received``, ``skipped`` (nobody was there), ``given
    up`` (nobody sent it in time), or ``none``."""
    donor: str | None
    progress: float
    """How much of the state is complete, 0 to 1."""
    sessions: int
    bytes: int
    """Both: what came so far."""
    took_s: float | None
    """Since the first donor was asked; None: none was yet."""
    ended_s_ago: float | None
    """None: it has not ended."""


@dataclass(frozen=True, slots=True)
class ContextStatus:
    """The sessions of one application."""

    context: str
    live: int
    sleeping: int
    """Sessions that are over, kept until all members have told their news."""
    ended: int
    """What is remembered of ended sessions, so that none comes back."""
    bytes: int
    """Of all three, as they are at rest."""


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """One look at a member, and at the cluster as that member sees it."""

    member: ThisMember
    others: tuple[OtherMember, ...]
    """Oldest first."""
    transfer: TransferStatus
    sessions: tuple[ContextStatus, ...]
    """By name of the application."""
    counted_s_ago: float
    """How old the counts of sessions are: of many sessions they are not made anew at each look."""
    metrics: Mapping[str, int]
    """All counters, since the member's start."""

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as what JSON is made of."""
        return {**asdict(self), "metrics": dict(self.metrics)}


@dataclass(frozen=True, slots=True)
class Around:
    """What the node does not know of its member; its channel does."""

    pid: int
    cluster: str
    state: str
    ready: bool
    version: str


def status_of(
    node: Node, around: Around, counts: Mapping[str, Count], counted_s_ago: float, now: float
) -> ClusterStatus:
    """
    Return the status of a member.

    Args:
        node: The member.
        around: What it does not know itself.
        counts: Its sessions, by context.
        counted_s_ago: How old the counts are.
        now: Seconds of the monotonic clock.
    """
    return ClusterStatus(
        _this(node, around, now),
        tuple(_other(node, member, now) for member in node.membership.view),
        transfer_of(node.transfers, now),
        tuple(
            ContextStatus(name, one.live, one.sleeping, one.ended, one.bytes)
            for name, one in sorted(counts.items())
        ),
        counted_s_ago,
        node.metrics.as_dict(),
    )


def _this(node: Node, around: Around, now: float) -> ThisMember:
    me = node.me
    return ThisMember(
        me.name,
        me.id.hex(),
        me.incarnation,
        around.pid,
        around.cluster,
        around.state,
        around.ready,
        max(0.0, now - node.started_at),
        "" if node.alone else str(me.address),
        WIRE_VERSION,
        around.version,
    )


def _other(node: Node, member: Member, now: float) -> OtherMember:
    view = node.membership.view
    seen_through = view.via(member.id)
    via = None if seen_through is None else view.get(seen_through)
    peer = node.peers.get(member.id)
    repaired_at = node.repairer.settled.get(member.name)
    running = node.repairer.rounds.running
    return OtherMember(
        member.name,
        member.id.hex(),
        member.incarnation,
        _state(node, member),
        None if via is None else via.name,
        member.ready,
        view.age_s(member.id, now),
        str(member.address),
        None if peer is None else _lag(peer, now),
        None if peer is None else _outbox(node, peer),
        None if repaired_at is None or isinf(repaired_at) else max(0.0, now - repaired_at),
        running is not None and running.member == member.id,
        None if peer is None or peer.donor is None else peer.donor.buckets / BUCKETS,
    )


def _state(node: Node, member: Member) -> str:
    if member.id in node.membership.suspicions:
        return "suspected"
    return "up" if node.membership.view.via(member.id) is None else "unreachable"


def _lag(peer: Peer, now: float) -> Lag:
    outbox = peer.outbox
    oldest_s = outbox.oldest_s(now)
    return Lag(
        outbox.unacknowledged,
        outbox.waiting_bytes + outbox.in_flight_bytes,
        None if oldest_s is None else max(0.0, oldest_s),
    )


def _outbox(node: Node, peer: Peer) -> OutboxStatus:
    limits = node.limits
    return OutboxStatus(
        len(peer.outbox),
        peer.outbox.waiting_bytes,
        limits.outbox_deltas_max,
        limits.outbox_bytes_max,
        peer.overflows,
    )


def transfer_of(transfers: Transfers, now: float) -> TransferStatus:
    """Return how far a member's own state transfer is, or how it ended."""
    joiner, outcome = transfers.joiner, transfers.outcome
    sessions, octets = (sum(part.values()) for part in transfers.came())
    ended_s_ago = None if outcome is None else max(0.0, now - transfers.ended_at)
    took_s = None
    if joiner.transfer:
        took_s = (now if outcome is None else transfers.ended_at) - joiner.asked_at
    match outcome:
        case StateReceived(donor):
            return TransferStatus(
                "received", donor.name, 1.0, sessions, octets, took_s, ended_s_ago
            )
        case StateSkipped():
            return TransferStatus("skipped", None, 0.0, 0, 0, None, ended_s_ago)
        case StateGivenUp():
            return TransferStatus(
                "given up", None, joiner.progress, sessions, octets, took_s, ended_s_ago
            )
    asked = None if transfers.asked is None or joiner.donor is None else transfers.asked.name
    state = "none" if joiner.done else "looking" if asked is None else "running"
    return TransferStatus(state, asked, joiner.progress, sessions, octets, took_s, None)
