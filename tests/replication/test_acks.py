"""Tickets: when a commit is held by enough members, and when it never will be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replsession.concern import Asked, Concern
from replsession.identity import Key, MemberId
from replsession.replication.acks import Ticket, Tickets
from replsession.replication.outbox import HELD_ALL
from tests.harness import some_id, some_key

TWO, THREE, FOUR = some_id(2), some_id(3), some_id(4)
NAMES = {TWO: "m2", THREE: "m3", FOUR: "m4"}
KEY, OTHER = some_key(1), some_key(2)
NOW = 100.0
MARK = 1000


class Room:
    """All tickets of one member that sees some others."""

    def __init__(self, *up: MemberId, known: int | None = None, tickets_max: int = 10) -> None:
        self.tickets = Tickets(tickets_max)
        self.up = {member: NAMES[member] for member in up}
        self.known = len(self.up) if known is None else known

    def ticket(
        self,
        concern: Concern = "all",
        *,
        timeout_s: float = 1.0,
        expected: int | None = None,
        marks: dict[Key, int] | None = None,
    ) -> Ticket:
        """Begin to wait for a commit."""
        asked = Asked(concern, timeout_s, expected)
        return self.tickets.open(asked, marks or {KEY: MARK}, self.up, self.known, NOW)

    def held(self, member: MemberId, mark: int = MARK, key: Key = KEY) -> None:
        """A member acknowledges a session up to this clock value."""
        self.tickets.held(member, NAMES[member], {key: mark})

    def gone(self, member: MemberId) -> None:
        """A member has no link any more, and is no longer seen."""
        del self.up[member]
        self.tickets.member_lost(member)

    def settled(self, now: float = NOW) -> list[Ticket]:
        """Decide; return the tickets that are handed out."""
        self.tickets.settle(dict.fromkeys(self.up.values()), now)
        done = self.tickets.done.copy()
        self.tickets.done.clear()
        return done


@pytest.mark.parametrize(
    ("concern", "up", "known", "is_met"),
    [
        ("one", (), 0, False),
        ("one", (), 3, False),
        ("majority", (), 0, True),
        ("majority", (), 1, False),
        ("majority", (TWO,), 4, False),
        ("all", (), 0, True),
        ("all", (), 3, True),
    ],
)
def test_what_nobody_can_meet_or_needs_to_is_done_at_once(
    concern: Concern, up: tuple[MemberId, ...], known: int, is_met: bool
) -> None:
    room = Room(*up, known=known)
    ticket = room.ticket(concern)

    assert (ticket.is_done, ticket.is_met) == (True, is_met)
    assert (len(room.tickets), room.tickets.tracked, room.settled()) == (0, {}, [])


@pytest.mark.parametrize(
    ("concern", "known", "holders_needed"),
    [("one", 3, 1), ("majority", 3, 2), ("majority", 5, 3), ("all", 3, 3)],
)
def test_it_is_met_when_enough_members_hold_it_and_not_before(
    concern: Concern, known: int, holders_needed: int
) -> None:
    room = Room(TWO, THREE, FOUR, known=known)
    ticket = room.ticket(concern)
    assert (ticket.is_done, ticket.needed) == (False, holders_needed)
    for number, member in enumerate(NAMES, start=1):
        room.held(member)
        assert room.settled() == ([ticket] if number == holders_needed else [])
        if number == holders_needed:
            break

    assert ticket.is_done and ticket.is_met
    assert ticket.acknowledged == tuple(NAMES.values())[:holders_needed]
    assert ticket.missing == tuple(NAMES.values())[holders_needed:]
    assert (len(room.tickets), room.tickets.tracked) == (0, {})


@pytest.mark.parametrize(
    ("mark", "holds"), [(MARK - 1, False), (MARK, True), (MARK + 7, True), (HELD_ALL, True)]
)
def test_a_later_write_of_the_same_session_stands_for_it(mark: int, holds: bool) -> None:
    room = Room(TWO)
    ticket = room.ticket()
    room.held(TWO, mark)

    assert ticket.is_met is holds


def test_nothing_but_the_end_stands_for_the_end_of_a_session() -> None:
    room = Room(TWO)
    ticket = room.ticket(marks={KEY: HELD_ALL})
    room.held(TWO, 2**64 - 1)
    assert not ticket.is_met
    room.held(TWO, HELD_ALL)
    assert ticket.is_met


def test_news_of_another_session_or_from_a_stranger_are_nothing() -> None:
    room = Room(TWO)
    ticket = room.ticket("one")
    room.held(TWO, key=OTHER)
    room.held(THREE)

    assert (ticket.is_met, ticket.acknowledged, ticket.missing) == (False, (), ("m2",))


def test_a_member_holds_a_commit_on_two_sessions_when_it_has_both() -> None:
    room = Room(TWO, THREE)
    ticket = room.ticket("one", marks={KEY: HELD_ALL, OTHER: MARK})
    room.held(TWO, HELD_ALL, KEY)
    room.held(THREE, MARK, OTHER)
    assert not ticket.is_met
    room.held(TWO, MARK, OTHER)

    assert ticket.acknowledged == ("m2",)


def test_what_was_acknowledged_twice_counts_once() -> None:
    room = Room(TWO, THREE)
    ticket = room.ticket()
    for _ in range(3):
        room.held(TWO)

    assert room.settled() == []
    assert ticket.missing == ("m3",)


@pytest.mark.parametrize(("after_s", "is_done"), [(0.0, False), (0.249, False), (0.25, True)])
def test_it_is_late_at_its_deadline(after_s: float, is_done: bool) -> None:
    room = Room(TWO, THREE)
    ticket = room.ticket(timeout_s=0.25)
    room.held(THREE)

    assert room.tickets.next_at(1e9) == NOW + 0.25
    assert room.settled(NOW + after_s) == [ticket] * is_done
    assert (ticket.is_done, ticket.is_met) == (is_done, False)
    assert (ticket.acknowledged, ticket.missing) == (("m3",), ("m2",))


def test_what_is_met_at_its_deadline_is_met() -> None:
    room = Room(TWO)
    ticket = room.ticket(timeout_s=0.25)
    room.held(TWO)

    assert room.settled(NOW + 9) == [ticket]
    assert ticket.is_met


def test_the_first_deadline_is_the_next() -> None:
    room = Room(TWO)
    assert room.tickets.next_at(7.0) == 7.0
    for timeout_s in (0.5, 0.1, 0.9):
        room.ticket(timeout_s=timeout_s)

    assert room.tickets.next_at(1e9) == NOW + 0.1
    assert room.tickets.next_at(NOW) == NOW


@pytest.mark.parametrize(
    ("concern", "is_done"), [("one", False), ("majority", False), ("all", True)]
)
def test_it_fails_as_soon_as_it_can_not_be_met_any_more(concern: Concern, is_done: bool) -> None:
    room = Room(TWO, THREE)
    ticket = room.ticket(concern)
    room.gone(TWO)
    assert room.settled() == [ticket] * is_done
    assert ticket.missing == ("m2", "m3")
    if not is_done:
        room.gone(THREE)
        assert room.settled() == [ticket]
    assert (ticket.is_done, ticket.is_met) == (True, False)


def test_a_member_without_a_link_that_is_still_seen_may_come_back() -> None:
    room = Room(TWO)
    ticket = room.ticket()
    room.tickets.member_lost(TWO)
    assert room.settled() == []
    # What it says now is of no link that we know.
    room.held(TWO)
    assert not ticket.is_met

    assert room.tickets.member_up(TWO, "m2") == [KEY]
    room.held(TWO)
    assert room.settled() == [ticket]
    assert ticket.is_met


def test_what_a_member_acknowledged_stays_acknowledged_when_it_is_gone() -> None:
    room = Room(TWO, THREE)
    ticket = room.ticket()
    room.held(TWO)
    room.gone(TWO)
    assert room.settled() == []
    room.held(THREE)

    assert room.settled() == [ticket]
    assert ticket.acknowledged == ("m2", "m3")


def test_who_has_acknowledged_and_came_back_is_sent_nothing() -> None:
    room = Room(TWO, THREE)
    room.ticket()
    room.held(TWO)
    room.tickets.member_lost(TWO)

    assert room.tickets.member_up(TWO, "m2") == []


def test_a_name_counts_once_whatever_runs_under_it() -> None:
    room = Room(TWO, THREE)
    room.up = {TWO: "m2", THREE: "m2"}
    ticket = room.ticket("all")
    assert (ticket.needed, ticket.missing) == (1, ("m2",))
    room.tickets.held(THREE, "m2", {KEY: MARK})

    assert room.settled() == [ticket]
    assert ticket.acknowledged == ("m2",)


@pytest.mark.parametrize("concern", ["one", "majority", "all"])
def test_a_member_that_starts_again_under_its_name_is_asked_once_more(concern: Concern) -> None:
    room = Room(TWO, THREE)
    ticket = room.ticket(concern)
    room.tickets.member_lost(TWO)
    room.up[FOUR] = "m2"

    assert room.tickets.member_up(FOUR, "m2") == [KEY]
    room.tickets.held(FOUR, "m2", {KEY: MARK})
    assert ticket.acknowledged == ("m2",)
    assert ticket.missing == ("m3",)


@pytest.mark.parametrize(("concern", "counts"), [("one", 1), ("majority", 1), ("all", 0)])
def test_a_newcomer_counts_unless_everybody_was_asked(concern: Concern, counts: int) -> None:
    room = Room(TWO, THREE)
    ticket = room.ticket(concern)
    room.up[FOUR] = "m4"

    assert room.tickets.member_up(FOUR, "m4") == [KEY] * counts
    room.held(FOUR)
    assert ticket.acknowledged == ("m4",) * counts
    assert ticket.needed == (2 if concern == "all" else 1)


def test_each_session_is_sent_again_once_for_all_its_tickets() -> None:
    room = Room(TWO)
    room.ticket()
    room.ticket(marks={KEY: MARK + 1, OTHER: MARK})
    room.ticket(marks={OTHER: MARK + 1})
    assert room.tickets.tracked == {KEY: 2, OTHER: 2}

    assert room.tickets.outbox_emptied(TWO) == [KEY, OTHER]
    assert room.tickets.outbox_emptied(THREE) == []
    room.held(TWO, MARK + 1, OTHER)
    assert room.tickets.outbox_emptied(TWO) == [KEY, OTHER], "the first two lack the other session"
    room.held(TWO, MARK, KEY)
    room.held(TWO, MARK + 1, KEY)
    assert room.tickets.outbox_emptied(TWO) == []
    assert len(room.settled()) == 3
    assert room.tickets.tracked == {}


@pytest.mark.parametrize("expected", [None, 1, 2])
def test_a_goodbye_makes_everybody_one_less(expected: int | None) -> None:
    room = Room(TWO, THREE)
    ticket = room.ticket("all", expected=expected)
    room.tickets.member_left("m2")
    room.gone(TWO)
    assert (room.settled(), ticket.needed, ticket.missing) == ([], 1, ("m3",))
    room.held(THREE)

    assert room.settled() == [ticket]
    assert (ticket.is_met, ticket.acknowledged) == (True, ("m3",))


def test_a_goodbye_does_not_make_it_less_than_was_expected() -> None:
    room = Room(TWO, THREE)
    ticket = room.ticket("all", expected=3)
    room.tickets.member_left("m2")
    room.gone(TWO)

    assert room.settled() == [ticket]
    assert (ticket.is_met, ticket.needed, ticket.missing) == (False, 2, ("m3",))


def test_fewer_than_expected_fail_at_once() -> None:
    ticket = Room(TWO, THREE).ticket("all", expected=4)

    assert (ticket.is_done, ticket.is_met, ticket.needed) == (True, False, 3)


def test_who_held_it_before_its_goodbye_counts() -> None:
    room = Room(TWO, THREE)
    ticket = room.ticket("all")
    room.held(TWO)
    room.tickets.member_left("m2")
    room.gone(TWO)
    assert room.settled() == []
    room.held(THREE)

    assert ticket.acknowledged == ("m2", "m3")
    assert ticket.is_met


@pytest.mark.parametrize("concern", ["one", "majority"])
def test_after_a_goodbye_others_must_do(concern: Concern) -> None:
    room = Room(TWO, THREE)
    ticket = room.ticket(concern)
    room.tickets.member_left("m2")
    room.gone(TWO)
    assert (room.settled(), ticket.needed) == ([], 1)
    room.tickets.member_left("m3")
    room.gone(THREE)

    assert room.settled() == [ticket]
    assert not ticket.is_met


def test_beyond_the_bound_a_ticket_fails_at_once_and_takes_no_room() -> None:
    room = Room(TWO, tickets_max=2)
    first, second, third = (room.ticket() for _ in range(3))

    assert [first.is_done, second.is_done, third.is_done] == [False, False, True]
    assert (third.is_met, third.missing) == (False, ("m2",))
    assert (len(room.tickets), room.tickets.tracked) == (2, {KEY: 2})
    room.held(TWO)
    assert room.settled() == [first, second]
    assert not third.is_met
    assert not room.ticket().is_done, "there is room again"


@given(st.permutations([TWO, THREE, FOUR]), st.sampled_from(["one", "majority", "all"]))
def test_the_order_of_acknowledgements_does_not_matter(
    order: list[MemberId], concern: Concern
) -> None:
    room = Room(TWO, THREE, FOUR)
    ticket = room.ticket(concern)
    for number, member in enumerate(order, start=1):
        room.held(member)
        assert ticket.is_met is (number >= ticket.needed)
