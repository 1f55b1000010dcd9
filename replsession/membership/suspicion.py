"""
Suspicion: what happens between the silence of a member and the verdict that it is gone.

::

    silent for drop_after_s ──▶ suspected: a probe on its link, a fresh dial, others are asked
    its link was closed     ──▶ suspected: a dial at once; if that is not answered, others are asked
                                   │ a sign of life: no word more of it
                                   │ the dial is refused: gone at once
                                   └ nothing for suspect_s: another one heard it? unreachable : gone

Source: Das, Gupta, Motivala, "SWIM", 2002 (asking others); memberlist ``suspicion.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from replsession.config import Timing
from replsession.events import STILL_ALIVE
from replsession.identity import MemberId
from replsession.membership.detector import heard_lately, is_silent
from replsession.membership.mesh import Link, LinkId
from replsession.membership.neighbours import LinkedWith
from replsession.messages import Inquiry, Message, Probe, Testimony
from replsession.metrics import Metrics

Verifying: TypeAlias = Callable[[MemberId, str, bool], None]
WITNESSES_MAX = 3
"""How many others are asked about a suspect. Source: SWIM; memberlist ``IndirectChecks``."""


def _nobody(member_id: MemberId, reason: str, is_over: bool) -> None:
    """Nobody is told."""


@dataclass(slots=True)
class Suspect:
    """A member under suspicion."""

    reason: str
    """For people: why its link was closed, or the latest dial failed."""
    heard_at: float | None
    """When it was heard last, if it was its silence that made it a suspect."""
    since: float
    until: float
    ask_at: float | None
    """When others are to be asked; None: they are."""
    witness: MemberId | None = None
    """Who has heard it lately."""


@dataclass(slots=True)
class Suspicions:
    """All suspects of one member; ``links``, ``link_of`` and ``messages`` are its membership's."""

    timing: Timing
    rng: Random
    metrics: Metrics
    links: dict[LinkId, Link]
    link_of: dict[MemberId, LinkId]
    linked_with: LinkedWith
    messages: list[tuple[LinkId, Message]]
    verifying: Verifying = _nobody
    """Is told when a suspicion begins, with its reason, and when it is over, with the verdict."""
    suspects: dict[MemberId, Suspect] = field(default_factory=dict)
    _probes: int = 0
    _stopped_at: float = float("-inf")
    """Until when we were stopped ourselves: silence before that is nobody's fault."""
    _silent_at: float = float("inf")
    """When the first of the links has been silent for too long, if nothing comes."""

    def __contains__(self, member_id: MemberId) -> bool:
        return member_id in self.suspects

    def listen(self, now: float) -> Iterator[Link]:
        """Suspect those whose links are silent, and yield these links."""
        self._silent_at = float("inf")
        for link in self.links.values():
            if link.member is None:
                continue
            heard_at = max(link.last_heard, self._stopped_at)
            if not is_silent(now, heard_at, self.timing):
                self._silent_at = min(self._silent_at, heard_at + self.timing.drop_after_s)
            elif link.member not in self.suspects:
                self._begin(link.member, "silent", link.last_heard, now, now)
                self._probes += 1
                self.messages.append((link.id, Probe(self._probes)))
                yield link

    def doubt(self, member_id: MemberId, reason: str, now: float) -> None:
        """A member's link is gone, and it will be dialled."""
        # A dial that is refused says more, and sooner, than others could. So they are asked later.
        self._begin(member_id, reason, None, now, now + self.timing.suspect_s / 4)

    def ask(self, now: float) -> None:
        """Ask others about those suspects for whom it is time."""
        for member_id, suspect in self.suspects.items():
            if suspect.ask_at is not None and suspect.ask_at <= now:
                suspect.ask_at = None
                others = [other for other in self.link_of if other not in self.suspects]
                asked = witnesses(member_id, others, self.linked_with, self.rng)
                self.messages += [(self.link_of[other], Inquiry(member_id)) for other in asked]

    def testify(self, link: Link, member_id: MemberId, now: float) -> None:
        """Answer whoever asks on this link when we heard a member, if we have a link with it."""
        held = self.links.get(self.link_of.get(member_id, -1))
        if held is not None:
            heard_ms = max(0, int((now - held.last_heard) * 1000))
            self.messages.append((link.id, Testimony(member_id, heard_ms)))

    def testified(self, witness: MemberId, testimony: Testimony, now: float) -> None:
        """Another member has a link with one that may be a suspect, and heard it so long ago."""
        suspect = self.suspects.get(testimony.member)
        heard_at = now - testimony.heard_ms / 1000
        if suspect is not None and heard_lately(heard_at, suspect.since, self.timing):
            suspect.witness = witness

    def clear(self, member_id: MemberId, verdict: str = STILL_ALIVE) -> bool:
        """Drop a suspicion; return whether there was one."""
        if self.suspects.pop(member_id, None) is None:
            return False
        self.verifying(member_id, verdict, True)
        return True

    def restart(self, now: float) -> None:
        """We were stopped ourselves: all silence is measured anew, and so is every suspicion."""
        self._stopped_at = now
        for suspect in self.suspects.values():
            suspect.until = now + self.timing.suspect_s

    def over(self, now: float) -> list[tuple[MemberId, str, MemberId | None]]:
        """Return the suspects whose time is over: reason, and who has heard them lately."""
        verdicts: list[tuple[MemberId, str, MemberId | None]] = []
        for member_id, suspect in self.suspects.items():
            if now >= suspect.until:
                reason = suspect.reason
                if suspect.heard_at is not None:
                    reason = f"silent for {now - suspect.heard_at:.1f} s"
                verdicts.append((member_id, reason, suspect.witness))
        return verdicts

    def next_at(self, at: float) -> float:
        """Return when something is due here, or *at* if that is earlier."""
        at = min(at, self._silent_at)
        for suspect in self.suspects.values():
            at = min(at, suspect.until)
            if suspect.ask_at is not None:
                at = min(at, suspect.ask_at)
        return at

    def _begin(
        self, member_id: MemberId, reason: str, heard_at: float | None, now: float, ask_at: float
    ) -> None:
        if member_id not in self.suspects:
            self.metrics.members_suspected += 1
            until = now + self.timing.suspect_s
            self.suspects[member_id] = Suspect(reason, heard_at, now, until, ask_at)
            self.verifying(member_id, reason, False)


def witnesses(
    suspect: MemberId, linked: list[MemberId], linked_with: LinkedWith, rng: Random
) -> list[MemberId]:
    """
    Return whom to ask about a suspect: a few that have a link with it, else a few of all.

    Args:
        suspect: The member in question.
        linked: The members that can be asked.
        linked_with: For each of these, whom it said it has a link with.
        rng: Chooses among many.
    """
    fit = [other for other in linked if suspect in linked_with.get(other, ())] or linked
    return fit if len(fit) <= WITNESSES_MAX else rng.sample(fit, WITNESSES_MAX)
