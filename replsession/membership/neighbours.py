"""
Neighbours: the members that each member has a link with, as they tell each other.

Three uses: a member that one of us knows is found by all, so that one reachable seed is enough; a
member that cannot be reached is up as long as a neighbour has a link with it; and who hands on
deltas between two that cannot reach each other (``replication/relay.py``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from replsession.config import Timing
from replsession.identity import MemberId
from replsession.membership.mesh import Link, LinkId
from replsession.membership.view import View
from replsession.messages import Neighbour, Neighbours
from replsession.metrics import Metrics

LinkedWith = dict[MemberId, dict[MemberId, None]]


@dataclass(slots=True)
class Neighbourhood:
    """What the neighbours said, and what is to be said to them."""

    rows_max: int
    """Members that one neighbour may list; what is beyond is ignored."""
    view: View
    timing: Timing
    metrics: Metrics
    linked_with: LinkedWith = field(default_factory=dict)
    """For each neighbour, the members that it has a link with; changed in place only."""
    is_untold: bool = False
    """Whether our own links have changed since all neighbours were told."""
    again_at: float = 0.0
    """When all are told once more, also if nothing has changed."""

    def received(self, sender: MemberId, message: Neighbours) -> Iterator[Neighbour]:
        """Take in what a neighbour said; yield those that may be dialled because of it."""
        rows = message.members[: self.rows_max]
        self.metrics.neighbours_ignored += len(message.members) - len(rows)
        self.linked_with[sender] = {row.member: None for row in rows}
        taken = {member.address: member.id for member in self.view}
        for row in rows:
            # What is told may be old: where another member answers now, no dial is needed.
            if taken.get(row.address, row.member) == row.member:
                yield row

    def lost(self, member_id: MemberId) -> None:
        """A member is no neighbour any more."""
        self.linked_with.pop(member_id, None)
        self.is_untold = True

    def seen_by(self, member_id: MemberId) -> MemberId | None:
        """Return a neighbour that has a link with a member, or None."""
        found = (one for one, theirs in self.linked_with.items() if member_id in theirs)
        return next(found, None)

    def tell(
        self, links: Iterable[Link], linked: Iterable[MemberId], *, again: bool = False
    ) -> Iterator[tuple[LinkId, Neighbours]]:
        """
        Yield what is to be said on which link.

        Args:
            links: Where to say it.
            linked: The members that we have a link with.
            again: Say it also where it is no news.
        """
        members = [self.view.get(member_id) for member_id in sorted(linked)]
        message = Neighbours(
            tuple(
                Neighbour(member.id, member.name, member.incarnation, member.address)
                for member in members
                if member is not None
            )
        )
        for link in links:
            if again or link.told != message:
                link.told = message
                yield link.id, message

    def tell_all(
        self, links: Iterable[Link], linked: Iterable[MemberId], now: float
    ) -> Iterator[tuple[LinkId, Neighbours]]:
        """Yield what all are to be told: of a change, or now and then that nothing has changed."""
        is_again = now >= self.again_at
        if is_again:
            self.again_at = now + self.timing.neighbours_interval_s
        if is_again or self.is_untold:
            self.is_untold = False
            yield from self.tell(links, linked, again=is_again)
