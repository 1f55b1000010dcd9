"""The view: who is up, oldest first."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from replsession.events import Member
from replsession.membership.view import View
from tests.harness import some_id, some_member

ONE, TWO, THREE = some_member(1), some_member(2), some_member(3)


def view_of(*members: Member) -> View:
    """A view with these members."""
    view = View()
    for member in members:
        view.put(member)
    return view


@pytest.mark.parametrize("order", list(permutations([ONE, TWO, THREE])))
def test_the_oldest_stands_first_whoever_came_first(order: tuple[Member, ...]) -> None:
    assert list(view_of(*order)) == [ONE, TWO, THREE]


def test_two_that_started_in_one_millisecond_are_ordered_by_id() -> None:
    twin = replace(THREE, incarnation=TWO.incarnation)

    assert list(view_of(twin, TWO)) == [TWO, twin]


def test_a_member_is_new_once() -> None:
    view = View()

    assert view.put(ONE)
    assert not view.put(replace(ONE, alive_ms=9))
    assert len(view) == 1
    assert view.get(ONE.id) == replace(ONE, alive_ms=9)


def test_who_is_not_there_is_none() -> None:
    view = view_of(ONE)

    assert view.get(TWO.id) is None
    assert (ONE.id in view, TWO.id in view) == (True, False)
    assert view.remove(TWO.id) is None
    assert view.remove(ONE.id) == ONE
    assert len(view) == 0


def test_the_number_grows_with_every_change_and_with_nothing_else() -> None:
    view = View()
    numbers = [view.number]
    for change in (
        lambda: view.put(ONE),
        lambda: view.put(TWO),
        lambda: view.set_ready(ONE.id, True),
        lambda: view.remove(ONE.id),
    ):
        change()
        numbers.append(view.number)
    assert numbers == sorted(set(numbers))

    view.remove(ONE.id)
    view.set_ready(ONE.id, True)
    view.set_ready(TWO.id, False)
    assert view.number == numbers[-1]


def test_a_member_becomes_ready_in_its_place() -> None:
    view = view_of(ONE, TWO)
    view.set_ready(ONE.id, True)

    assert list(view) == [replace(ONE, ready=True), TWO]


def test_members_are_found_by_name_also_while_a_restart_is_noticed() -> None:
    again = Member(some_id(9), TWO.name, 99, TWO.address)

    assert view_of(ONE, TWO, again).named("m2") == [TWO, again]
    assert view_of(ONE).named("m2") == []
