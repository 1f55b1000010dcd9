"""
The view: the members that are up, as this member sees it, oldest first; and the names known.

Two members may have different views at a time. That is allowed: no rule of the data depends on the
view, it only says whom to send to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from replsession.events import Member
from replsession.identity import MemberId

NAMES_PER_MEMBER = 4
"""Names counted for each member that there may be: restarts under new names use them up."""


class View:
    """
    Members by id. ``number`` grows with every change.

    Args:
        forget_after_s: How long the name of a member that vanished is known.
        names_max: Names known at a time; beyond it the one that vanished first is forgotten.
    """

    def __init__(self, forget_after_s: float = 3600.0, names_max: int = 256) -> None:
        self._members: dict[MemberId, Member] = {}
        self._via: dict[MemberId, MemberId] = {}
        self._started_at: dict[MemberId, float] = {}
        self._names: dict[str, float] = {}
        self._forget_after_s = forget_after_s
        self._names_max = names_max
        self.number = 0

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, member_id: MemberId) -> bool:
        return member_id in self._members

    def get(self, member_id: MemberId) -> Member | None:
        """Return the member, or None when it is not up."""
        return self._members.get(member_id)

    def put(self, member: Member, now: float = 0.0) -> bool:
        """Add a member or what is new of it, told *now*; return whether it was not there before."""
        is_new = member.id not in self._members
        self._members[member.id] = member
        self._started_at[member.id] = now - member.alive_ms / 1000
        if is_new:
            self._members = dict(
                sorted(self._members.items(), key=lambda item: (item[1].incarnation, item[0]))
            )
        self.number += 1
        return is_new

    def remove(self, member_id: MemberId) -> Member | None:
        """Take a member out; return it, or None when it was not there."""
        member = self._members.pop(member_id, None)
        self._via.pop(member_id, None)
        self._started_at.pop(member_id, None)
        self.number += member is not None
        return member

    def is_ready(self, member_id: MemberId) -> bool:
        """Tell whether the member is up and has its state."""
        member = self._members.get(member_id)
        return member is not None and member.ready

    def age_s(self, member_id: MemberId, now: float) -> float:
        """Return how long a member that is up has been alive, by what it told of itself."""
        return max(0.0, now - self._started_at[member_id])

    def set_ready(self, member_id: MemberId, ready: bool) -> None:
        """Note whether the member has its state."""
        member = self._members.get(member_id)
        if member is not None and member.ready != ready:
            self._members[member_id] = replace(member, ready=ready)
            self.number += 1

    def named(self, name: str) -> list[Member]:
        """Return the members of that name: usually one, two while a restart is noticed."""
        return [member for member in self._members.values() if member.name == name]

    def via(self, member_id: MemberId) -> MemberId | None:
        """Return through whom a member is seen; None: directly, or it is not up."""
        return self._via.get(member_id)

    def reachable(self) -> list[Member]:
        """Return the members that are up and not seen through others only."""
        return [member for member in self._members.values() if member.id not in self._via]

    @property
    def unreachable(self) -> list[Member]:
        """The members that are up, but with which no link can be had."""
        return [member for member in self._members.values() if member.id in self._via]

    def set_unreachable(self, member_id: MemberId, via: MemberId) -> bool:
        """Note that a member is seen through another one only; return whether that is new."""
        is_new = member_id in self._members and member_id not in self._via
        if member_id in self._members:
            self._via[member_id] = via
            self.number += is_new
        return is_new

    def set_reachable(self, member_id: MemberId) -> bool:
        """Note that there is a link again; return whether there was none."""
        was_unreachable = self._via.pop(member_id, None) is not None
        self.number += was_unreachable
        return was_unreachable

    def saw_name(self, name: str, now: float) -> int:
        """Note that a member of that name is up, or was until now; return how many names went."""
        self._names.pop(name, None)
        self._names[name] = now
        self.known_names(now)
        forgotten = 0
        while len(self._names) > self._names_max:
            del self._names[next(iter(self._names))]
            forgotten += 1
        return forgotten

    def forget_name(self, name: str) -> None:
        """A member of that name left on purpose: unless another one has it, nobody is missed."""
        if not self.named(name):
            self._names.pop(name, None)

    def known_names(self, now: float) -> dict[str, float]:
        """
        Return the names of all other members that are up, or vanished not too long ago.

        Names, not ids: a member that starts again replaces the one before it, so crashes do not
        change how many there are. One that said goodbye is not among them. Our own is not, either.

        Returns:
            Name → when a member of that name was there last; *now* for those that are up.
        """
        for member in self._members.values():
            # To the end, so that names stand in the order in which they were there last.
            self._names.pop(member.name, None)
            self._names[member.name] = now
        for name, seen_at in list(self._names.items()):
            if now - seen_at >= self._forget_after_s:
                del self._names[name]
        return dict(self._names)
