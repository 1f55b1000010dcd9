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
class Urge:
    """A request waits for what I have sent so far: acknowledge it at once."""


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Everything in exactly this batch is applied in memory; nothing is said of other batches."""

    batch: int
    partial: tuple[Key, ...] = ()
    """Sessions of the batch of which something is missing here: I do not hold them whole."""


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
class Expiration:
    """A session that is over at the member that served it last, and with which access."""

    key: Key
    access: Stamp


@dataclass(frozen=True, slots=True)
class Expirations:
    """Sessions that I served last and that are over here: judge by what you know, and go by it."""

    expirations: tuple[Expiration, ...]


@dataclass(frozen=True, slots=True)
class RecordRequest:
    """Send me these records whole, if you have them."""

    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class RecordInquiry:
    """A request waits for these records: send at once what you have, or say that you don't."""

    number: int
    """Later ones have greater numbers."""
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class RecordAnswer:
    """Whole records that were inquired for, in pieces if they are long."""

    number: int
    """That of the inquiry: an earlier one's answer says nothing of what came here since."""
    unknown: tuple[Key, ...]
    """What is not here."""
    records: tuple[Delta, ...]


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
class LeafDigests:
    """
    Where in some unequal buckets do we differ?

    A leaf is the part of a bucket whose locators have the same second byte; leaves without records
    are left out.
    """

    round: int
    step: int
    """Counts what the initiator sends in this round; the answer has the same one."""
    first: int
    """The leaves of the first bucket before this one are compared already."""
    leaves: dict[int, dict[int, int]]
    """For each bucket, in the order in which they are to be compared: leaf, and its digest."""


@dataclass(frozen=True, slots=True)
class RecordDigests:
    """The digest of each of my records in some leaves that differ."""

    round: int
    step: int
    next: int | None
    """Bucket and leaf, as one number of 0 to 65535, from which I did not compare for lack of room;
    None: all were compared."""
    leaves: tuple[int, ...]
    """The leaves that differ, as such numbers; all that I have in them is in ``digests``."""
    digests: dict[Key, int]


@dataclass(frozen=True, slots=True)
class RepairRequest:
    """Here is what I have better, or you lack; send me what I want."""

    round: int
    step: int
    wanted: tuple[Key, ...]
    records: tuple[Delta, ...]


@dataclass(frozen=True, slots=True)
class RepairRecords:
    """What you sent is merged; here is what you want, but for what is left."""

    round: int
    step: int
    left: tuple[Key, ...]
    """Wanted, and not or not wholly sent yet: ask again."""
    records: tuple[Delta, ...]


@dataclass(frozen=True, slots=True)
class StateRequest:
    """Send me everything you have, from this bucket on."""

    transfer: int
    bucket: int
    """0 to 256; those before it came from another donor."""


@dataclass(frozen=True, slots=True)
class StateRefused:
    """I can't give state now: I am not ready, or serve others already."""

    transfer: int


@dataclass(frozen=True, slots=True)
class StateChunk:
    """A part of the state: whole records, bucket after bucket."""

    transfer: int
    number: int
    bucket: int
    """How many buckets, 0 to 256, are complete with this chunk and those before it."""
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


@dataclass(frozen=True, slots=True)
class Probe:
    """You were silent for too long: answer this. The program must, not its system."""

    number: int


@dataclass(frozen=True, slots=True)
class ProbeAnswer:
    """I am here, and my program runs."""

    number: int


@dataclass(frozen=True, slots=True)
class Inquiry:
    """I hear nothing of this member: do you? Not answered by who has no link with it."""

    member: MemberId


@dataclass(frozen=True, slots=True)
class Testimony:
    """I have a link with this member, and heard it so long ago."""

    member: MemberId
    heard_ms: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A member that the sender has a link with."""

    member: MemberId
    name: str
    incarnation: int
    address: Address


@dataclass(frozen=True, slots=True)
class Neighbours:
    """All members that I have a link with; replaces what I said before."""

    members: tuple[Neighbour, ...]


Message: TypeAlias = (
    Hello
    | Status
    | Goodbye
    | Ping
    | Deltas
    | Urge
    | Acknowledge
    | Accesses
    | RecordRequest
    | RecordInquiry
    | RecordAnswer
    | RepairOffer
    | RepairAnswer
    | LeafDigests
    | RecordDigests
    | RepairRequest
    | RepairRecords
    | StateRequest
    | StateRefused
    | StateChunk
    | StateCredit
    | StateEnd
    | Probe
    | ProbeAnswer
    | Inquiry
    | Testimony
    | Neighbours
    | Expirations
)
