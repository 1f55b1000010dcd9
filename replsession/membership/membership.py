"""
Membership: from a hint to a member that is up, and from silence to one that is gone.

::

    heartbeat ──▶ candidate ──dial──▶ link ──HELLO──▶ up ──closed──▶ verified by a dial at once
                     ▲                                 │                 │ refused: gone
                     └──────── dialled again ◀─────────┴── silent, goodbye: gone

No event here destroys data; a wrong verdict costs a few messages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from replsession.config import NodeConfig
from replsession.errors import WireError
from replsession.events import Event, Member, MemberJoined, MemberLeft
from replsession.identity import Address, MemberId
from replsession.membership.detector import is_silent, redial_pause, was_late
from replsession.membership.mesh import Link, LinkId, stays
from replsession.membership.view import View
from replsession.messages import Heartbeat, Hello

DEPARTED_MAX = 256


@dataclass(frozen=True, slots=True)
class Dial:
    """Order to the channel: open a link to this address, and report on it under this number."""

    dial: int
    address: Address


@dataclass(frozen=True, slots=True)
class Close:
    """Order to the channel: close this link."""

    link: LinkId
    reason: str


@dataclass(slots=True)
class Candidate:
    """A member that may be dialled."""

    address: Address
    heard_at: float
    dial_at: float
    failures: int = 0
    dial: int | None = None
    """Number of the dial under way."""
    verifying: str | None = None
    """Why the member is doubted; it is gone if the dial under way fails."""


class Membership:
    """
    Candidates, links and the view of one member.

    Methods named after what happened return nothing; what follows is in ``orders`` and ``events``,
    which the node takes out, and in ``changes``: members whose link came (True) or went (False).
    """

    def __init__(self, config: NodeConfig, me: Member, rng: Random) -> None:
        self._timing = config.timing
        self._limits = config.limits
        self._rng = rng
        self.me = me
        self.view = View()
        self.links: dict[LinkId, Link] = {}
        self.link_of: dict[MemberId, LinkId] = {}
        self.candidates: dict[MemberId, Candidate] = {}
        self.departed: dict[MemberId, None] = {}
        self.orders: list[Dial | Close] = []
        self.events: list[Event] = []
        self.changes: list[tuple[MemberId, bool]] = []
        self._dials = 0
        self._new_until: float | None = None

    def heartbeat_received(self, heartbeat: Heartbeat, now: float) -> None:
        """A heartbeat whose signature was right came from the address that it names."""
        member_id = heartbeat.member
        if member_id == self.me.id or member_id in self.departed:
            return
        candidate = self.candidates.get(member_id)
        if candidate is None:
            if len(self.candidates) >= self._limits.members_max and not self._make_room(now):
                return
            candidate = Candidate(heartbeat.address, now, now + self._wait_s(member_id, now))
            self.candidates[member_id] = candidate
        candidate.address = heartbeat.address
        candidate.heard_at = now
        # A member that is heard is worth dialling soon, however often it failed before.
        candidate.dial_at = min(candidate.dial_at, now + 1.0)
        self._dial_due(now)

    def link_opened(
        self,
        link_id: LinkId,
        address: Address,
        certified: MemberId | None,
        dial: int | None,
        now: float,
    ) -> bool:
        """
        A link is there, ours (*dial* is the number of the order) or another member's.

        Returns:
            Whether it may be used; False: it is closed again, there are too many.
        """
        self.links[link_id] = Link(link_id, address, dial, now, certified)
        if len(self.links) <= self._limits.links_max:
            return True
        self._close(link_id, "too many links", now)
        return False

    def dial_failed(self, dial: int, reason: str, now: float) -> None:
        """A dial came to nothing. A member that was doubted is gone."""
        for member_id, candidate in self.candidates.items():
            if candidate.dial == dial:
                candidate.dial = None
                candidate.failures += 1
                pause = redial_pause(candidate.failures, self._timing)
                candidate.dial_at = now + pause * (0.7 + 0.6 * self._rng.random())
                if candidate.verifying is not None:
                    candidate.verifying = None
                    self._gone(member_id, reason)
                return

    def hello(self, is_ready: bool, alive_s: float) -> Hello:
        """Return what to say first on every link."""
        me = self.me
        alive_ms = int(alive_s * 1000)
        return Hello(me.id, me.name, me.incarnation, me.address, is_ready, alive_ms)

    def hello_received(self, link_id: LinkId, hello: Hello, now: float) -> None:
        """
        The first message of a link: the member is up.

        Raises:
            WireError: it is not the member that the certificate names, or we talk to ourselves.
        """
        link = self.links[link_id]
        if hello.member == self.me.id:
            self._not_the_member(link, None)
            raise WireError("this is our own receiver")
        if link.certified is not None and link.certified != hello.member:
            raise WireError("the certificate names another member")
        if link.member is not None:
            raise WireError("a second HELLO")
        self._not_the_member(link, hello.member)
        link.member = hello.member
        self.departed.pop(hello.member, None)
        candidate = self.candidates.get(hello.member)
        if candidate is not None:
            candidate.verifying = candidate.dial = None
        self._use(link, hello, now)

    def goodbye_received(self, link_id: LinkId, now: float) -> None:
        """The member leaves on purpose; its late heartbeats are no hint any more."""
        member_id = self.links[link_id].member
        if member_id is not None:
            self.candidates.pop(member_id, None)
            self.departed[member_id] = None
            while len(self.departed) > DEPARTED_MAX:
                del self.departed[next(iter(self.departed))]
            for link in list(self.links.values()):
                if link.member == member_id:
                    self._close(link.id, "said goodbye", now)
            self._gone(member_id, "said goodbye")

    def link_closed(self, link_id: LinkId, reason: str, now: float) -> None:
        """A link is gone. If it was a member's, it is verified by a dial at once."""
        link = self.links.pop(link_id, None)
        if link is None:
            return
        was_in_use = self._dropped(link, reason, now)
        candidate = self.candidates.get(link.member) if link.member is not None else None
        if was_in_use and candidate is not None:
            candidate.verifying = reason
            # At once; but while the HELLO of one link is under way, all others are closed as
            # duplicates: without a pause both ends would dial and close as fast as they can.
            candidate.dial_at = max(now, link.opened_at + self._timing.redial_min_s)
            self._dial_due(now)

    def timer_fired(self, now: float, wanted_at: float | None) -> None:
        """Time passed: find the silent ones, dial those that are due."""
        if self._new_until is None:
            self._new_until = now + self._timing.discovery_s
        if was_late(now, wanted_at, self._timing):
            self.stopped_ourselves(now)
        for link in list(self.links.values()):
            if link.member is None:
                if now - link.opened_at >= self._timing.hello_timeout_s:
                    self._close(link.id, "no HELLO", now)
            elif is_silent(now, link.last_heard, self._timing):
                self.give_up(link.id, f"silent for {now - link.last_heard:.1f} s", now)
        for member_id, candidate in list(self.candidates.items()):
            if self._is_stale(member_id, candidate, now):
                del self.candidates[member_id]
        self._dial_due(now)

    def stopped_ourselves(self, now: float) -> None:
        """This process did not run for a while: nobody else is to be called silent for it."""
        for link in self.links.values():
            link.last_heard = now

    def give_up(self, link_id: LinkId, reason: str, now: float) -> None:
        """Close a link that carries nothing, or nothing good, and take its member for gone."""
        link = self.links.get(link_id)
        if link is None:
            return
        self._close(link_id, reason, now)
        if link.member is not None and link.member not in self.link_of:
            self._gone(link.member, reason)

    def next_at(self, now: float) -> float:
        """Return when the timer should fire for this part."""
        at = now + self._timing.heartbeat_interval_s
        busy = self._dialled()
        for member_id, candidate in self.candidates.items():
            if candidate.dial is None and member_id not in self.link_of:
                if candidate.address not in busy:
                    at = min(at, candidate.dial_at)
        return max(at, now)

    def _use(self, link: Link, hello: Hello, now: float) -> None:
        member_id = hello.member
        held_id = self.link_of.get(member_id)
        if held_id is not None:
            held = self.links[held_id]
            if stays(held, link, self.me.id, member_id) is held:
                self._close(link.id, "duplicate", now)
                return
            self._detach(member_id)
            self._close(held_id, "duplicate", now)
        self.link_of[member_id] = link.id
        self.changes.append((member_id, True))
        member = Member(
            member_id, hello.name, hello.incarnation, hello.address, hello.ready, hello.alive_ms
        )
        candidate = self.candidates.setdefault(member_id, Candidate(hello.address, now, now))
        candidate.address, candidate.failures = hello.address, 0
        for other in self.view.named(hello.name):
            if other.id != member_id and other.address == member.address:
                self.candidates.pop(other.id, None)
                self._gone(other.id, "replaced by a new start")
        if self.view.put(member):
            self.events.append(MemberJoined(member))

    def _not_the_member(self, link: Link, found: MemberId | None) -> None:
        # We dialled an address for one member and somebody else answered there: the one we looked
        # for does not live there any more.
        for member_id, candidate in list(self.candidates.items()):
            if link.dial is not None and candidate.address == link.address and member_id != found:
                if member_id in self.link_of:
                    continue
                del self.candidates[member_id]
                self._gone(member_id, "its address is another member's")

    def _wait_s(self, member_id: MemberId, now: float) -> float:
        # A member that starts is heard and dialled by all others at once. It need not dial too, and
        # have a second link take the place of the first, unless nothing comes of theirs.
        is_new = self._new_until is not None and now < self._new_until
        return self._timing.heartbeat_interval_s if is_new and self.me.id > member_id else 0.0

    def _make_room(self, now: float) -> bool:
        # Members that crashed stay candidates for long; they must not keep new ones out.
        silent = [
            (candidate.heard_at, member_id)
            for member_id, candidate in self.candidates.items()
            if member_id not in self.view
            and candidate.dial is None
            and now - candidate.heard_at >= self._timing.drop_after_s
        ]
        if silent:
            del self.candidates[min(silent)[1]]
        return bool(silent)

    def _is_stale(self, member_id: MemberId, candidate: Candidate, now: float) -> bool:
        return (
            member_id not in self.view
            and candidate.dial is None
            and now - candidate.heard_at >= self._timing.candidate_retention_s
        )

    def _dial_due(self, now: float) -> None:
        busy = self._dialled()
        for member_id, candidate in self.candidates.items():
            if candidate.dial is None and member_id not in self.link_of:
                if candidate.dial_at <= now and candidate.address not in busy:
                    busy[candidate.address] = None
                    self._dials += 1
                    candidate.dial = self._dials
                    self.orders.append(Dial(self._dials, candidate.address))

    def _dialled(self) -> dict[Address, None]:
        # After a restart two candidates have one address. One dial tells who lives there now.
        return {other.address: None for other in self.candidates.values() if other.dial is not None}

    def _detach(self, member_id: MemberId) -> None:
        del self.link_of[member_id]
        self.changes.append((member_id, False))

    def _close(self, link_id: LinkId, reason: str, now: float) -> None:
        link = self.links.pop(link_id, None)
        if link is not None:
            self.orders.append(Close(link_id, reason))
            self._dropped(link, reason, now)

    def _dropped(self, link: Link, reason: str, now: float) -> bool:
        # Without a HELLO the dial that made this link came to nothing.
        if link.member is None:
            if link.dial is not None:
                self.dial_failed(link.dial, reason, now)
            return False
        if self.link_of.get(link.member) != link.id:
            return False
        self._detach(link.member)
        return True

    def _gone(self, member_id: MemberId, reason: str) -> None:
        member = self.view.remove(member_id)
        if member is not None:
            self.events.append(MemberLeft(replace(member, ready=False), reason))
