"""
The view: the members that are up, as this member sees it, oldest first.

Two members may have different views at a time. That is allowed: no rule of the data depends on the
view, it only says whom to send to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from replsession.events import Member
from replsession.identity import MemberId


class View:
    """Members by id. ``number`` grows with every change."""

    def __init__(self) -> None:
        self._members: dict[MemberId, Member] = {}
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

    def put(self, member: Member) -> bool:
        """Add a member or what is new of it; return whether it was not there before."""
        is_new = member.id not in self._members
        self._members[member.id] = member
        if is_new:
            self._members = dict(
                sorted(self._members.items(), key=lambda item: (item[1].incarnation, item[0]))
            )
        self.number += 1
        return is_new

    def remove(self, member_id: MemberId) -> Member | None:
        """Take a member out; return it, or None when it was not there."""
        member = self._members.pop(member_id, None)
        self.number += member is not None
        return member

    def set_ready(self, member_id: MemberId, ready: bool) -> None:
        """Note whether the member has its state."""
        member = self._members.get(member_id)
        if member is not None and member.ready != ready:
            self._members[member_id] = replace(member, ready=ready)
            self.number += 1

    def named(self, name: str) -> list[Member]:
        """Return the members of that name: usually one, two while a restart is noticed."""
        return [member for member in self._members.values() if member.name == name]
