"""
Tickets: commits that wait until enough other members hold them.

Rules of this file:

1. A member holds a write when it has acknowledged a batch with that write or a later one of the
   same session, and misses nothing before it; or when a whole record of its own says so
   (docs/design.md, rule 8). The end of a session stands for all that was written to it before.
2. While a ticket is open, what got lost on the way to a member is sent again as a whole record:
   after its outbox was emptied, and on a new link.
3. Names count, not incarnations: a member that crashed and came back is asked again, once.
4. A ticket that cannot be met any more fails at once.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from replsession.concern import Asked, others_needed
from replsession.identity import Key, MemberId
from replsession.replication.outbox import HELD_ALL


@dataclass(slots=True, eq=False)
class Ticket:
    """One commit that waits. Its driver reads it when the node hands it out as done."""

    asked: Asked
    marks: dict[Key, int]
    """For each session that was changed, the clock value that a holder must have."""
    needed: int
    """So many other names must hold it."""
    deadline: float
    names: dict[str, bool] = field(default_factory=dict)
    """Members that were up when it was committed, or came up since, and whether each holds it."""
    holders: list[MemberId] = field(default_factory=list)
    """Incarnations that acknowledged it."""
    is_done: bool = False
    _left: dict[MemberId, dict[Key, int]] = field(default_factory=dict)

    @property
    def is_met(self) -> bool:
        """Whether enough members hold the write."""
        return sum(self.names.values()) >= self.needed

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the members that were asked and have not acknowledged."""
        return tuple(sorted(name for name, holds in self.names.items() if not holds))

    @property
    def acknowledged(self) -> tuple[str, ...]:
        """Names of the members that hold the write."""
        return tuple(sorted(name for name, holds in self.names.items() if holds))

    def ask(self, member: MemberId, name: str) -> None:
        """Wait for this member too."""
        self.names.setdefault(name, False)
        if not self.names[name]:
            self._left[member] = dict(self.marks)

    def asks(self, member: MemberId) -> bool:
        """Tell whether this member has not acknowledged yet."""
        return bool(self._left.get(member))

    def held(self, member: MemberId, name: str, marks: Mapping[Key, int]) -> None:
        """A member holds sessions up to these clock values."""
        left = self._left.get(member)
        if left is None:
            return
        for key, mark in marks.items():
            if left.get(key, HELD_ALL + 1) <= mark:
                del left[key]
        if not left:
            self.names[name] = True
            self.holders.append(member)
            del self._left[member]

    def lost(self, member: MemberId) -> None:
        """A member is gone; what it acknowledged stays acknowledged."""
        self._left.pop(member, None)

    def left(self, name: str) -> None:
        """A member has said goodbye: if everybody was asked, everybody is one less."""
        if self.asked.concern == "all" and self.names.get(name) is False:
            del self.names[name]
            self.needed = min(self.needed, max(len(self.names), self._expected()))

    def settle(self, up: Container[str], now: float) -> bool:
        """
        Decide, and tell whether the ticket is done.

        Args:
            up: Names of the members in the view; only they can still acknowledge.
            now: Seconds of the local monotonic clock.
        """
        held = sum(self.names.values())
        possible = sum(holds or name in up for name, holds in self.names.items())
        self.is_done = held >= self.needed or possible < self.needed or now >= self.deadline
        return self.is_done

    def _expected(self) -> int:
        return (self.asked.expected_members or 1) - 1


class Tickets:
    """
    All open tickets of one member.

    Args:
        tickets_max: So many may be open; beyond it a ticket fails at once.
    """

    def __init__(self, tickets_max: int) -> None:
        self._tickets_max = tickets_max
        self._open: list[Ticket] = []
        self.tracked: dict[Key, int] = {}
        """Sessions with open tickets, and how many: outboxes note when those leave."""
        self.done: list[Ticket] = []
        """Tickets to hand out."""

    def __len__(self) -> int:
        return len(self._open)

    def open(
        self,
        asked: Asked,
        marks: dict[Key, int],
        up: Mapping[MemberId, str],
        known: int,
        now: float,
    ) -> Ticket:
        """
        Begin to wait for a commit that was put into the outboxes in this very turn.

        Args:
            asked: By the application.
            marks: For each session that was changed, the clock value that a holder must have.
            up: The members that are up and ready, and their names.
            known: Names of other members that were seen in the last hour.
            now: Seconds of the local monotonic clock.

        Returns:
            The ticket; ``is_done`` if nobody has to be waited for, or nobody can be.
        """
        names = dict.fromkeys(up.values(), False)
        needed = others_needed(asked, known, len(names))
        ticket = Ticket(asked, marks, needed, now + asked.timeout_s, names)
        for member, name in up.items():
            ticket.ask(member, name)
        if len(self._open) >= self._tickets_max:
            ticket.is_done = True
        elif not ticket.settle(names, now):
            self._open.append(ticket)
            for key in marks:
                self.tracked[key] = self.tracked.get(key, 0) + 1
        return ticket

    def held(self, member: MemberId, name: str, marks: Mapping[Key, int]) -> None:
        """A member holds sessions up to these clock values of ours."""
        for ticket in self._open:
            ticket.held(member, name, marks)

    def member_up(self, member: MemberId, name: str) -> list[Key]:
        """A member is up and ready, perhaps again: return what must be sent to it."""
        keys: dict[Key, None] = {}
        for ticket in self._open:
            # Of "all", a newcomer must not stand in for one that was there.
            if ticket.asked.concern != "all" or name in ticket.names:
                ticket.ask(member, name)
            if ticket.asks(member):
                keys.update(dict.fromkeys(ticket.marks))
        return list(keys)

    def outbox_emptied(self, member: MemberId) -> list[Key]:
        """What waited for a member was thrown away: return what must be sent again."""
        keys: dict[Key, None] = {}
        for ticket in self._open:
            if ticket.asks(member):
                keys.update(dict.fromkeys(ticket.marks))
        return list(keys)

    def member_lost(self, member: MemberId) -> None:
        """A link is gone."""
        for ticket in self._open:
            ticket.lost(member)

    def member_left(self, name: str) -> None:
        """A member has said goodbye."""
        for ticket in self._open:
            ticket.left(name)

    def settle(self, up: Container[str], now: float) -> None:
        """Take out the tickets that are met, late, or cannot be met any more; see the ticket's."""
        still: list[Ticket] = []
        for ticket in self._open:
            if not ticket.settle(up, now):
                still.append(ticket)
                continue
            self.done.append(ticket)
            for key in ticket.marks:
                self.tracked[key] -= 1
                if not self.tracked[key]:
                    del self.tracked[key]
        self._open = still

    def next_at(self, at: float) -> float:
        """Return when the first ticket is late, or *at* if that is earlier."""
        return min([at, *(ticket.deadline for ticket in self._open)])
