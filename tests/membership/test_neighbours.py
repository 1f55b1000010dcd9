"""Neighbours: what members tell each other of their links, and when."""

from __future__ import annotations

from replsession.config import Timing
from replsession.events import Member
from replsession.identity import Address
from replsession.membership.mesh import Link
from replsession.membership.neighbours import Neighbourhood
from replsession.membership.view import View
from replsession.messages import Neighbour, Neighbours
from replsession.metrics import Metrics
from tests.harness import HOST, some_id, some_member

A, B, C = some_member(1), some_member(2), some_member(3)
TIMING = Timing()


def row(member: Member) -> Neighbour:
    """What is told of a member."""
    return Neighbour(member.id, member.name, member.incarnation, member.address)


def told_of(*members: Member) -> Neighbours:
    """What is told by somebody who has links with these."""
    return Neighbours(tuple(map(row, members)))


def neighbourhood(*members: Member, rows_max: int = 10) -> Neighbourhood:
    """Of a member that sees these."""
    view = View()
    for member in members:
        view.put(member)
    part = Neighbourhood(rows_max, view, TIMING, Metrics())
    part.again_at = 1e9
    return part


def links(count: int = 2) -> list[Link]:
    """Links to tell on."""
    return [Link(number, Address(HOST, number), None, 0.0, None) for number in range(1, count + 1)]


def test_what_a_neighbour_says_replaces_what_it_said_before() -> None:
    part = neighbourhood()
    assert list(part.received(A.id, told_of(B, C))) == [row(B), row(C)]
    assert part.linked_with == {A.id: {B.id: None, C.id: None}}
    assert part.seen_by(C.id) == A.id

    list(part.received(A.id, told_of(B)))
    assert part.linked_with == {A.id: {B.id: None}}
    assert part.seen_by(C.id) is None


def test_the_map_is_one_and_the_same_for_those_who_share_it() -> None:
    part = neighbourhood()
    shared = part.linked_with
    list(part.received(A.id, told_of(B)))
    part.lost(A.id)
    part.lost(A.id)
    list(part.received(B.id, told_of(A)))

    assert shared == {B.id: {A.id: None}}


def test_an_address_where_another_member_is_now_is_no_hint() -> None:
    part = neighbourhood(B)
    old = Member(some_id(9), "m2", 1, B.address)

    assert list(part.received(A.id, told_of(B, old, C))) == [row(B), row(C)]
    assert part.seen_by(old.id) == A.id, "but it is what the neighbour thinks"


def test_the_rows_of_one_neighbour_are_bounded() -> None:
    part = neighbourhood(rows_max=2)
    many = [some_member(number) for number in range(10, 20)]

    assert len(list(part.received(A.id, told_of(*many)))) == 2
    assert len(part.linked_with[A.id]) == 2
    assert part.metrics.neighbours_ignored == 8


def test_all_are_told_of_a_change_once() -> None:
    part = neighbourhood(A, B)
    assert list(part.tell_all(links(), [B.id, A.id], 1.0)) == []

    part.is_untold = True
    here = links()
    assert list(part.tell_all(here, [B.id, A.id], 1.0)) == [
        (1, told_of(A, B)),
        (2, told_of(A, B)),
    ]
    assert list(part.tell_all(here, [B.id, A.id], 1.1)) == []


def test_who_knows_it_already_is_not_told() -> None:
    part = neighbourhood(A, B)
    first, second = links()
    assert len(list(part.tell([first], [A.id, B.id]))) == 1

    part.is_untold = True
    assert [link for link, _ in part.tell_all([first, second], [A.id, B.id], 1.0)] == [2]
    part.is_untold = True
    assert [link for link, _ in part.tell_all([first, second], [A.id], 1.1)] == [1, 2]


def test_now_and_then_all_are_told_again() -> None:
    part = neighbourhood(A)
    part.again_at = 5.0
    here = links()
    assert list(part.tell_all(here, [A.id], 4.9)) == []
    assert len(list(part.tell_all(here, [A.id], 5.0))) == 2
    assert list(part.tell_all(here, [A.id], 34.9)) == []
    assert len(list(part.tell_all(here, [A.id], 5.0 + TIMING.neighbours_interval_s))) == 2


def test_who_is_not_in_view_is_not_told_of() -> None:
    part = neighbourhood(A)
    ((_, message),) = part.tell(links(1), [A.id, C.id])

    assert message == told_of(A)


def test_a_member_that_was_lost_is_news() -> None:
    part = neighbourhood()
    assert not part.is_untold
    part.lost(A.id)

    assert part.is_untold
