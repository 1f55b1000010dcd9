"""State transfer: whom to ask, when to give up, and how much may be under way."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replsession.config import Limits, Timing
from replsession.events import Member
from replsession.replication.transfer import Donor, Joiner, ranked
from tests.harness import some_id, some_member
from tests.strategies import member_ids

DONORS = [some_member(number, ready=True) for number in range(1, 6)]
ME = some_id(99)
TIMING = Timing(discovery_s=1, transfer_timeout_s=60, transfer_stall_s=5, request_again_s=1)


def joiner(started_at: float = 0.0) -> Joiner:
    """A member that has just started."""
    return Joiner(TIMING, started_at)


def chosen(side: Joiner, now: float) -> bytes:
    """Return whom the joiner asks now; it begins."""
    donor = side.choose(DONORS, ME, now)
    assert donor is not None
    side.begin(donor.id, now)
    return donor.id


@given(member_ids, st.permutations(DONORS))
def test_the_rank_does_not_depend_on_who_was_seen_first(member: bytes, seen: list[Member]) -> None:
    assert ranked(seen, member) == ranked(DONORS, member)
    assert sorted(ranked(seen, member), key=lambda donor: donor.id) == DONORS


def test_members_that_start_together_spread_over_the_donors() -> None:
    first = Counter(ranked(DONORS, number.to_bytes(8, "big"))[0].id for number in range(500))

    assert len(first) == len(DONORS)
    assert min(first.values()) > 50


def test_one_donor_is_asked_at_a_time() -> None:
    side = joiner()
    chosen(side, 0.0)

    assert side.choose(DONORS, ME, 0.0) is None


def test_a_donor_that_failed_is_asked_after_the_others() -> None:
    side = joiner()
    asked = []
    for _ in DONORS:
        asked.append(chosen(side, 0.0))
        side.fail(0.0)
    assert asked == [donor.id for donor in ranked(DONORS, ME)]
    assert side.choose(DONORS, ME, 0.9) is None

    assert chosen(side, 1.0) == asked[0]


def test_each_transfer_has_a_number_of_its_own_and_begins_at_nought() -> None:
    side = joiner()
    first = side.begin(DONORS[0].id, 0.0)
    side.chunks[1] = None
    side.sessions["/"] = side.bytes["/"] = 7
    side.fail(1.0)
    second = side.begin(DONORS[1].id, 2.0)

    assert second > first
    assert (side.chunks, side.sessions, side.bytes) == ({}, {}, {})
    assert (side.asked_at, side.heard_at) == (2.0, 2.0)


def test_a_member_that_has_its_state_asks_nobody() -> None:
    side = joiner()
    side.done = True

    assert side.choose(DONORS, ME, 0.0) is None
    assert not side.nobody_came(1e9, 0)


def test_a_failure_without_a_donor_is_none() -> None:
    side = joiner()
    side.fail(1.0)

    assert side.refused == {}


@pytest.mark.parametrize(
    ("heard_at", "now", "stalled"), [(0.0, 4.9, False), (0.0, 5.0, True), (3.0, 7.9, False)]
)
def test_a_donor_is_stalled_after_five_silent_seconds(
    heard_at: float, now: float, stalled: bool
) -> None:
    side = joiner()
    assert not side.is_stalled(now)
    side.begin(DONORS[0].id, 0.0)
    side.heard_at = heard_at

    assert side.is_stalled(now) is stalled


@pytest.mark.parametrize(("now", "overdue"), [(10.0, False), (69.9, False), (70.0, True)])
def test_the_bound_is_on_all_donors_together(now: float, overdue: bool) -> None:
    side = joiner(started_at=10.0)
    side.begin(DONORS[0].id, 60.0)

    assert side.is_overdue(now) is overdue


@pytest.mark.parametrize(
    ("now", "ready", "asking", "alone"),
    [
        (0.9, 0, False, False),
        (1.0, 0, False, True),
        (1.0, 1, False, False),
        (1.0, 0, True, False),
        (50.0, 0, False, True),
    ],
    ids=["still looking", "nobody", "somebody", "asking", "lost everybody"],
)
def test_who_finds_nobody_is_the_first_one(
    now: float, ready: int, asking: bool, alone: bool
) -> None:
    side = joiner()
    if asking:
        side.begin(DONORS[0].id, 0.0)

    assert side.nobody_came(now, ready) is alone


@given(
    st.lists(st.binary(min_size=1, max_size=50), max_size=40),
    st.integers(1, 120),
    st.integers(1, 5),
)
def test_a_donor_sends_everything_once_in_chunks_within_the_window(
    encoded: list[bytes], chunk_bytes: int, window: int
) -> None:
    limits = Limits(chunk_bytes=chunk_bytes, transfer_window_chunks=window)
    donor = Donor(1, iter(encoded), 0.0)
    sent: list[bytes] = []
    numbers: list[int] = []
    while not donor.exhausted:
        chunks = list(donor.next_chunks(limits))
        assert len(chunks) <= window
        for number, chunk in chunks:
            assert chunk and sum(map(len, chunk[:-1])) < chunk_bytes
            numbers.append(number)
            sent += chunk
        if donor.sent:
            donor.credited += 1

    assert sent == encoded
    assert numbers == list(range(1, len(numbers) + 1))
    assert donor.sent == len(numbers)


def test_without_credit_nothing_more_is_sent() -> None:
    limits = Limits(chunk_bytes=1, transfer_window_chunks=2)
    donor = Donor(1, iter([b"a", b"b", b"c"]), 0.0)

    assert list(donor.next_chunks(limits)) == [(1, [b"a"]), (2, [b"b"])]
    assert list(donor.next_chunks(limits)) == []
    donor.credited += 1
    assert list(donor.next_chunks(limits)) == [(3, [b"c"])]
