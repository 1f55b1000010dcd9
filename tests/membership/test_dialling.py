"""Dialling: whom, where and when; what becomes of it is membership's."""

from __future__ import annotations

from random import Random

import pytest

from replsession.config import Limits, NodeConfig, Timing
from replsession.identity import Address, MemberId
from replsession.membership.dialling import Dial, Dialling
from replsession.metrics import Metrics
from tests.harness import HOST, some_id

ME, OTHER, THIRD = some_id(5), some_id(6), some_id(7)
HERE, THERE, ELSEWHERE = Address(HOST, 4006), Address(HOST, 4007), Address("10.0.0.9", 4000)
NOBODY: tuple[MemberId, ...] = ()
TIMING = Timing()


def dialling(**bounds: int) -> Dialling:
    """The dialling of member 5."""
    return Dialling(NodeConfig(Limits(**bounds), TIMING), ME, Random(1), Metrics())


def unwanted(member_id: MemberId) -> bool:
    """Nobody misses a candidate."""
    return False


def wanted(member_id: MemberId) -> bool:
    """Every candidate must stay."""
    return True


def due(part: Dialling, now: float, linked: tuple[MemberId, ...] = NOBODY) -> list[Address]:
    """Return where it dials now."""
    return [order.address for order in part.due(now, linked)]


def test_a_candidate_and_a_seed_are_dialled_under_numbers_of_their_own() -> None:
    part = dialling()
    part.hint(OTHER, HERE, 0.0, unwanted)
    part.addresses_found([ELSEWHERE], 0.0)

    assert list(part.due(0.0, NOBODY)) == [Dial(1, HERE), Dial(2, ELSEWHERE)]
    assert due(part, 99.0) == []
    assert part.failed(1, 1.0) == OTHER
    assert part.failed(2, 1.0) is None
    assert part.failed(3, 1.0) is None
    assert due(part, 1.01) == []
    assert due(part, 99.0) == [HERE, ELSEWHERE]


def test_one_dial_for_each_address_at_a_time() -> None:
    part = dialling()
    for member_id in (OTHER, THIRD):
        part.hint(member_id, HERE, 0.0, unwanted)

    assert due(part, 0.0) == [HERE]
    assert list(part.fresh(THIRD, HERE, 0.0)) == []
    assert part.failed(1, 0.0) == OTHER
    assert due(part, 0.0) == [HERE]


def test_the_linked_are_not_dialled_but_for_a_fresh_one() -> None:
    part = dialling()
    part.up(OTHER, HERE, 0.0)
    assert due(part, 9.0, (OTHER,)) == []
    assert part.next_at(20.0, (OTHER,)) == 20.0

    assert list(part.fresh(OTHER, ELSEWHERE, 9.0)) == [Dial(1, HERE)]
    assert part.failed(1, 9.0) == OTHER
    assert due(part, 99.0, (OTHER,)) == []


def test_a_fresh_dial_to_one_that_is_no_candidate_makes_it_one() -> None:
    part = dialling()

    assert list(part.fresh(OTHER, HERE, 0.0)) == [Dial(1, HERE)]
    assert part.failed(1, 0.0) == OTHER


def test_a_member_that_starts_waits_for_those_with_smaller_ids() -> None:
    part = dialling()
    part.time_passed(100.0, unwanted)
    part.hint(some_id(4), HERE, 100.0, unwanted)
    part.hint(OTHER, THERE, 100.0, unwanted)
    assert due(part, 100.0) == [THERE]
    assert due(part, 100.5) == [HERE]

    part.hint(some_id(3), ELSEWHERE, 100.0 + TIMING.discovery_s, unwanted)
    assert due(part, 100.0 + TIMING.discovery_s) == [ELSEWHERE]


def test_a_member_heard_at_another_address_is_dialled_there_at_once() -> None:
    part = dialling()
    candidate = part.hint(OTHER, HERE, 0.0, unwanted)
    assert candidate is not None
    for _ in range(9):
        candidate.dial_at = 0.0
        (order,) = part.due(0.0, NOBODY)
        part.failed(order.dial, 0.0)
    candidate.is_heard(HERE, 0.0)
    assert candidate.dial_at == 1.0

    candidate.is_heard(THERE, 0.5)
    assert due(part, 0.5) == [THERE]


def test_a_hint_keeps_the_address_that_is_known() -> None:
    part = dialling()
    part.hint(OTHER, HERE, 0.0, unwanted)
    part.hint(OTHER, THERE, 1.0, unwanted)

    assert part.candidates[OTHER].address == HERE
    assert part.candidates[OTHER].heard_at == 1.0


def test_there_is_room_for_a_new_one_while_an_old_one_is_silent_and_not_missed() -> None:
    part = dialling(members_max=1)
    part.hint(OTHER, HERE, 0.0, unwanted)
    assert part.hint(THIRD, THERE, 2.9, unwanted) is None
    assert part.hint(THIRD, THERE, 9.0, wanted) is None
    assert part._metrics.candidates_refused == 2

    assert part.hint(THIRD, THERE, 9.0, unwanted) is not None
    assert list(part.candidates) == [THIRD]


def test_who_has_left_and_we_ourselves_are_never_candidates() -> None:
    part = dialling()
    part.hint(OTHER, HERE, 0.0, unwanted)
    part.depart(OTHER)

    assert part.hint(OTHER, HERE, 1.0, unwanted) is None
    assert part.hint(ME, HERE, 1.0, unwanted) is None
    assert part.candidates == {}
    assert due(part, 99.0) == []


def test_stale_candidates_go_unless_they_are_wanted() -> None:
    part = dialling()
    part.hint(OTHER, HERE, 0.0, unwanted)
    part.time_passed(TIMING.candidate_retention_s - 1, unwanted)
    part.time_passed(TIMING.candidate_retention_s, wanted)
    assert list(part.candidates) == [OTHER]

    part.time_passed(TIMING.candidate_retention_s, unwanted)
    assert part.candidates == {}


class TestSeeds:
    def test_a_seed_is_tried_for_ever_less_and_less_often(self) -> None:
        part = dialling()
        part.addresses_found([ELSEWHERE], 0.0)
        now, pauses = 0.0, []
        for _ in range(40):
            (order,) = part.due(now, NOBODY)
            part.failed(order.dial, now)
            at = part.next_at(now + 1000.0, NOBODY)
            pauses.append(at - now)
            now = at

        assert pauses[0] < pauses[3] < pauses[5]
        assert all(0.7 * 5 <= pause <= 1.3 * 5 for pause in pauses[6:])

    def test_a_seed_at_a_candidate_s_address_is_left_to_that(self) -> None:
        part = dialling()
        part.up(OTHER, HERE, 0.0)
        part.addresses_found([HERE], 0.0)

        assert due(part, 9.0, (OTHER,)) == []
        assert due(part, 9.0) == [HERE]
        assert part.failed(1, 9.0) == OTHER

    def test_who_answered_at_a_seed_is_remembered_while_it_is_linked(self) -> None:
        part = dialling()
        part.addresses_found([ELSEWHERE], 0.0)
        (order,) = part.due(0.0, NOBODY)
        part.answered(order.dial, OTHER)
        part.up(OTHER, HERE, 0.0)
        assert due(part, 99.0, (OTHER,)) == []
        assert part.next_at(999.0, (OTHER,)) == 999.0

        assert due(part, 99.0, (THIRD,)) == [HERE, ELSEWHERE]

    def test_a_seed_that_is_ourselves_is_dialled_once(self) -> None:
        part = dialling()
        part.addresses_found([ELSEWHERE], 0.0)
        (order,) = part.due(0.0, NOBODY)
        part.answered(order.dial, ME)

        assert due(part, 1e6) == []
        assert part.next_at(1e9, NOBODY) == 1e9

    def test_a_list_that_comes_again_changes_nothing(self) -> None:
        part = dialling()
        part.addresses_found([HERE, ELSEWHERE], 0.0)
        assert due(part, 0.0) == [HERE, ELSEWHERE]
        part.answered(1, OTHER)

        part.addresses_found([ELSEWHERE, HERE, HERE], 50.0)
        assert due(part, 50.0, (OTHER,)) == []
        part.failed(2, 50.0)
        assert due(part, 99.0, (OTHER,)) == [ELSEWHERE]

    def test_an_address_that_is_found_no_more_is_dialled_no_more(self) -> None:
        part = dialling()
        part.addresses_found([HERE, ELSEWHERE], 0.0)
        part.addresses_found([HERE], 0.0)

        assert due(part, 99.0) == [HERE]

    def test_seeds_are_bounded(self) -> None:
        part = dialling(seeds_max=3)
        part.addresses_found([Address(HOST, port) for port in range(1, 11)], 0.0)

        assert [address.port for address in part.seeds] == [1, 2, 3]
        assert part._metrics.seeds_ignored == 7

    @pytest.mark.parametrize("dial", [None, 99])
    def test_what_was_no_dial_to_a_seed_says_nothing_of_it(self, dial: int | None) -> None:
        part = dialling()
        part.addresses_found([ELSEWHERE], 0.0)
        part.answered(dial, ME)

        assert due(part, 0.0) == [ELSEWHERE]
