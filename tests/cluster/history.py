"""
What browsers saw of a cluster, and whether any of it breaks a promise.

A :class:`History` holds every request that was made, the stops of members, and what each member
held in the end. Each checker yields what it found; :func:`check` runs them all. Nothing here knows
how a member works.

1. Each browser writes one attribute of a session, ``w<browser>``: a list to which it appends
   tokens, each different from all others. So one attribute has one writer, whose requests follow
   each other.
2. A write that was answered took place between its start and its end. One that was not may have
   taken place later, but not after its member was stopped.
3. One write is *older* than another when it ended before the other began. Where neither is, either
   may be the newest: both of two concurrent writes to one attribute are not promised.
4. A browser may append to a stale copy. The newest write then lacks earlier tokens, and that is no
   loss: it was the newest. What a browser may expect to see is in ``guarantees.py``.
5. A write is *excused* if its member was killed so soon that perhaps nobody else had it.

Source: for intervals, Herlihy and Wing, "Linearizability", 1990.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

Values: TypeAlias = Mapping[str, Sequence[str]]
"""The attributes of a session: name to tokens."""

GRACE_S = 0.5
"""After so long every member has a write, unless it is cut off: the stream takes milliseconds."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One request, as the browser saw it. Times are seconds of the machine's monotonic clock."""

    kind: Literal["append", "read", "invalidate"]
    browser: str
    member: str
    start: float
    end: float
    status: int
    """200; 404: the member does not know the session; 0: no answer; else something is wrong."""
    asked: str | None = None
    """Id of the session asked for; None: a new one."""
    session: str | None = None
    """Id of the session that answered; None without an answer."""
    attribute: str = ""
    token: str = ""
    values: Values = field(default_factory=dict)
    """All attributes, in the answer."""
    stale: bool = False
    """The answer said itself that it may be behind."""
    was_sent: bool = True
    """False: nothing of the request left, so it did nothing."""
    error: str = ""

    @property
    def name(self) -> str | None:
        """Return the id of the session that it is about, if anybody knows."""
        return self.session or self.asked


@dataclass(frozen=True, slots=True)
class Stop:
    """A member stopped, and may have started again since."""

    member: str
    at: float
    was_killed: bool


@dataclass(frozen=True, slots=True)
class Held:
    """One session as one member holds it."""

    digest: str
    values: Values


Copy: TypeAlias = Mapping[str, Held]
"""What one member holds: id of a session to what it has."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken."""

    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


class Write(NamedTuple):
    """One append, and when it may have taken place."""

    token: str
    start: float
    end: float
    """Infinite: nobody knows."""
    values: Sequence[str] | None
    """The attribute afterwards; None: it was not answered."""
    is_excused: bool
    by: str


class Place(NamedTuple):
    """One attribute of one session."""

    session: str
    attribute: str


class History:
    """
    A history that is over.

    Args:
        operations: All of them; those of one browser in order.
        stops: When members stopped.
        copies: What each member held at the end, when they had agreed.
        settled_at: From here on, every member knew all that had been answered before.
        grace_s: Seconds, see rule 5.
        skew_s: Seconds by which the clocks of members are apart.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        *,
        stops: Sequence[Stop] = (),
        copies: Mapping[str, Copy] | None = None,
        settled_at: float = math.inf,
        grace_s: float = GRACE_S,
        skew_s: float = 0.0,
    ) -> None:
        self.operations = operations
        self.stops = sorted(stops, key=lambda stop: stop.at)
        self.copies = copies or {}
        self.settled_at = settled_at
        self._grace_s = grace_s
        self._skew_s = skew_s

    @cached_property
    def writes(self) -> dict[Place, list[Write]]:
        """All writes of each attribute whose session is known, in order."""
        found: dict[Place, list[Write]] = defaultdict(list)
        for operation in self.operations:
            if operation.kind == "append" and operation.name and self.may_have_happened(operation):
                found[Place(operation.name, operation.attribute)].append(self._write(operation))
        return dict(found)

    @cached_property
    def ends(self) -> dict[str, list[Operation]]:
        """All invalidations that may have happened, by session."""
        found: dict[str, list[Operation]] = defaultdict(list)
        for operation in self.operations:
            if operation.kind == "invalidate" and self.may_have_happened(operation):
                found[str(operation.asked)].append(operation)
        return dict(found)

    @cached_property
    def sessions(self) -> dict[str, None]:
        """Ids of all sessions that a browser was told of."""
        return dict.fromkeys(o.session for o in self.operations if o.session is not None)

    @cached_property
    def served(self) -> dict[str, list[Operation]]:
        """Requests for a session that were served, by its id."""
        found: dict[str, list[Operation]] = defaultdict(list)
        for operation in self.operations:
            if operation.status == 200 and operation.asked is not None:
                found[operation.asked].append(operation)
        return dict(found)

    @cached_property
    def by_browser(self) -> dict[tuple[str, str], list[Operation]]:
        """What each browser did with each session, in order."""
        found: dict[tuple[str, str], list[Operation]] = defaultdict(list)
        for operation in self.operations:
            if operation.name is not None:
                found[operation.browser, operation.name].append(operation)
        return dict(found)

    def may_have_happened(self, operation: Operation) -> bool:
        """Tell whether a request may have changed something."""
        return operation.status == 200 or (operation.status != 404 and operation.was_sent)

    def is_older(self, one: Write, other: Write) -> bool:
        """Tell whether the first of two writes of one attribute surely has the lesser stamp."""
        return one.end + self._skew_s < other.start

    def is_excused(self, operation: Operation) -> bool:
        """Tell whether what was answered may have been lost with its member; rule 5."""
        stop = self.stop_after(operation)
        return stop is not None and stop.was_killed and stop.at <= operation.end + self._grace_s

    def stop_after(self, operation: Operation) -> Stop | None:
        """Return when the member that was asked stopped for the first time after that."""
        for stop in self.stops:
            if stop.member == operation.member and stop.at >= operation.start:
                return stop
        return None

    def due(self, place: Place) -> list[Write]:
        """Return the writes of an attribute that must be there, or a newer one in their place."""
        return [w for w in self.writes.get(place, ()) if w.values is not None and not w.is_excused]

    def _write(self, operation: Operation) -> Write:
        values = operation.values.get(operation.attribute) if operation.status == 200 else None
        end = operation.end
        if values is None:
            stop = self.stop_after(operation)
            end = math.inf if stop is None else stop.at
        excused = self.is_excused(operation)
        return Write(operation.token, operation.start, end, values, excused, operation.member)


def answered(history: History) -> Iterator[Violation]:
    """ANSWERED: a member answers properly or not at all, about the session that was asked for."""
    for operation in history.operations:
        if operation.status not in (0, 200, 404):
            yield told(operation, "ANSWERED", f"status {operation.status}, {operation.error}")
        elif operation.status == 200 and operation.asked not in (None, operation.session):
            yield told(operation, "ANSWERED", f"about session {operation.session}")
        elif operation.status == 200 and operation.kind == "append":
            tokens = operation.values.get(operation.attribute, ())
            if not tokens or tokens[-1] != operation.token:
                yield told(operation, "ANSWERED", f"{tokens} has not what was written")


def real(history: History) -> Iterator[Violation]:
    """REAL: every token that is read was written before, once, to this place and no other."""
    sent = {o.token: o for o in history.operations if o.kind == "append"}

    def wrong(session: str, values: Values, at: float) -> Iterator[str]:
        for attribute, tokens in values.items():
            if len(set(tokens)) != len(tokens):
                yield f"{attribute} has a token twice: {tokens}"
            for token in tokens:
                source = sent.get(token)
                if source is None or source.start > at:
                    yield f"{attribute} has {token}, which nobody has written yet"
                elif source.attribute != attribute or source.name not in (None, session):
                    yield f"{attribute} has {token}, written to {source.name}"

    for operation in history.operations:
        if operation.status == 200 and operation.session is not None:
            for what in wrong(operation.session, operation.values, operation.end):
                yield told(operation, "REAL", what)
    for member, copy in history.copies.items():
        for session, held in copy.items():
            if session in history.sessions:
                for what in wrong(session, held.values, math.inf):
                    yield Violation("REAL", f"{member} holds of {session}: {what}")


def agreed(history: History) -> Iterator[Violation]:
    """AGREED: in the end all members hold the same."""
    members = list(history.copies)
    for session in dict.fromkeys(s for copy in history.copies.values() for s in copy):
        held = [history.copies[member].get(session) for member in members]
        if any(other != held[0] for other in held):
            shown = ", ".join(f"{m} has {h}" for m, h in zip(members, held, strict=True))
            yield Violation("AGREED", f"session {session}: {shown}")


def kept(history: History) -> Iterator[Violation]:
    """KEPT: in the end each attribute of a session that nobody ended has its newest write."""
    for place, writes in history.writes.items():
        due = history.due(place)
        if not due or place.session in history.ends:
            continue
        newest = [w for w in writes if not any(history.is_older(w, other) for other in due)]
        for member, copy in history.copies.items():
            held = copy.get(place.session)
            tokens = held.values.get(place.attribute) if held is not None else None
            if not any(_is_result(tokens, write) for write in newest):
                expected = " or ".join(f"{w.token} by {w.by}" for w in newest)
                what = f"{place.attribute} is {tokens}, must end in {expected}"
                yield Violation("KEPT", f"{member}, session {place.session}: {what}")


def dead(history: History) -> Iterator[Violation]:
    """DEAD: what ended is not served again, at once where it ended, and everywhere once settled."""
    for session, operations in history.ends.items():
        due = [o for o in operations if o.status == 200 and not history.is_excused(o)]
        if not due:
            continue
        for member, copy in history.copies.items():
            if session in copy:
                yield Violation("DEAD", f"{member} holds {session}, which was ended")
        for served in history.served.get(session, ()):
            for end in due:
                if _must_know(history, served, end):
                    yield told(served, "DEAD", f"ended by {end.browser} at {end.member}")


Checker: TypeAlias = Callable[[History], Iterator[Violation]]
CHECKERS: tuple[Checker, ...] = (answered, real, agreed, kept, dead)
"""What holds without tokens; what needs them is in ``guarantees.py``."""


def check(history: History, checkers: Sequence[Checker] = CHECKERS) -> list[Violation]:
    """Return everything that breaks a promise."""
    return [violation for checker in checkers for violation in checker(history)]


def _is_result(tokens: Sequence[str] | None, write: Write) -> bool:
    if tokens is None:
        return False
    if write.values is None:
        return bool(tokens) and tokens[-1] == write.token
    return list(tokens) == list(write.values)


def _must_know(history: History, served: Operation, end: Operation) -> bool:
    if served.start >= history.settled_at > end.end:
        return True
    stop = history.stop_after(end)
    ran_on = stop is None or stop.at >= served.end
    return served.member == end.member and ran_on and served.start > end.end


def told(operation: Operation, rule: str, what: str) -> Violation:
    """Return what is wrong with one answer, with all that helps to find it again."""
    asked = f"{operation.kind} {operation.token}".strip()
    where = f"at {operation.member} for {operation.browser} in session {operation.name}"
    return Violation(rule, f"{operation.start:.3f} to {operation.end:.3f}, {asked} {where}: {what}")
