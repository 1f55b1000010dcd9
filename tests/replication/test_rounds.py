"""Rounds of repair: whose turn it is, which answer is awaited, and when a round has failed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replsession.config import Timing
from replsession.messages import RecordDigests, RepairAnswer, RepairRecords
from replsession.replication.rounds import Awaited, Round, Rounds
from tests.harness import some_id

A, B, C = some_id(1), some_id(2), some_id(3)
TIMING = Timing(repair_interval_s=5, repair_stall_s=5)


def rounds() -> Rounds:
    """The rounds of a member that has just started."""
    return Rounds(TIMING, started_at=0.0)


def comparing(*group: int, first: int = 0) -> Round:
    """A round that compares these buckets."""
    return Round(A, "a", 1, 0.0, 0.0, group=list(group), first=first)


def test_members_take_turns() -> None:
    part = rounds()
    begun = []
    now = 5.0
    for _ in range(5):
        member = part.choose([C, A, B], now)
        assert member is not None
        part.begin(member, "", now)
        part.running = None
        begun.append(member)
        assert part.choose([C, A, B], now + 4.9) is None
        now += 5.0

    assert begun == [A, B, C, A, B]


def test_who_is_due_comes_first_and_at_once() -> None:
    part = rounds()
    part.want(C)
    part.want(B)

    assert part.choose([A, B], 0.0) == B
    assert part.choose([A, B], 0.0) is None
    assert part.choose([A, B, C], 0.0) == C


def test_who_is_due_later_is_not_due_yet_unless_it_is_wanted_sooner() -> None:
    part = rounds()
    part.want(A, 7.0)
    part.want(B, 3.0)
    part.want(B, 9.0)
    assert part.choose([A, B], 2.9) is None
    assert part.choose([A, B], 3.0) == B
    part.want(A)

    assert part.choose([A, B], 3.0) == A


def test_one_round_runs_at_a_time() -> None:
    part = rounds()
    part.begin(A, "a", 10.0)
    part.want(B)
    assert part.choose([A, B], 100.0) is None

    part.running = None
    assert part.choose([A, B], 100.0) == B


def test_a_round_that_is_not_answered_stalls_and_is_begun_again_later() -> None:
    part = rounds()
    running = part.begin(A, "a", 10.0)
    assert part.answered(A, running.number, 0, RepairAnswer, 12.0) is running
    assert not part.is_stalled(16.9)
    assert part.is_stalled(17.0)
    part.give_up(17.0)
    part.next_at = 1000.0

    assert not part.is_stalled(1e9)
    assert part.choose([A], 21.9) is None
    assert part.choose([A], 22.0) == A


def test_who_let_a_round_stall_keeps_nobody_from_a_turn() -> None:
    part = rounds()
    part.begin(A, "a", 10.0)
    part.give_up(15.0)
    part.want(B)

    assert part.choose([A, B], 15.0) == B
    assert part.choose([A, B], 15.0) == A  # its turn, by the interval
    assert part.choose([A, B], 15.0) is None


def test_a_round_ends_with_its_link() -> None:
    part = rounds()
    part.begin(A, "a", 10.0)
    part.want(A)
    part.lost(B)
    assert part.running is not None
    part.lost(A)

    assert part.running is None
    part.give_up(10.0)
    assert part.choose([A], 10.0) == A
    assert part.choose([A], 10.0) is None


@pytest.mark.parametrize(
    ("member", "number", "step", "kind"),
    [
        (B, 1, 2, RecordDigests),
        (A, 2, 2, RecordDigests),
        (A, 0, 2, RecordDigests),
        (A, 1, 1, RecordDigests),
        (A, 1, 3, RecordDigests),
        (A, 1, 2, RepairRecords),
        (A, 1, 2, RepairAnswer),
    ],
)
def test_only_the_answer_that_is_awaited_is_one(
    member: bytes, number: int, step: int, kind: Awaited
) -> None:
    part = rounds()
    assert part.answered(A, 1, 0, RepairAnswer, 10.0) is None
    running = part.begin(A, "a", 10.0)
    running.step, running.awaiting = 2, RecordDigests

    assert part.answered(member, number, step, kind, 11.0) is None
    assert running.heard_at == 10.0
    assert part.answered(A, 1, 2, RecordDigests, 11.0) is running
    assert running.heard_at == 11.0


def test_nobody_to_repair_with() -> None:
    assert rounds().choose([], 1e9) is None


@given(st.integers(-1, 255), st.lists(st.integers(0, 255), max_size=20))
def test_buckets_after_the_one_compared_last_come_first(last: int, unequal: list[int]) -> None:
    part = rounds()
    part.bucket = last
    order = part.ordered(tuple(unequal))[::-1]

    assert sorted(order) == sorted(dict.fromkeys(unequal))
    assert order == sorted(order, key=lambda bucket: (bucket <= last, bucket))


def test_a_group_that_is_compared_is_over() -> None:
    running = comparing(250, 3, first=7)

    assert running.go_on_at(None)
    assert (running.group, running.first) == ([], 0)


@pytest.mark.parametrize(
    ("leaf", "group", "first"),
    [
        (250 * 256 + 8, [250, 3, 4], 8),
        (250 * 256 + 255, [250, 3, 4], 255),
        (3 * 256, [3, 4], 0),
        (4 * 256 + 9, [4], 9),
    ],
)
def test_a_group_goes_on_where_it_was_not_compared(leaf: int, group: list[int], first: int) -> None:
    running = comparing(250, 3, 4, first=7)

    assert running.go_on_at(leaf)
    assert (running.group, running.first) == (group, first)


@pytest.mark.parametrize("leaf", [250 * 256 + 7, 250 * 256, 5 * 256, 0])
def test_to_go_on_at_what_was_compared_is_no_progress(leaf: int) -> None:
    running = comparing(250, 3, 4, first=7)

    assert not running.go_on_at(leaf)
    assert (running.group, running.first) == ([250, 3, 4], 7)
