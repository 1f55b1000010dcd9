"""
The oracle: it knows every write that any member ever made, and who knew of which end.

It learns of a write at the member that commits it, before anything of it travels; so it can say of
every copy anywhere whether it is real, complete and the newest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from replsession.identity import Key, MemberId
from replsession.session import counter
from replsession.session.change import Change
from replsession.session.record import Record
from replsession.session.stamp import Stamp


@dataclass(frozen=True, slots=True)
class Written:
    """One commit."""

    stamp: Stamp
    values: dict[str, bytes | None]
    read: int
    """The greatest clock value in the record that the writer had read; 0: there was none."""


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A login: whose session it became, and which ends of all sessions of that name it had seen."""

    place: Key
    seen: dict[MemberId, int]

    def has_seen(self, end: Stamp) -> bool:
        """Tell whether this end came before the login, as far as its member knew."""
        return self.seen.get(end.member, 0) >= end.hlc


@dataclass(frozen=True, slots=True)
class Counted:
    """One count: on which base, and how much."""

    stamp: Stamp
    name: str
    amount: int
    epoch: tuple[int, MemberId]
    """The stamp of what was stored under the name, where it was counted; 0 for nothing."""


@dataclass(slots=True)
class Story:
    """All that happened to one session."""

    born: Stamp
    birth: dict[str, bytes | None]
    writes: dict[Stamp, Written] = field(default_factory=dict)
    by_member: dict[MemberId, list[Written]] = field(default_factory=dict)
    counts: list[Counted] = field(default_factory=list)
    flashed: dict[bytes, MemberId] = field(default_factory=dict)
    """Messages by their ids, and the writer of each."""
    popped: dict[bytes, list[MemberId]] = field(default_factory=dict)
    """Ids of messages, and through whom they were popped."""
    ends: dict[Stamp, None] = field(default_factory=dict)
    """Invalidations by an application."""
    knew: dict[MemberId, None] = field(default_factory=dict)
    """Members that held the tombstone, whoever made it."""
    let_go: dict[MemberId, None] = field(default_factory=dict)
    """Processes that dropped it asleep."""
    hidden: dict[MemberId, int] = field(default_factory=dict)
    """Processes that put it to sleep, or dropped it asleep: the number of the latest time."""
    unshared: dict[MemberId, None] = field(default_factory=dict)
    """Names of writers of a process that dropped it before all others had it: it may be gone
    (docs/design.md, rules 3 and 7)."""
    logins: dict[Stamp, LoggedIn] = field(default_factory=dict)
    buried: bool = False
    """Ended by nobody but by rule 1 of docs/design.md."""

    def write(self, written: Written) -> None:
        """Take note of a commit."""
        self.writes[written.stamp] = written
        self.by_member.setdefault(written.stamp.member, []).append(written)


class Oracle:
    """The stories of all sessions."""

    def __init__(self) -> None:
        self.stories: dict[Key, Story] = {}
        self.all_ended: dict[Key, list[Stamp]] = {}
        """For each principal, when all its sessions were ended."""
        self.commits = 0
        self.hides = 0
        """So often any process put a session to sleep, or dropped one."""

    def born(self, key: Key, stamp: Stamp, values: dict[str, bytes | None]) -> None:
        """A session was created."""
        story = Story(stamp, values)
        story.write(Written(stamp, values, 0))
        self.stories[key] = story
        self.commits += 1

    def wrote(self, key: Key, stamp: Stamp, values: dict[str, bytes | None], read: int) -> None:
        """A request changed a session."""
        self.stories[key].write(Written(stamp, values, read))
        self.commits += 1

    def counted(self, key: Key, counts: list[Counted]) -> None:
        """A request has counted."""
        self.stories[key].counts += counts

    def flashed(self, key: Key, writer: MemberId, change: Change) -> None:
        """A request has flashed and popped messages."""
        story = self.stories[key]
        story.flashed |= {flash.id: writer for flash in change.flashed}
        for gone in change.popped:
            story.popped.setdefault(gone, []).append(writer)

    def ended(self, key: Key, stamp: Stamp) -> None:
        """A request invalidated a session."""
        self.stories[key].ends[stamp] = None
        self.commits += 1

    def logged_in(self, key: Key, stamp: Stamp, login: LoggedIn) -> None:
        """A session became somebody's."""
        self.stories[key].logins[stamp] = login

    def ended_all(self, place: Key, stamp: Stamp) -> None:
        """All sessions of a principal were ended."""
        self.all_ended.setdefault(place, []).append(stamp)
        self.commits += 1

    def ended_with_principal(self, key: Key, stamp: Stamp) -> bool:
        """Take note of a session that ended by this; return whether it had to, or might."""
        story = self.stories[key]
        story.ends[stamp] = None
        return any(
            not login.has_seen(end)
            for login in story.logins.values()
            for end in self.all_ended.get(login.place, ())
        )

    def saw(self, member: MemberId, record: Record) -> None:
        """A member holds this record; take note if it is the end of a session."""
        if record.destroyed is not None:
            story = self.stories[record.key]
            story.knew[member] = None
            story.buried |= record.destroyed not in story.ends

    def knew_end(self, member: MemberId, key: Key) -> bool:
        """Tell whether this incarnation ever held the session's tombstone."""
        story = self.stories.get(key)
        return story is not None and member in story.knew

    def slept(self, member: MemberId, key: Key) -> None:
        """A member put a session to sleep."""
        self.hides += 1
        self.stories[key].hidden[member] = self.hides

    def dropped(self, member: MemberId, key: Key) -> None:
        """A member dropped a session that was asleep."""
        self.slept(member, key)
        self.stories[key].let_go[member] = None

    def let_go(self, member: MemberId, key: Key) -> bool:
        """Tell whether this incarnation dropped the session because it was over."""
        story = self.stories.get(key)
        return story is not None and member in story.let_go

    def has_hidden(self, member: MemberId, key: Key, since: int) -> bool:
        """
        Tell whether this incarnation had the session asleep, or dropped it, since some time.

        Args:
            member: The incarnation.
            key: Of the session.
            since: What ``hides`` was then.
        """
        story = self.stories.get(key)
        return story is not None and story.hidden.get(member, 0) > since

    def is_overtaken(self, story: Story) -> bool:
        """Tell whether a session born later by the same member has ended."""
        return any(
            other.ends and other.born.member == story.born.member and other.born > story.born
            for other in self.stories.values()
        )

    def newest(
        self, key: Key, alive: dict[MemberId, None], records: list[Record]
    ) -> dict[str, Stamp]:
        """
        Return the least that every member must hold of a session in the end.

        For each attribute, the newest of all writes that a living member made or holds. What a
        member wrote to a session that it dropped asleep, before all others had it, may be lost.
        """
        found: dict[str, Stamp] = {}
        for name, stamp in self._candidates(key, alive, records):
            if name not in found or stamp > found[name]:
                found[name] = stamp
        return found

    def _candidates(
        self, key: Key, alive: dict[MemberId, None], records: list[Record]
    ) -> Iterator[tuple[str, Stamp]]:
        story = self.stories[key]
        for written in story.writes.values():
            if written.stamp.member in alive and written.stamp.member not in story.unshared:
                for name in written.values:
                    yield name, written.stamp
        for record in records:
            for name, write in record.attributes.items():
                yield name, Stamp(write.hlc, write.member)


def greatest_in(record: Record) -> int:
    """Return the greatest clock value that a reader of this record has seen."""
    greatest = record.born.hlc
    for write in record.attributes.values():
        greatest = max(greatest, write.hlc)
    for hlc in record.version.values():
        greatest = max(greatest, hlc)
    return greatest


def bases_of(
    story: Story | None, record: Record | None, names: Iterable[str]
) -> dict[str, tuple[int, MemberId]]:
    """Return the stamps of what is counted on under these names, as it is held; 0 for nothing."""
    if story is None or record is None:
        return dict.fromkeys(names, (0, b""))
    held = [count for count in story.counts if is_held(record, count)]
    return {
        name: max([base_in(record, name), *(count.epoch for count in held if count.name == name)])
        for name in names
    }


def base_in(record: Record, name: str) -> tuple[int, MemberId]:
    """Return the stamp of what is stored under the name of a counter; 0 for nothing."""
    base = record.attributes.get(name)
    return (0, b"") if base is None else (base.hlc, base.member)


def is_held(record: Record, count: Counted) -> bool:
    """Return whether a count, or a later one of its writer, is in the record."""
    write = record.attributes.get(counter.register_of(count.stamp.member, count.name))
    return write is not None and write.hlc >= count.stamp.hlc
