"""
Membership: from a hint to a member that is up, and from silence to one that is gone.

::

    heartbeat, neighbour ──▶ candidate ──dial──▶ link ──HELLO──▶ up ──silent, closed──▶ suspected
    seed ────────────────────────────────dial──▶  ▲                                     │    │
                                                  │            refused, nothing came: gone   │
                                                  └──── dialled again ◀── unreachable ◀──────┘
                                                                     (another member hears it)

No event here destroys data; a wrong verdict costs a few messages.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random

from replsession import events as e
from replsession import messages as m
from replsession.config import NodeConfig
from replsession.errors import WireError
from replsession.events import Event, Member
from replsession.identity import Address, MemberId
from replsession.membership.detector import was_late
from replsession.membership.dialling import Candidate, Dialling
from replsession.membership.dialling import Dial as Dial  # with Close, part of this module's offer
from replsession.membership.mesh import Close as Close
from replsession.membership.mesh import Link, LinkId, stays
from replsession.membership.neighbours import Neighbourhood
from replsession.membership.pulse import Pulse
from replsession.membership.suspicion import Suspicions
from replsession.membership.view import NAMES_PER_MEMBER, View
from replsession.metrics import Metrics

_ABOUT_MEMBERS = frozenset(
    {m.Status, m.Goodbye, m.Probe, m.ProbeAnswer, m.Inquiry, m.Testimony, m.Neighbours}
)


class Membership:
    """
    Candidates, links and the view of one member.

    Methods named after what happened return nothing; what follows is in lists, which the node takes
    out: ``orders``, ``events``, ``messages``, ``changes`` (members whose link came, True, or went,
    False) and ``left`` (names of those that said goodbye).
    """

    def __init__(self, config: NodeConfig, me: Member, rng: Random, metrics: Metrics) -> None:
        timing, limits = config.timing, config.limits
        self._timing = timing
        self._limits = limits
        self._metrics = metrics
        self.me = me
        self.view = View(timing.forget_after_s, NAMES_PER_MEMBER * limits.members_max)
        self.links: dict[LinkId, Link] = {}
        self.link_of: dict[MemberId, LinkId] = {}
        self.orders: list[Dial | Close] = []
        self.events: list[Event] = []
        self.messages: list[tuple[LinkId, m.Message]] = []
        self.changes: list[tuple[MemberId, bool]] = []
        self.left: list[str] = []
        self.dialling = Dialling(config, me.id, rng, metrics)
        self.candidates, self.departed = self.dialling.candidates, self.dialling.departed
        self.neighbours = Neighbourhood(limits.links_max, self.view, timing, metrics)
        self.linked_with = self.neighbours.linked_with
        self.suspicions = Suspicions(
            timing, rng, metrics, self.links, self.link_of, self.linked_with, self.messages
        )
        self.suspicions.verifying = self._verifying
        self.pulse = Pulse(timing)
        self.is_stopped = False

    def heartbeat_received(self, heartbeat: m.Heartbeat, now: float) -> None:
        """A heartbeat whose signature was right came from the address that it names."""
        # Who is heard comes before those that are only told of.
        is_up = self.view.__contains__
        candidate = self.dialling.hint(heartbeat.member, heartbeat.address, now, is_up)
        if candidate is not None:
            candidate.is_heard(heartbeat.address, now)
            self._dial_due(now)

    def addresses_found(self, addresses: Iterable[Address], now: float) -> None:
        """Members may be at these addresses, and no more at those found before."""
        self.dialling.addresses_found(
            (address for address in addresses if address != self.me.address), now
        )
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
            Whether it may be used; False: it is closed again, there are too many, or we have one
            with this member already.
        """
        link = self.links[link_id] = Link(link_id, address, dial, now, certified)
        reason = "too many links"
        if len(self.links) <= self._limits.links_max:
            if dial is None or certified is None or not self._is_needless(certified):
                return True
            # It has not heard our HELLO, so for the other end this link has never been.
            self.dialling.answered(dial, certified)
            self._not_the_member(link, certified, now)
            reason = "not needed"
        self._close(link_id, reason, now)
        return False

    def dial_failed(self, dial: int, reason: str, now: float, *, refused: bool = False) -> None:
        """A dial came to nothing; *refused*: nobody listens there, so a suspect is gone."""
        member_id = self._dial_failed(dial, reason, now, refused=refused)
        candidate = None if member_id is None else self.candidates.get(member_id)
        if candidate is not None and candidate.is_out_of_reach(now, self._timing, refused=refused):
            self.events.append(e.DialFailed(candidate.address, reason))

    def _dial_failed(
        self, dial: int, reason: str, now: float, *, refused: bool = False
    ) -> MemberId | None:
        member_id = self.dialling.failed(dial, now)
        if member_id is not None and member_id in self.suspicions:
            if refused:
                self._give_up(member_id, reason, now)
            else:
                self.suspicions.suspects[member_id].reason = reason
            return None
        return member_id

    def hello(self, is_ready: bool, alive_s: float) -> m.Hello:
        """Return what to say first on every link."""
        me = self.me
        alive_ms = int(alive_s * 1000)
        return m.Hello(me.id, me.name, me.incarnation, me.address, is_ready, alive_ms)

    def hello_received(self, link_id: LinkId, hello: m.Hello, now: float) -> None:
        """
        The first message of a link: the member is up.

        Raises:
            WireError: it is not the member that the certificate names, or we talk to ourselves.
        """
        link = self.links[link_id]
        if hello.member == self.me.id:
            self.dialling.answered(link.dial, hello.member)
            self._not_the_member(link, None, now)
            raise WireError("this is our own receiver")
        if link.certified is not None and link.certified != hello.member:
            raise WireError("the certificate names another member")
        if link.member is not None:
            raise WireError("a second HELLO")
        if hello.member in self.departed:
            # It was under way on another link than the goodbye.
            self._close(link_id, "it has left", now)
            return
        self.dialling.answered(link.dial, hello.member)
        self._not_the_member(link, hello.member, now)
        link.member = hello.member
        self._use(link, hello, now)

    def goodbye_received(self, link_id: LinkId, now: float) -> None:
        """The member leaves on purpose; nothing said of it is a hint any more."""
        member_id = self.links[link_id].member
        if member_id is not None:
            self.dialling.depart(member_id)
            member = self.view.get(member_id)
            self._give_up(member_id, "said goodbye", now)
            if member is not None:
                self.view.forget_name(member.name)
                self.left.append(member.name)

    def link_closed(self, link_id: LinkId, reason: str, now: float) -> None:
        """A link is gone. If it was a member's, it is verified by a dial at once."""
        link = self.links.pop(link_id, None)
        if link is not None and self._dropped(link, reason, now):
            self._doubt(link, reason, now)

    def heard(self, link: Link, now: float) -> None:
        """Bytes came on a link: its member lives."""
        link.last_heard = now
        if self.suspicions.suspects and link.member is not None:
            self.suspicions.clear(link.member)

    def received(self, link: Link, message: m.Message, now: float) -> bool:
        """Take in a message about members; return False if it is about something else."""
        if type(message) not in _ABOUT_MEMBERS:
            return False
        assert link.member is not None
        match message:
            case m.Probe(number):
                self.messages.append((link.id, m.ProbeAnswer(number)))
            case m.Inquiry(member_id):
                self.suspicions.testify(link, member_id, now)
            case m.Testimony():
                self.suspicions.testified(link.member, message, now)
            case m.Neighbours() if link.member in self.link_of:
                for row in self.neighbours.received(link.member, message):
                    self.dialling.hint(row.member, row.address, now, self._is_wanted)
                self._review(now)
                self._dial_due(now)
            case m.Status(is_ready):
                self.view.set_ready(link.member, is_ready)
            case m.Goodbye():
                self.goodbye_received(link.id, now)
        return True

    def timer_fired(self, now: float, wanted_at: float | None) -> None:
        """Time passed: find the silent ones, judge the suspects, dial those that are due."""
        self.notice_late(now, wanted_at)
        for link in list(self.links.values()):
            if link.member is None and now - link.opened_at >= self._timing.hello_timeout_s:
                self._close(link.id, "no HELLO", now)
        for link in self.suspicions.listen(now):
            if link.member is not None and not self.is_stopped:
                address = self._address_of(link.member) or link.address
                self.orders += self.dialling.fresh(link.member, address, now)
        for member_id, reason, witness in self.suspicions.over(now):
            self._conclude(member_id, reason, witness, now)
        self.suspicions.ask(now)
        self.dialling.time_passed(now, self._is_wanted)
        self._dial_due(now)
        in_use = [self.links[link_id] for link_id in self.link_of.values()]
        self.messages += self.neighbours.tell_all(in_use, self._listed(), now)
        self.messages += self.pulse.beat(self.me, self.links.values(), now)

    def notice_late(self, now: float, wanted_at: float | None) -> None:
        """If a timer is late, we were stopped ourselves: nobody else is called silent for it."""
        if was_late(now, wanted_at, self._timing):
            self.suspicions.restart(now)

    def give_up(self, link_id: LinkId, reason: str, now: float) -> None:
        """Close a link on which came what must not come, and take its member for gone."""
        link = self.links.get(link_id)
        self._close(link_id, reason, now)
        if link is not None and link.member is not None:
            self._gone(link.member, reason, now)

    def doubt(self, link_id: LinkId, reason: str, now: float) -> None:
        """Close a link that carries nothing, and verify its member by a dial at once."""
        if link_id in self.links:
            self.orders.append(Close(link_id, reason))
            self.link_closed(link_id, reason, now)

    def stop(self) -> None:
        """We leave: nobody is dialled any more."""
        self.is_stopped = True
        self.orders = [order for order in self.orders if isinstance(order, Close)]

    def next_at(self, now: float) -> float:
        """Return when the timer should fire for this part."""
        at = min(self.pulse.heartbeat_at, now + self._timing.heartbeat_interval_s)
        at = self.suspicions.next_at(at)
        if not self.is_stopped:
            at = self.dialling.next_at(at, self.link_of)
        return max(at, now)

    def _doubt(self, link: Link, reason: str, now: float) -> None:
        member_id = link.member
        assert member_id is not None
        self.suspicions.doubt(member_id, reason, now)
        address = self._address_of(member_id) or link.address
        candidate = self.candidates.setdefault(member_id, Candidate(address, now, now))
        # At once; but while the HELLO of one link is under way, all others are closed as
        # duplicates: without a pause both ends would dial and close as fast as they can.
        candidate.dial_at = max(now, link.opened_at + self._timing.redial_min_s)
        self._dial_due(now)

    def _conclude(
        self, member_id: MemberId, reason: str, witness: MemberId | None, now: float
    ) -> None:
        member = self.view.get(member_id)
        via = None if witness is None else self.view.get(witness)
        if member is None or via is None or self.neighbours.seen_by(member_id) is None:
            self._give_up(member_id, reason, now)
            return
        self.suspicions.clear(member_id)
        if member_id in self.link_of:
            self._close(self.link_of[member_id], reason, now)
        self.neighbours.lost(member_id)
        # Perhaps once more, now that it is known through whom the member can be seen.
        self.changes.append((member_id, False))
        if self.view.set_unreachable(member_id, via.id):
            self._metrics.members_unreachable += 1
            self.events.append(e.MemberUnreachable(member, via))
        self._review(now)

    def _give_up(self, member_id: MemberId, reason: str, now: float) -> None:
        if member_id in self.link_of:
            self._close(self.link_of[member_id], reason, now)
        self._gone(member_id, reason, now)

    def _review(self, now: float) -> None:
        """Let go of members that were seen through others, and are no more."""
        for member in self.view.unreachable:
            via = self.neighbours.seen_by(member.id)
            if via is None:
                self._gone(member.id, "no other member has a link with it any more", now)
            else:
                self.view.set_unreachable(member.id, via)

    def _use(self, link: Link, hello: m.Hello, now: float) -> None:
        member_id = hello.member
        is_doubted = self.suspicions.clear(member_id)
        held = self.links.get(self.link_of.get(member_id, -1))
        if held is not None:
            apart_s = self._timing.drop_after_s / 2
            if not is_doubted and stays(held, link, self.me.id, member_id, apart_s) is held:
                self._close(link.id, "duplicate", now)
                return
            self._close(held.id, "duplicate", now)
        self.link_of[member_id] = link.id
        self.changes.append((member_id, True))
        member = Member(
            member_id, hello.name, hello.incarnation, hello.address, hello.ready, hello.alive_ms
        )
        self.dialling.up(member_id, hello.address, now)
        for other in self.view.named(hello.name):
            if other.id != member_id and other.address == member.address:
                self.candidates.pop(other.id, None)
                self._give_up(other.id, "replaced by a new start", now)
        if self.view.put(member, now):
            self.events.append(e.MemberJoined(member))
        elif self.view.set_reachable(member_id):
            self.events.append(e.MemberReachable(member))
        self._metrics.names_forgotten += self.view.saw_name(hello.name, now)
        self.neighbours.is_untold = True
        self.messages += self.neighbours.tell([link], self._listed())

    def _not_the_member(self, link: Link, found: MemberId | None, now: float) -> None:
        # We dialled an address for one member and somebody else answered there: the one we looked
        # for does not live there any more.
        for member_id, candidate in list(self.candidates.items()):
            if link.dial is not None and candidate.address == link.address and member_id != found:
                if member_id in self.link_of and member_id not in self.suspicions:
                    continue
                del self.candidates[member_id]
                self._give_up(member_id, "its address is another member's", now)

    def _address_of(self, member_id: MemberId) -> Address | None:
        member = self.view.get(member_id)
        return None if member is None else member.address

    def _is_wanted(self, member_id: MemberId) -> bool:
        return member_id in self.view or self.neighbours.seen_by(member_id) is not None

    def _is_needless(self, certified: MemberId) -> bool:
        is_linked = certified in self.link_of and certified not in self.suspicions
        return is_linked or certified == self.me.id

    def _listed(self) -> list[MemberId]:
        # A member whose link is being verified is listed still: it nearly always comes back, and
        # those who see it through us need not hear of every new link.
        return list({**self.link_of, **self.suspicions.suspects})

    def _dial_due(self, now: float) -> None:
        if not self.is_stopped:
            self.orders += self.dialling.due(now, self.link_of)

    def _close(self, link_id: LinkId, reason: str, now: float) -> None:
        link = self.links.pop(link_id, None)
        if link is not None:
            self.orders.append(Close(link_id, reason))
            self._dropped(link, reason, now)

    def _dropped(self, link: Link, reason: str, now: float) -> bool:
        # Without a HELLO the dial that made this link came to nothing.
        if link.member is None:
            if link.dial is not None:
                self._dial_failed(link.dial, reason, now)
            return False
        if self.link_of.get(link.member) != link.id:
            return False
        del self.link_of[link.member]
        self.changes.append((link.member, False))
        self.neighbours.is_untold = True
        return True

    def _verifying(self, member_id: MemberId, told: str, is_over: bool) -> None:
        if (member := self.view.get(member_id)) is not None:
            event = e.MemberVerified if is_over else e.MemberSuspected
            self.events.append(event(member, told))

    def _gone(self, member_id: MemberId, reason: str, now: float) -> None:
        has_left = member_id in self.departed
        self.suspicions.clear(member_id, e.ALREADY_DISAPPEARED if has_left else e.DISAPPEARED)
        self.neighbours.lost(member_id)
        member = self.view.remove(member_id)
        if member is not None:
            self._metrics.names_forgotten += self.view.saw_name(member.name, now)
            self.events.append(e.MemberLeft(replace(member, ready=False), reason))
            self._review(now)
