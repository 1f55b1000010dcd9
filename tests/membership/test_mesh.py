"""One link for each pair: both ends decide alike."""

from __future__ import annotations

import pytest

from replsession.identity import Address, MemberId
from replsession.membership.mesh import Link, stays
from tests.harness import some_id

SMALL, GREAT = some_id(1), some_id(2)
HERE = Address("127.0.0.1", 4000)
APART_S = 1.5


def ends(number: int, dialler: MemberId) -> dict[MemberId, Link]:
    """One connection as each of its two ends sees it."""
    return {
        member: Link(number, HERE, number if member == dialler else None, float(number), None)
        for member in (SMALL, GREAT)
    }


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [(SMALL, GREAT, 1), (GREAT, SMALL, 2), (SMALL, SMALL, 2), (GREAT, GREAT, 2)],
    ids=["small first", "great first", "small twice", "great twice"],
)
def test_both_ends_keep_the_same_link(first: MemberId, second: MemberId, winner: int) -> None:
    held, new = ends(1, first), ends(2, second)

    assert stays(held[SMALL], new[SMALL], SMALL, GREAT, APART_S).id == winner
    assert stays(held[GREAT], new[GREAT], GREAT, SMALL, APART_S).id == winner


@pytest.mark.parametrize(("first", "second"), [(SMALL, GREAT), (GREAT, SMALL)])
def test_of_two_diallers_it_does_not_matter_which_hello_came_first(
    first: MemberId, second: MemberId
) -> None:
    one, other = ends(1, first), ends(2, second)

    for me, them in ((SMALL, GREAT), (GREAT, SMALL)):
        assert stays(one[me], other[me], me, them, APART_S) is stays(
            other[me], one[me], me, them, APART_S
        )


@pytest.mark.parametrize("held_dialler", [SMALL, GREAT])
@pytest.mark.parametrize("new_dialler", [SMALL, GREAT])
def test_a_link_opened_long_after_the_other_stays_whoever_dialled(
    held_dialler: MemberId, new_dialler: MemberId
) -> None:
    early, late = ends(1, held_dialler), ends(3, new_dialler)

    for me, them in ((SMALL, GREAT), (GREAT, SMALL)):
        assert stays(early[me], late[me], me, them, APART_S) is late[me]
        # Also where the HELLO of the older one is the later one.
        assert stays(late[me], early[me], me, them, APART_S) is late[me]


def test_a_link_that_was_just_opened_was_just_heard() -> None:
    link = Link(1, HERE, None, 12.5, None)

    assert (link.last_heard, link.last_sent, link.member) == (12.5, 12.5, None)
