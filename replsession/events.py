"""
What a node has to tell its channel: things that happened, for the log and the listeners.

The core does not log. Every event is a value with fields; the channel writes each in one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from replsession.identity import Address, Key, MemberId


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the cluster, as its HELLO described it."""

    id: MemberId
    name: str
    incarnation: int
    address: Address
    ready: bool = False
    alive_ms: int = 0

    def __str__(self) -> str:
        return (
            f"tls://{self.address} name={self.name} id={self.id.hex()} "
            f"incarnation={self.incarnation} alive={self.alive_ms} ms"
        )


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """A member's HELLO is in."""

    member: Member


@dataclass(frozen=True, slots=True)
class MemberLeft:
    """A member disappeared; ``reason`` is for people."""

    member: Member
    reason: str


SEND_FAILING = "acknowledges nothing"
"""Reason of a suspicion: what is sent to the member is not acknowledged."""


@dataclass(frozen=True, slots=True)
class MemberSuspected:
    """A member is silent, or its link is gone: whether it has disappeared will be verified."""

    member: Member
    reason: str


@dataclass(frozen=True, slots=True)
class MemberVerified:
    """A suspicion is over; ``verdict`` is one of the three below."""

    member: Member
    verdict: str


STILL_ALIVE = "still alive"
DISAPPEARED = "disappeared"
ALREADY_DISAPPEARED = "already disappeared"
"""It said goodbye meanwhile, over another way."""


@dataclass(frozen=True, slots=True)
class DialFailed:
    """No link can be had with a member that is heard at this moment."""

    address: Address
    reason: str


@dataclass(frozen=True, slots=True)
class MemberUnreachable:
    """No link with a member can be had, but ``via`` has one: it is up, and seen through others."""

    member: Member
    via: Member


@dataclass(frozen=True, slots=True)
class MemberReachable:
    """A member that was seen through others only has a link again."""

    member: Member


@dataclass(frozen=True, slots=True)
class StateRequested:
    """A state transfer begins, from this member."""

    donor: Member


@dataclass(frozen=True, slots=True)
class StateReceived:
    """A state transfer is done; ``donor`` is the last one, if there were several."""

    donor: Member
    sent_at_ms: int
    took_s: float
    """Since the first donor was asked of whom something is kept."""
    sessions: dict[str, int]
    """Number of sessions for each context."""
    bytes: dict[str, int]
    """Bytes of the records for each context, as they came over the wire."""


@dataclass(frozen=True, slots=True)
class StateProgress:
    """A state transfer takes long, and goes on."""

    donor: Member
    progress: float
    """How much of the state is complete here, 0 to 1."""
    sessions: dict[str, int]
    """Number of sessions that came so far, for each context."""
    bytes: dict[str, int]


@dataclass(frozen=True, slots=True)
class StateSkipped:
    """Nobody is there to ask: this member is the first one."""


@dataclass(frozen=True, slots=True)
class StateGivenUp:
    """No donor sent its state within the time; the member goes on with what it has."""

    waited_s: float


@dataclass(frozen=True, slots=True)
class DonorLost:
    """A donor died, refused or stalled in the middle of a transfer; the next one is asked."""

    donor: Member
    reason: str


@dataclass(frozen=True, slots=True)
class BecameReady:
    """The member has its state and may be given traffic."""


@dataclass(frozen=True, slots=True)
class LinkRefused:
    """A link was closed because of what came over it."""

    address: Address
    reason: str


@dataclass(frozen=True, slots=True)
class HeartbeatRefused:
    """A heartbeat was signed with our secret, and is wrong all the same."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class OutboxOverflowed:
    """A member was too slow: its outbox was emptied, repair will level out."""

    member: Member
    deltas: int


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """News of a session came from another member; for listeners."""

    key: Key
    secret_hash: bytes
    created: bool
    destroyed: bool
    changes: tuple[tuple[str, bytes | None, bytes | None], ...]
    """Name, old bytes, new bytes; None: not there."""


@dataclass(frozen=True, slots=True)
class SessionExpired:
    """A session was idle or alive for too long, as this member sees it."""

    key: Key
    secret_hash: bytes


@dataclass(frozen=True, slots=True)
class SessionMessage:
    """
    A message about a session was received or sent; only told while somebody wants to know.

    ``kind`` is ``created``, ``delta``, ``access`` or ``expire``.
    """

    kind: str
    key: Key
    secret_hash: bytes
    sender: MemberId | None
    """None: it was made here, for all others."""


Event: TypeAlias = (
    MemberJoined
    | MemberLeft
    | MemberSuspected
    | MemberVerified
    | DialFailed
    | SessionMessage
    | MemberUnreachable
    | MemberReachable
    | StateRequested
    | StateProgress
    | StateReceived
    | StateSkipped
    | StateGivenUp
    | DonorLost
    | BecameReady
    | LinkRefused
    | HeartbeatRefused
    | OutboxOverflowed
    | SessionChanged
    | SessionExpired
)
