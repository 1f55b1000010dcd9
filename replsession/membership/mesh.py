"""
The mesh: one link for each pair of members, also when both dialled at the same time.

Rules, as functions of what both ends know, so that both decide alike:

1. Of two links dialled by different ends, the one dialled by the smaller id stays.
2. Of two links dialled by the same end, the later one stays: its dialler knows that the first is
   gone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from replsession.identity import Address, MemberId

LinkId = int
"""Number that the channel gives to a link; never used twice."""


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
    """Set by its HELLO."""

    def __post_init__(self) -> None:
        self.last_heard = self.opened_at
        self.last_sent = self.opened_at


def stays(held: Link, new: Link, me: MemberId, other: MemberId) -> Link:
    """Return which of two links to the same member stays."""
    if (held.dial is None) == (new.dial is None):
        return new
    mine, theirs = (held, new) if held.dial is not None else (new, held)
    return mine if me < other else theirs
