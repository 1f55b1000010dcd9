"""
Whom to dial, where, and when.

::

    candidate   a member known by its id: heard, told by a neighbour, or once linked
    seed        an address only: a setting, or what a DNS name resolves to

Rules of this file:

1. One dial for each address at a time: after a restart two candidates may have one address.
2. A candidate is dialled while it has no link, a seed while no candidate has its address and the
   member that answered there has no link. Both for ever, less and less often.
3. A seed that was answered by ourselves is never dialled again.
4. Who has said goodbye never comes back: a new start has a new id.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from replsession.config import NodeConfig, Timing
from replsession.identity import Address, MemberId
from replsession.membership.detector import redial_pause
from replsession.metrics import Metrics

DEPARTED_MAX = 256
"""Members remembered that said goodbye; what is late of them is late by seconds."""
IsWanted: TypeAlias = Callable[[MemberId], bool]
REFUSALS = 5
"""So often a member that has just been killed is dialled while its last heartbeat is still new."""
HEARD_PAUSE_S = 1.0
"""Longest pause before a member is dialled whose heartbeat has just come."""


@dataclass(frozen=True, slots=True)
class Dial:
    """Order to the channel: open a link to this address, and report on it under this number."""

    dial: int
    address: Address


@dataclass(slots=True)
class Candidate:
    """A member that may be dialled."""

    address: Address
    heard_at: float
    dial_at: float
    failures: int = 0
    dial: int | None = None
    """Number of the dial under way."""

    def is_heard(self, address: Address, now: float) -> None:
        """The member itself says where it is."""
        if address != self.address:
            self.address, self.failures, self.dial_at = address, 0, now
        # A member that is heard is worth dialling soon, however often it failed before.
        self.dial_at = min(self.dial_at, now + HEARD_PAUSE_S)

    def is_out_of_reach(self, now: float, timing: Timing, *, refused: bool) -> bool:
        """Tell whether the member is heard right now, although no link with it can be had."""
        is_heard = now - self.heard_at <= 2 * timing.heartbeat_interval_s
        return is_heard and (not refused or self.failures >= REFUSALS)


@dataclass(slots=True)
class Seed:
    """An address where a member may be."""

    dial_at: float
    failures: int = 0
    dial: int | None = None
    answered: MemberId | None = None
    """Who answered there; its own address may be another one."""


class Dialling:
    """
    Candidates and seeds of one member, and the dials under way.

    Args:
        config: Bounds and times.
        me: Our own id.
        rng: Spreads the pauses, so that members do not dial in step.
        metrics: Where bounds that bite are counted.
    """

    def __init__(self, config: NodeConfig, me: MemberId, rng: Random, metrics: Metrics) -> None:
        self._timing = config.timing
        self._limits = config.limits
        self._me = me
        self._rng = rng
        self._metrics = metrics
        self.candidates: dict[MemberId, Candidate] = {}
        self.seeds: dict[Address, Seed] = {}
        self.departed: dict[MemberId, None] = {}
        self._dials = 0
        self._new_until: float | None = None

    def time_passed(self, now: float, is_wanted: IsWanted) -> None:
        """Drop candidates without any sign for very long, and note when we have begun."""
        if self._new_until is None:
            self._new_until = now + self._timing.discovery_s
        for member_id, candidate in list(self.candidates.items()):
            silence = now - candidate.heard_at
            if candidate.dial is None and silence >= self._timing.candidate_retention_s:
                if not is_wanted(member_id):
                    del self.candidates[member_id]

    def hint(
        self,
        member_id: MemberId,
        address: Address,
        now: float,
        is_wanted: IsWanted,
    ) -> Candidate | None:
        """
        Take note that a member is said to be at an address.

        Args:
            member_id: The member.
            address: Where it listens; kept if the member is not known yet.
            now: Time of the hint.
            is_wanted: Tells which of the old candidates must stay, if there is no room.

        Returns:
            The candidate; None: there is no room for it, it has left, or it is ourselves.
        """
        if member_id == self._me or member_id in self.departed:
            return None
        candidate = self.candidates.get(member_id)
        if candidate is None:
            is_full = len(self.candidates) >= self._limits.members_max
            if is_full and not self._make_room(now, is_wanted):
                self._metrics.candidates_refused += 1
                return None
            candidate = Candidate(address, now, now + self._wait_s(member_id, now))
            self.candidates[member_id] = candidate
        candidate.heard_at = now
        return candidate

    def depart(self, member_id: MemberId) -> None:
        """A member has said goodbye: it is no candidate, whatever is said of it from now on."""
        self.candidates.pop(member_id, None)
        self.departed[member_id] = None
        while len(self.departed) > DEPARTED_MAX:
            del self.departed[next(iter(self.departed))]

    def addresses_found(self, addresses: Iterable[Address], now: float) -> None:
        """Replace the seeds; what is known of an address that stays is kept."""
        found = list(dict.fromkeys(addresses))
        self._metrics.seeds_ignored += max(0, len(found) - self._limits.seeds_max)
        found = found[: self._limits.seeds_max]
        self.seeds = {address: self.seeds.get(address, Seed(now)) for address in found}

    def up(self, member_id: MemberId, address: Address, now: float) -> None:
        """A member said HELLO, so it is a candidate whenever it has no link."""
        candidate = self.candidates.setdefault(member_id, Candidate(address, now, now))
        candidate.address, candidate.failures, candidate.dial = address, 0, None
        candidate.heard_at = now

    def answered(self, dial: int | None, member_id: MemberId) -> None:
        """A dial was answered by this member, whomever we looked for."""
        for seed in self.seeds.values():
            if dial is not None and seed.dial == dial:
                seed.dial, seed.failures, seed.answered = None, 0, member_id

    def failed(self, dial: int, now: float) -> MemberId | None:
        """A dial came to nothing; return whose it was, None if it was nobody's that is known."""
        for member_id, candidate in self.candidates.items():
            if candidate.dial == dial:
                self._postpone(candidate, now)
                return member_id
        for seed in self.seeds.values():
            if seed.dial == dial:
                self._postpone(seed, now)
        return None

    def fresh(self, member_id: MemberId, address: Address, now: float) -> Iterator[Dial]:
        """Yield a dial to a member right now, unless one to its address is under way."""
        candidate = self.candidates.setdefault(member_id, Candidate(address, now, now))
        if candidate.address not in self._busy():
            yield self._dial(candidate, candidate.address)

    def due(self, now: float, linked: Container[MemberId]) -> Iterator[Dial]:
        """Yield the dials that are due."""
        busy = self._busy()
        for member_id, candidate in self.candidates.items():
            if candidate.dial is None and member_id not in linked:
                if candidate.dial_at <= now and candidate.address not in busy:
                    busy[candidate.address] = None
                    yield self._dial(candidate, candidate.address)
        for address, seed in self._waiting_seeds(linked):
            if seed.dial_at <= now and address not in busy:
                busy[address] = None
                yield self._dial(seed, address)

    def next_at(self, at: float, linked: Container[MemberId]) -> float:
        """Return when the next dial is due, or *at* if that is earlier."""
        busy = self._busy()
        for member_id, candidate in self.candidates.items():
            if candidate.dial is None and member_id not in linked:
                if candidate.address not in busy:
                    at = min(at, candidate.dial_at)
        for address, seed in self._waiting_seeds(linked):
            if address not in busy:
                at = min(at, seed.dial_at)
        return at

    def _waiting_seeds(self, linked: Container[MemberId]) -> Iterator[tuple[Address, Seed]]:
        if not self.seeds:
            return
        known = {candidate.address for candidate in self.candidates.values()}
        for address, seed in self.seeds.items():
            is_answered = seed.answered == self._me or seed.answered in linked
            if seed.dial is None and not is_answered and address not in known:
                yield address, seed

    def _wait_s(self, member_id: MemberId, now: float) -> float:
        # A member that starts is heard and dialled by all others at once. It need not dial too, and
        # have a second link take the place of the first, unless nothing comes of theirs.
        is_new = self._new_until is not None and now < self._new_until
        return self._timing.heartbeat_interval_s if is_new and self._me > member_id else 0.0

    def _dial(self, target: Candidate | Seed, address: Address) -> Dial:
        self._dials += 1
        target.dial = self._dials
        return Dial(self._dials, address)

    def _postpone(self, target: Candidate | Seed, now: float) -> None:
        target.dial = None
        target.failures += 1
        pause = redial_pause(target.failures, self._timing)
        target.dial_at = now + pause * (0.7 + 0.6 * self._rng.random())

    def _busy(self) -> dict[Address, None]:
        dialled = {one.address: None for one in self.candidates.values() if one.dial is not None}
        for address, seed in self.seeds.items():
            if seed.dial is not None:
                dialled[address] = None
        return dialled

    def _make_room(self, now: float, is_wanted: IsWanted) -> bool:
        # Members that crashed stay candidates for long; they must not keep new ones out.
        silent = [
            (candidate.heard_at, member_id)
            for member_id, candidate in self.candidates.items()
            if candidate.dial is None
            and now - candidate.heard_at >= self._timing.drop_after_s
            and not is_wanted(member_id)
        ]
        if silent:
            del self.candidates[min(silent)[1]]
        return bool(silent)
