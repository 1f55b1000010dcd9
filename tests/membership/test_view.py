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


def test_who_is_seen_through_another_one_is_told_apart() -> None:
    view = view_of(ONE, TWO)
    number = view.number

    assert view.set_unreachable(TWO.id, ONE.id)
    assert not view.set_unreachable(TWO.id, ONE.id)
    assert (view.via(TWO.id), view.via(ONE.id)) == (ONE.id, None)
    assert view.unreachable == [TWO]
    assert list(view) == [ONE, TWO]
    assert view.set_reachable(TWO.id)
    assert not view.set_reachable(TWO.id)
    assert view.unreachable == []
    assert view.number == number + 2


def test_who_is_not_up_cannot_be_seen_through_others() -> None:
    view = view_of(ONE)

    assert not view.set_unreachable(TWO.id, ONE.id)
    assert view.via(TWO.id) is None
    view.set_unreachable(ONE.id, TWO.id)
    view.remove(ONE.id)
    view.put(ONE)
    assert view.unreachable == []


class TestNames:
    def test_a_member_that_is_up_is_known_now(self) -> None:
        view = view_of(ONE, TWO)

        assert view.known_names(5000.0) == {"m1": 5000.0, "m2": 5000.0}

    def test_one_that_vanished_is_known_for_an_hour(self) -> None:
        view = view_of(ONE, TWO)
        view.known_names(0.0)
        view.remove(TWO.id)
        view.saw_name("m2", 10.0)

        assert view.known_names(3609.0) == {"m1": 3609.0, "m2": 10.0}
        assert view.known_names(3610.0) == {"m1": 3610.0}

    def test_a_new_start_is_the_same_name(self) -> None:
        view = view_of(ONE, TWO)
        view.remove(TWO.id)
        view.put(Member(some_id(9), "m2", 99, TWO.address))

        assert list(view.known_names(1.0)) == ["m1", "m2"]

    def test_a_goodbye_ends_it_unless_another_one_has_the_name(self) -> None:
        again = Member(some_id(9), "m2", 99, TWO.address)
        view = view_of(ONE, TWO, again)
        view.known_names(0.0)
        view.remove(TWO.id)
        view.forget_name("m2")
        assert sorted(view.known_names(1.0)) == ["m1", "m2"]

        view.remove(again.id)
        view.forget_name("m2")
        assert list(view.known_names(2.0)) == ["m1"]
        view.forget_name("never known")

    def test_there_are_at_most_so_many_and_those_that_are_up_stay(self) -> None:
        view = View(names_max=3)
        view.put(ONE)
        forgotten = [view.saw_name(f"crashed {number}", float(number)) for number in range(5)]

        assert forgotten == [0, 0, 1, 1, 1]
        assert list(view.known_names(5.0)) == ["crashed 3", "crashed 4", "m1"]

    def test_what_is_returned_is_a_copy(self) -> None:
        view = view_of(ONE)
        view.known_names(0.0).clear()

        assert list(view.known_names(0.0)) == ["m1"]


def test_an_age_is_what_a_member_told_and_the_time_since() -> None:
    view = View()
    view.put(replace(ONE, alive_ms=2500), 100.0)
    assert view.age_s(ONE.id, 107.5) == 10.0
    # Told later, and its clock is a little slow.
    view.put(replace(ONE, alive_ms=9900), 107.5)
    assert view.age_s(ONE.id, 107.5) == pytest.approx(9.9)
    view.remove(ONE.id)
    with pytest.raises(KeyError):
        view.age_s(ONE.id, 107.5)
