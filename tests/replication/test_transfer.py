"""State transfer: whom to ask, when to give up, and how much may be under way."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replsession.config import Limits, Timing
from replsession.events import Member
from replsession.replication.transfer import Came, Donor, Joiner, bucket_by_bucket, ranked
from tests.harness import some_id, some_key, some_member
from tests.strategies import member_ids

DONORS = [some_member(number, ready=True) for number in range(1, 6)]
ME = some_id(99)
TIMING = Timing(discovery_s=1, transfer_timeout_s=60, transfer_stall_s=5, request_again_s=1)


def in_buckets(buckets: list[list[bytes]]) -> list[bytes]:
    """Return all items in their order."""
    return [item for bucket in buckets for item in bucket]


def donor_of(buckets: list[list[bytes]], first: int = 0) -> Donor:
    """A donor that has these items in its first buckets, and is asked from *first* on."""

    def encoded(bucket: int) -> list[bytes]:
        return buckets[bucket] if bucket < len(buckets) else []

    return Donor(1, bucket_by_bucket(first, encoded), 0.0)


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


def test_each_transfer_has_a_number_of_its_own_and_counts_its_own_chunks() -> None:
    side = joiner()
    first = side.begin(DONORS[0].id, 0.0)
    assert side.chunk_came(1, 0)
    side.fail(1.0)
    second = side.begin(DONORS[1].id, 2.0)

    assert second > first
    assert (side.chunks, side.in_order) == ({}, 0)
    assert (side.asked_at, side.heard_at) == (2.0, 2.0)
    assert side.chunk_came(1, 0)


def test_buckets_are_complete_when_all_chunks_up_to_there_came() -> None:
    side = joiner()
    side.begin(DONORS[0].id, 0.0)
    complete = []
    for number, buckets in ((1, 3), (3, 9), (1, 200), (4, 9), (2, 5), (5, 4)):
        side.chunk_came(number, buckets)
        complete.append(side.complete)

    assert complete == [3, 3, 3, 3, 9, 9]
    assert side.in_order == 5
    assert not side.chunk_came(3, 9)


def test_what_the_next_donor_sends_again_is_counted_once() -> None:
    side = joiner()
    side.begin(DONORS[0].id, 0.0)
    for session in (1, 2, 3, 3):
        side.count(some_key(session, "/a"), 10, is_session=True)
    side.count(some_key(2, "/b"), 5, is_session=False)
    assert side.received() == {"/a": Came(4, 40), "/b": Came(0, 5)}
    side.chunk_came(1, 3)
    side.fail(1.0)
    side.begin(DONORS[1].id, 2.0)

    assert side.received() == {"/a": Came(2, 20), "/b": Came(0, 5)}
    assert side.asked_at == 0.0, "something of the first donor is kept"


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
    st.lists(st.lists(st.binary(min_size=1, max_size=50), max_size=4), max_size=20),
    st.integers(1, 120),
    st.integers(1, 5),
)
def test_a_donor_sends_everything_once_in_chunks_within_the_window(
    buckets: list[list[bytes]], chunk_bytes: int, window: int
) -> None:
    limits = Limits(chunk_bytes=chunk_bytes, transfer_window_chunks=window)
    donor = donor_of(buckets)
    sent: list[bytes] = []
    numbers: list[int] = []
    while not donor.exhausted:
        chunks = list(donor.next_chunks(limits))
        assert len(chunks) <= window
        for number, complete, chunk in chunks:
            assert chunk and sum(map(len, chunk[:-1])) < chunk_bytes
            numbers.append(number)
            sent += chunk
            assert sent == in_buckets(buckets[:complete]) or complete < len(buckets)
            assert len(sent) >= len(in_buckets(buckets[:complete]))
            rest = in_buckets(buckets[: complete + 1])
            assert len(sent) < len(rest) or not buckets[complete:] or not buckets[complete]
        if donor.sent:
            donor.credited += 1

    assert sent == in_buckets(buckets)
    assert numbers == list(range(1, len(numbers) + 1))
    assert donor.sent == len(numbers)


@given(st.lists(st.lists(st.binary(min_size=1, max_size=9), max_size=3), max_size=20), st.data())
def test_the_rest_is_what_the_chunks_before_did_not_complete(
    buckets: list[list[bytes]], data: st.DataObject
) -> None:
    limits = Limits(chunk_bytes=data.draw(st.integers(1, 30)), transfer_window_chunks=999)
    chunks = list(donor_of(buckets).next_chunks(limits))
    came = chunks[: data.draw(st.integers(0, len(chunks)))]
    complete = came[-1][1] if came else 0
    rest = list(donor_of(buckets, complete).next_chunks(Limits()))

    kept = in_buckets(buckets[:complete])
    assert kept == [item for _, _, chunk in came for item in chunk][: len(kept)]
    assert kept + [item for _, _, chunk in rest for item in chunk] == in_buckets(buckets)


def test_without_credit_nothing_more_is_sent() -> None:
    limits = Limits(chunk_bytes=1, transfer_window_chunks=2)
    donor = donor_of([[b"a", b"b"], [], [b"c"]])

    assert list(donor.next_chunks(limits)) == [(1, 0, [b"a"]), (2, 1, [b"b"])]
    assert list(donor.next_chunks(limits)) == []
    donor.credited += 1
    assert list(donor.next_chunks(limits)) == [(3, 3, [b"c"])]


def test_a_bucket_is_looked_at_when_its_turn_has_come() -> None:
    buckets = [[b"a"], [b"b"]]
    donor = donor_of(buckets)
    limits = Limits(chunk_bytes=1, transfer_window_chunks=1)
    assert list(donor.next_chunks(limits)) == [(1, 1, [b"a"])]
    buckets[0].append(b"late")
    buckets[1].append(b"early")
    donor.credited = 1
    assert list(donor.next_chunks(limits)) == [(2, 1, [b"b"])]
    donor.credited = 2
    assert list(donor.next_chunks(limits)) == [(3, 2, [b"early"])]
