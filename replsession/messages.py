"""
What members say to each other. How each is written as bytes stands in ``wire/encoding.py``.

A heartbeat is the one message that travels as a datagram; all others travel on links.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from replsession.identity import Address, Key, MemberId
from replsession.session.delta import Delta
from replsession.session.stamp import Stamp


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """I am here: a hint to open a link to this address, and nothing more. Never answered."""

    member: MemberId
    address: Address


@dataclass(frozen=True, slots=True)
class Hello:
    """First on every link, from both ends: who I am. A member is up when its HELLO is in."""

    member: MemberId
    name: str
    incarnation: int
    """Unix milliseconds of the start: for people, and to tell the later of two starts."""
    address: Address
    ready: bool
    alive_ms: int


@dataclass(frozen=True, slots=True)
class Status:
    """My state transfer is done (or not): whether I may be asked for state."""

    ready: bool


@dataclass(frozen=True, slots=True)
class Goodbye:
    """I am leaving on purpose: no need to verify."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Sent on a link that was silent from this side: a sign of life. Not answered."""


@dataclass(frozen=True, slots=True)
class Deltas:
    """Deltas and whole records, in the order of the outbox."""

    batch: int
    deltas: tuple[Delta, ...]


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Everything in exactly this batch is applied in memory; nothing is said of other batches."""

    batch: int


@dataclass(frozen=True, slots=True)
class Access:
    """The last access of one session: its stamp, and how long ago it was."""

    key: Key
    access: Stamp
    idle_s: float


@dataclass(frozen=True, slots=True)
class Accesses:
    """Sessions that were read; collected, since nobody needs to know at once."""

    accesses: tuple[Access, ...]


@dataclass(frozen=True, slots=True)
class RecordRequest:
    """Send me these records whole, if you have them."""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class RepairOffer:
    """Begin of a repair round: the digests of all my buckets, 8 bytes each."""

    round: int
    digests: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RepairAnswer:
    """The buckets in which we differ; none: the round is over."""

    round: int
    buckets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BucketDigests:
    """The digest of each record of one bucket."""

    round: int
    bucket: int
    digests: dict[Key, int]


@dataclass(frozen=True, slots=True)
class BucketAnswer:
    """What I lack or have otherwise; what you lack or have otherwise comes as whole records."""

    round: int
    bucket: int
    wanted: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class StateRequest:
    """Send me everything you have."""

    transfer: int


@dataclass(frozen=True, slots=True)
class StateRefused:
    """I can't give state now: I am not ready, or serve others already."""

    transfer: int


@dataclass(frozen=True, slots=True)
class StateChunk:
    """A part of the state: whole records, in no order."""

    transfer: int
    number: int
    records: tuple[Delta, ...]


@dataclass(frozen=True, slots=True)
class StateCredit:
    """Chunk ``number`` is merged: send a further one."""

    transfer: int
    number: int


@dataclass(frozen=True, slots=True)
class StateEnd:
    """That was all: ``chunks`` of them, and what I have forgotten."""

    transfer: int
    chunks: int
    sent_at_ms: int
    forgotten: dict[MemberId, int]


Message: TypeAlias = (
    Hello
    | Status
    | Goodbye
    | Ping
    | Deltas
    | Acknowledge
    | Accesses
    | RecordRequest
    | RepairOffer
    | RepairAnswer
    | BucketDigests
    | BucketAnswer
    | StateRequest
    | StateRefused
    | StateChunk
    | StateCredit
    | StateEnd
)
