"""
The mesh: one link for each pair of members, also when both dialled at the same time.

Rules, as functions of what both ends know, so that both decide alike:

1. A link that was opened long after the other one stays: nobody dials a member with which it has
   a link that works, so its dialler knows that the first is gone.
2. Else, of two links dialled by different ends, the one dialled by the smaller id stays.
3. Else, of two links dialled by the same end, the later one stays, for the same reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from replsession.identity import Address, MemberId
from replsession.messages import Neighbours

LinkId = int
"""Number that the channel gives to a link; never used twice."""


@dataclass(frozen=True, slots=True)
class Close:
    """Order to the channel: close this link."""

    link: LinkId
    reason: str


@dataclass(slots=True)
class Link:
    """One TLS connection, before and after its HELLO."""

    id: LinkId
    address: Address
    dial: int | None
    """Number of our order to dial; None: the other end dialled."""
    opened_at: float
    certified: MemberId | None
    """The member that the certificate names; None where the channel has no certificates."""
    last_heard: float = field(init=False)
    last_sent: float = field(init=False)
    member: MemberId | None = None
    """Set by its HELLO; from then on it is the link in use with that member, until it is closed."""
    told: Neighbours | None = None
    """What was told of our neighbours on it."""

    def __post_init__(self) -> None:
        self.last_heard = self.opened_at
        self.last_sent = self.opened_at


def stays(held: Link, new: Link, me: MemberId, other: MemberId, apart_s: float) -> Link:
    """
    Return which of two links to the same member stays.

    Args:
        held: The link in use.
        new: The link whose HELLO has just come.
        me: Our id.
        other: The other end's id.
        apart_s: Seconds between two openings beyond which they were no coincidence.
    """
    if abs(held.opened_at - new.opened_at) >= apart_s:
        return max(held, new, key=lambda link: link.opened_at)
    if (held.dial is None) == (new.dial is None):
        return new
    mine, theirs = (held, new) if held.dial is not None else (new, held)
    return mine if me < other else theirs
