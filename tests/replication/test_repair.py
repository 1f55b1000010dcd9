"""Repair: what differs goes both ways, and nothing that is equal goes anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replsession.config import Limits, Timing
from replsession.identity import Key
from replsession.messages import (
    Acknowledge,
    BucketAnswer,
    BucketDigests,
    Deltas,
    RepairAnswer,
    RepairOffer,
    Status,
)
from replsession.replication.pieces import whole
from replsession.replication.repair import Repair, differing, unequal
from replsession.session.delta import REGISTER, Delta, Write
from replsession.session.stamp import Stamp
from replsession.session.store import BUCKETS
from tests.harness import Hand, Network, some_id, some_key
from tests.strategies import bucket_digests, digests, keys

A, B, C = some_id(1), some_id(2), some_id(3)
TIMING = Timing(repair_interval_s=5, repair_stall_s=5)
EMPTY = (0,) * BUCKETS
tables = st.dictionaries(st.sampled_from([some_key(number) for number in range(6)]), digests)


def repair() -> Repair:
    """The rounds of a member that has just started."""
    return Repair(TIMING, next_at=5.0)


def ready_member(*sessions: int, number: int = 1, **bounds: int) -> tuple[Network, Hand]:
    """A ready member with these sessions, and the test's end as a ready member 9."""
    network = Network()
    network.add(number, limits=Limits(**bounds))
    network.run(1.0)
    name = f"m{number}"
    for session in sessions:
        network.commit(name, some_key(session), {"x": b"\x01"}, birth=True)
    hand = network.by_hand(name, 9)
    hand.hello()
    return network, hand


def counted(network: Network, session: int) -> dict[Key, int]:
    """Return the digests of the bucket of a session."""
    return network.nodes["m1"].store.counted(session, network.now)


@given(st.integers(0, 2**32), st.lists(st.integers(0, BUCKETS - 1), max_size=5, unique=True))
def test_unequal_buckets_are_those_that_differ(seed: int, changed: list[int]) -> None:
    mine = list(bucket_digests(seed))
    theirs = list(mine)
    for bucket in changed:
        theirs[bucket] ^= 1

    assert unequal(mine, tuple(theirs)) == tuple(sorted(changed))


@given(tables, tables)
def test_what_differs_goes_both_ways_and_nothing_else_goes(
    mine: dict[Key, int], theirs: dict[Key, int]
) -> None:
    wanted, offered = differing(mine, theirs)
    unlike = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]

    assert wanted == sorted(key for key in unlike if key in theirs)
    assert offered == sorted(key for key in unlike if key in mine)
    assert differing(theirs, mine) == (offered, wanted)


@given(st.dictionaries(keys, digests, max_size=5))
def test_equal_tables_have_nothing_to_exchange(table: dict[Key, int]) -> None:
    assert differing(table, dict(reversed(table.items()))) == ([], [])


def test_members_take_turns() -> None:
    part = repair()
    begun = []
    now = 5.0
    for _ in range(5):
        member = part.choose([C, A, B], now)
        assert member is not None
        part.begin(member, now)
        part.round = None
        begun.append(member)
        assert part.choose([C, A, B], now + 4.9) is None
        now += 5.0

    assert begun == [A, B, C, A, B]


def test_who_is_due_comes_first_and_at_once() -> None:
    part = repair()
    part.want(C)
    part.want(B)

    assert part.choose([A, B], 0.0) == B
    assert part.choose([A, B], 0.0) is None
    assert part.choose([A, B, C], 0.0) == C


def test_one_round_runs_at_a_time_until_it_stalls() -> None:
    part = repair()
    part.begin(A, 10.0)
    part.want(B)

    assert part.choose([A, B], 14.9) is None
    assert part.choose([A, B], 15.0) == B


def test_a_round_ends_with_its_link() -> None:
    part = repair()
    number = part.begin(A, 10.0)
    part.want(A)
    assert part.current(A, number) is part.round
    part.lost(B)
    assert part.round is not None
    part.lost(A)

    assert part.round is None
    assert part.choose([A], 10.0) == A
    assert part.choose([A], 10.0) is None


@pytest.mark.parametrize(("member", "number"), [(B, 1), (A, 2), (A, 0)])
def test_answers_to_another_round_are_none(member: bytes, number: int) -> None:
    part = repair()
    assert part.current(A, 1) is None
    part.begin(A, 10.0)

    assert part.current(member, number) is None


def test_nobody_to_repair_with() -> None:
    assert repair().choose([], 1e9) is None


def test_a_link_that_came_begins_a_round() -> None:
    network, hand = ready_member(3)
    (offer,) = hand.got(RepairOffer)

    assert offer.digests == tuple(network.nodes["m1"].store.digests(network.now))
    assert [bucket for bucket, digest in enumerate(offer.digests) if digest] == [3]


def test_only_one_end_of_a_new_link_begins() -> None:
    network, hand = ready_member(3, number=20)

    assert hand.got(RepairOffer) == []
    hand.live(7.0)
    assert len(hand.got(RepairOffer)) == 1
    assert network.nodes["m20"].is_ready


def test_no_round_is_begun_with_a_member_that_is_not_ready() -> None:
    network = Network()
    network.add(1)
    network.run(1.0)
    hand = network.by_hand("m1", 9)
    hand.hello(ready=False)
    hand.live(7.0)
    assert hand.got(RepairOffer) == []

    hand.send(Status(True))
    assert len(hand.got(RepairOffer)) == 1


def test_equal_members_exchange_two_messages() -> None:
    network, hand = ready_member(3)
    (offer,) = hand.got(RepairOffer)
    hand.send(RepairAnswer(offer.round, ()))

    assert hand.got(BucketDigests) == []
    assert network.nodes["m1"].metrics.repair_rounds == 1
    assert hand.deltas() == []


def test_unequal_buckets_are_compared_one_at_a_time() -> None:
    network, hand = ready_member(3, 4)
    (offer,) = hand.got(RepairOffer)
    hand.send(RepairAnswer(offer.round, (3, 4)))
    (first,) = hand.got(BucketDigests)
    assert first.digests == counted(network, first.bucket)

    hand.send(BucketAnswer(offer.round, first.bucket, ()))
    _, second = hand.got(BucketDigests)
    assert sorted([first.bucket, second.bucket]) == [3, 4]
    hand.send(BucketAnswer(offer.round, second.bucket, ()))
    assert network.nodes["m1"].metrics.repair_rounds == 1
    assert hand.deltas() == []


def test_a_round_with_many_buckets_may_take_long_as_long_as_it_goes_on() -> None:
    _, hand = ready_member(*range(1, 9))
    (offer,) = hand.got(RepairOffer)
    hand.send(RepairAnswer(offer.round, tuple(range(1, 9))))
    for _ in range(8):
        hand.live(3.0)
        hand.send(BucketAnswer(offer.round, hand.got(BucketDigests)[-1].bucket, ()))

    assert len(hand.got(BucketDigests)) == 8
    assert {found.round for found in hand.got(BucketDigests)} == {offer.round}


def test_what_the_other_member_wants_is_sent_whole() -> None:
    network, hand = ready_member(3)
    (offer,) = hand.got(RepairOffer)
    hand.send(RepairAnswer(offer.round, (3,)))
    hand.send(BucketAnswer(offer.round, 3, (some_key(3), some_key(99))))

    assert [(delta.key, delta.since) for delta in hand.deltas()] == [(some_key(3), None)]
    assert network.nodes["m1"].metrics.records_repaired == 1


def test_an_offer_is_answered_with_the_buckets_that_differ() -> None:
    network, hand = ready_member(3, 7)
    mine = network.nodes["m1"].store.digests(network.now)
    hand.send(RepairOffer(41, EMPTY), RepairOffer(42, tuple(mine)))

    assert hand.got(RepairAnswer) == [RepairAnswer(41, (3, 7)), RepairAnswer(42, ())]


def test_a_bucket_is_answered_with_what_is_better_here_and_what_is_wanted() -> None:
    network, hand = ready_member(3)
    other = Key("/other", some_key(3).locator)
    hand.send(BucketDigests(41, 3, {other: 77}))
    assert hand.got(BucketAnswer) == [BucketAnswer(41, 3, (other,))]
    assert [delta.key for delta in hand.deltas()] == [some_key(3)]

    hand.forget()
    hand.send(BucketDigests(41, 3, counted(network, 3)))
    assert hand.got(BucketAnswer) == [BucketAnswer(41, 3, ())]
    assert hand.deltas() == []


def test_a_record_that_differs_goes_both_ways() -> None:
    network, hand = ready_member(3)
    hand.send(BucketDigests(41, 3, {some_key(3): 77}))

    assert hand.got(BucketAnswer) == [BucketAnswer(41, 3, (some_key(3),))]
    assert [delta.key for delta in hand.deltas()] == [some_key(3)]
    assert network.nodes["m1"].metrics.records_repaired == 1


def test_a_round_that_is_never_answered_is_given_up_for_the_next_one() -> None:
    network, hand = ready_member(3)
    hand.live(5.5)

    assert len(hand.got(RepairOffer)) == 2
    assert network.nodes["m1"].metrics.repair_rounds == 0


def test_answers_to_an_old_round_change_nothing() -> None:
    network, hand = ready_member(3)
    (offer,) = hand.got(RepairOffer)
    hand.send(RepairAnswer(offer.round + 1, (3,)), BucketAnswer(offer.round + 1, 3, ()))

    assert hand.got(BucketDigests) == []
    assert network.nodes["m1"].metrics.repair_rounds == 0


def test_repair_waits_for_room_and_goes_on() -> None:
    sessions = range(1, 9)
    network, hand = ready_member(*sessions, outbox_deltas_max=4, window_bytes=1, chunk_bytes=1)
    came: dict[Key, None] = {}
    for _ in range(100):
        news, hand.received = hand.received, []
        for message in news:
            match message:
                case RepairOffer(number):
                    hand.send(RepairAnswer(number, tuple(sessions)))
                case BucketDigests(number, bucket):
                    hand.send(BucketAnswer(number, bucket, (some_key(bucket),)))
                case Deltas(batch, deltas):
                    came.update(dict.fromkeys(delta.key for delta in deltas))
                    hand.send(Acknowledge(batch))
        hand.live(0.5)

    assert sorted(came) == [some_key(number) for number in sessions]
    assert network.nodes["m1"].metrics.repair_rounds > 1
    assert network.nodes["m1"].metrics.outboxes_overflowed == 0


def test_two_members_that_differ_agree_after_a_round() -> None:
    network = Network()
    for number in (1, 2):
        network.add(number)
    network.run(2.0)
    for name, session in (("m1", 1), ("m1", 2), ("m2", 3)):
        network.hold(name)
        network.commit(name, some_key(session), {"x": bytes([session])}, birth=True)
        network.drop_held(name)
    assert network.values("m2", some_key(1)) is None

    network.run(6.0)
    for name in ("m1", "m2"):
        for session in (1, 2, 3):
            assert network.values(name, some_key(session)) == {"x": bytes([session])}


def test_the_older_write_loses_on_both_sides() -> None:
    network, hand = ready_member(3)
    newer = Stamp((1 << 62), B)
    record = network.nodes["m1"].store.peek(some_key(3))
    assert record is not None
    delta = whole(record, network.now)
    written = {"x": Write(*newer, REGISTER, b"\x09")}
    sent: Delta = delta._replace(attributes=written, version={B: newer.hlc})
    hand.send_deltas(sent)
    assert network.values("m1", some_key(3)) == {"x": b"\x09"}
    hand.send_deltas(delta)

    assert network.values("m1", some_key(3)) == {"x": b"\x09"}
