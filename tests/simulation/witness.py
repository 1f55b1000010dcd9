"""
The witness: remembers what members held when something began, and looks when it is said to be done.

* EXACT: a repair round that counts has brought each of the two everything that the other one held
  when it began.
* STATE: a member that says it has the state has everything that all its donors held when it
  started.

Sessions that ended or fell asleep meanwhile are left out: they are nobody's loss. That counts even
if they woke again, or were dropped and begun anew by other news: what sleeps is not compared, and
what a member had too much of in its sleep it has not any more. So are those left out that are over
by what is said of them, or about to be: whoever does not know them may refuse them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from replsession.events import Event, StateReceived, StateRequested
from replsession.identity import Key, MemberId
from replsession.node import Node
from replsession.replication.pieces import whole
from replsession.session.expiry import is_too_old
from replsession.session.record import Record
from tests.simulation import telling
from tests.simulation.checkers import Failure
from tests.simulation.oracle import Oracle

Stamps = dict[str, tuple[int, bytes]]
"""Of each attribute, the stamp of its write."""
Held = dict[Key, Stamps]
MARGIN_S = 2.0
"""Ages travel as milliseconds, clocks of the simulation drift, and a round takes a while."""


def held_by(node: Node) -> Held:
    """Return what a member holds of sessions that are neither over nor asleep, nor soon."""
    return {
        record.key: {name: write[:2] for name, write in record.attributes.items()}
        for record in node.store.records()
        if not _is_over(node, record)
    }


def in_all(parts: Iterable[Held]) -> Held:
    """Return the least that is in all parts: the sessions, the attributes, the older stamps."""
    first, *others = parts
    for other in others:
        first = {
            key: {name: min(stamp, other[key][name]) for name, stamp in stamps.items()}
            for key, stamps in first.items()
            if key in other and stamps.keys() <= other[key].keys()
        }
    return first


def _is_over(node: Node, record: Record | None) -> bool:
    if record is None or record.destroyed is not None or record.asleep:
        return True
    return is_too_old(whole(record, node._now + MARGIN_S))


def require(
    checker: str,
    oracle: Oracle,
    who: Node,
    name: str,
    due: Held,
    holders: list[Node],
    since: int,
) -> None:
    """
    Fail if a member lacks something that is due.

    Args:
        checker: Who says so.
        oracle: Knows which sessions have ended.
        who: The member that must hold it.
        name: Its name, for people.
        due: What it must hold.
        holders: Members that held it; what one of them has dropped meanwhile is not looked for.
        since: What the oracle's ``hides`` was when *due* was looked at.
    """
    for key, stamps in due.items():
        if any(_is_over(holder, holder.store.peek(key)) for holder in holders):
            continue
        # What a holder has now may be a part of it that came back from who never had the rest.
        if any(oracle.has_hidden(node.me.id, key, since) for node in (who, *holders)):
            continue
        record = who.store.peek(key)
        if record is None and not oracle.knew_end(who.me.id, key):
            raise Failure(checker, f"{name}: session {telling.key(key)} did not come")
        if record is None or _is_over(who, record):
            continue
        for attribute, stamp in stamps.items():
            write = record.attributes.get(attribute)
            if write is None or write[:2] < stamp:
                what = f"{attribute!r} of {telling.stamp(stamp)} did not come"
                raise Failure(checker, f"{name}: session {telling.key(key)}: {what}")


@dataclass(slots=True)
class Witness:
    """
    Looks at one member.

    Args:
        oracle: Knows which sessions have ended.
        node: The member.
        name: Its name.
        find: Returns the node of a member that runs, by its id.
        others: All members that run when this one starts.
    """

    oracle: Oracle
    node: Node
    name: str
    find: Callable[[MemberId], Node | None]
    others: list[Node]
    _before: dict[MemberId, Held] = field(default_factory=dict)
    _donors: dict[MemberId, None] = field(default_factory=dict)
    _round: int = 0
    _counted: int = 0
    _partner: Node | None = None
    _mine: Held = field(default_factory=dict)
    _theirs: Held = field(default_factory=dict)
    _hides_at_start: int = field(init=False)
    _hides_before: int = 0
    """What the oracle's ``hides`` was when the round began."""

    def __post_init__(self) -> None:
        self._hides_at_start = self.oracle.hides
        for other in self.others:
            if other.is_ready:
                self._before[other.me.id] = held_by(other)

    def told(self, event: Event) -> None:
        """The member told an event."""
        if isinstance(event, StateRequested):
            self._donors[event.donor.id] = None
        elif isinstance(event, StateReceived):
            self._received()

    def look(self) -> None:
        """The member has done something: perhaps it began a round, or ended one."""
        rounds, counted = self.node.repairer.rounds, self.node.metrics.repair_rounds
        if counted != self._counted:
            self._counted = counted
            self._finished()
        if rounds.running is not None and rounds.number != self._round:
            self._round = rounds.number
            self._partner = self.find(rounds.running.member)
            self._hides_before = self.oracle.hides
            self._mine = held_by(self.node)
            self._theirs = held_by(self._partner) if self._partner is not None else {}

    def _received(self) -> None:
        if all(donor in self._before for donor in self._donors):
            due = in_all(self._before[donor] for donor in self._donors)
            nodes = [node for node in self.others if node.me.id in self._donors]
            since = self._hides_at_start
            require("STATE", self.oracle, self.node, self.name, due, nodes, since)
        self._before.clear()
        self.others = []

    def _finished(self) -> None:
        if self._partner is not None:
            both, since = [self.node, self._partner], self._hides_before
            for who, due, holder in zip(both, (self._theirs, self._mine), both[::-1], strict=True):
                name = self.name if who is self.node else f"{self.name}'s partner"
                require("EXACT", self.oracle, who, name, due, [holder], since)
        self._partner = None
