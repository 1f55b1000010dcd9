"""Repair: what differs goes both ways, step by step, and a round counts when all of it has gone."""

from __future__ import annotations

from math import inf

import pytest

from replsession.config import Limits
from replsession.identity import Key
from replsession.messages import (
    Deltas,
    LeafDigests,
    RecordDigests,
    RepairAnswer,
    RepairOffer,
    RepairRecords,
    RepairRequest,
    Status,
)
from replsession.node import Node
from replsession.replication.exchange import leaf_of
from replsession.replication.pieces import whole
from replsession.session.delta import REGISTER, Delta, Piece, Write
from replsession.session.stamp import Stamp
from replsession.session.store import BUCKETS
from tests.harness import Hand, Network, some_id, some_key

NINE = some_id(9)
EMPTY = (0,) * BUCKETS
BORN = Stamp(5 << 16, NINE)
LATER = Stamp(1 << 62, NINE)
VALUES = {f"n{number}": bytes([number]) * 40 for number in range(4)}
OTHER = Key("/other", some_key(3).locator)


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


def node_of(network: Network) -> Node:
    """Return the member that is looked at."""
    return network.nodes["m1"]


def counted(network: Network, session: int) -> dict[Key, int]:
    """Return the digests of the bucket of a session."""
    return node_of(network).store.counted(session, network.now)


def record_of(key: Key, *values: bytes, stamp: Stamp = BORN) -> Delta:
    """Return a whole record of the test's end."""
    written = {f"n{n}": Write(*stamp, REGISTER, value) for n, value in enumerate(values)}
    return Delta(key, BORN, None, {NINE: stamp.hlc}, written, 5.0, BORN, 1.0)


def begun(hand: Hand, *buckets: int) -> LeafDigests:
    """Say which buckets differ in the round that was offered; return the first comparison."""
    hand.send(RepairAnswer(hand.got(RepairOffer)[-1].round, buckets))
    return hand.got(LeafDigests)[-1]


def compared(
    hand: Hand, leaves: LeafDigests, digests: dict[Key, int], following: int | None = None
) -> None:
    """Say that every leaf of a comparison differs, and what is in them here."""
    every = [bucket * 256 + leaf for bucket, held in leaves.leaves.items() for leaf in held]
    covered = dict.fromkeys([*every, *map(leaf_of, digests)])
    hand.send(RecordDigests(leaves.round, leaves.step, following, tuple(covered), digests))


def asked(hand: Hand, step: int, *wanted: Key, records: tuple[Delta, ...] = ()) -> RepairRecords:
    """Ask for records as the initiator of round 41; return the answer."""
    hand.send(RepairRequest(41, step, wanted, records))
    return hand.got(RepairRecords)[-1]


class TestBeginning:
    def test_a_link_that_came_begins_a_round(self) -> None:
        network, hand = ready_member(3)
        (offer,) = hand.got(RepairOffer)

        assert offer.digests == tuple(node_of(network).store.digests(network.now))
        assert [bucket for bucket, digest in enumerate(offer.digests) if digest] == [3]

    def test_only_one_end_of_a_new_link_begins(self) -> None:
        network, hand = ready_member(3, number=20)

        assert hand.got(RepairOffer) == []
        hand.live(7.0)
        assert len(hand.got(RepairOffer)) == 1
        assert network.nodes["m20"].is_ready

    def test_no_round_is_begun_with_a_member_that_is_not_ready(self) -> None:
        network = Network()
        network.add(1)
        network.run(1.0)
        hand = network.by_hand("m1", 9)
        hand.hello(ready=False)
        hand.live(7.0)
        assert hand.got(RepairOffer) == []

        hand.send(Status(True))
        assert len(hand.got(RepairOffer)) == 1

    def test_a_member_that_is_lost_begins_a_round_with_all_others(self) -> None:
        network, hand = ready_member(3, number=20)
        other = network.by_hand("m20", 8)
        other.hello()
        assert other.got(RepairOffer) == []
        hand.close("connection reset")

        assert len(other.got(RepairOffer)) == 1

    def test_a_member_that_comes_and_goes_does_not_keep_all_others_busy(self) -> None:
        network, other = ready_member(3, number=20)
        for number in range(30, 40):
            hand = network.by_hand("m20", number)
            hand.hello()
            hand.close("connection reset")
            offers = other.got(RepairOffer)
            other.send(RepairAnswer(offers[-1].round, ()))
            other.live(0.1)

        assert len(other.got(RepairOffer)) == 1
        for _ in range(10):
            other.live(0.5)
            other.send(RepairAnswer(other.got(RepairOffer)[-1].round, ()))
        assert len(other.got(RepairOffer)) > 1

    def test_an_outbox_that_was_emptied_begins_one_when_the_window_is_open(self) -> None:
        network, hand = ready_member(window_bytes=1, outbox_deltas_max=2)
        hand.send(RepairAnswer(hand.got(RepairOffer)[0].round, ()))
        for session in range(1, 6):
            network.commit("m1", some_key(session), {"x": b"\x01"}, birth=True)
        assert node_of(network).metrics.outboxes_overflowed == 1
        hand.live(1.0)
        assert len(hand.got(RepairOffer)) == 1

        while len(hand.got(RepairOffer)) == 1 and hand.got(Deltas):
            hand.acknowledge()
        assert len(hand.got(RepairOffer)) == 2


class TestInitiator:
    def test_equal_members_exchange_two_messages(self) -> None:
        network, hand = ready_member(3)
        hand.send(RepairAnswer(hand.got(RepairOffer)[0].round, ()))

        assert hand.got(LeafDigests) == []
        assert node_of(network).metrics.repair_rounds == 1
        assert hand.deltas() == []

    def test_unequal_buckets_are_compared_together(self) -> None:
        network, hand = ready_member(3, 4, 5)
        leaves = begun(hand, 3, 5, 200)

        assert (leaves.step, leaves.first) == (1, 0)
        assert leaves.leaves == {
            bucket: node_of(network).store.leaves(bucket, network.now) for bucket in (3, 5, 200)
        }
        assert node_of(network).metrics.repair_comparisons == 1

    def test_so_many_that_they_have_few_records_together_and_at_least_one(self) -> None:
        network, hand = ready_member(1, 2, 3, 4, 5, repair_records_max=2)
        other = Key("/other", some_key(5).locator)
        for more in (other, other._replace(context="/third")):
            network.commit("m1", more, {"x": b"\x01"}, birth=True)
        leaves = begun(hand, 1, 2, 3, 4, 5, 6)
        groups: list[list[int]] = []
        while leaves.step != len(groups):
            groups.append(list(leaves.leaves))
            hand.send(RecordDigests(leaves.round, leaves.step, None, (), {}))
            leaves = hand.got(LeafDigests)[-1]

        assert groups == [[1, 2], [3, 4], [5], [6]]
        assert node_of(network).metrics.repair_rounds == 1

    def test_the_next_round_begins_behind_the_bucket_that_was_compared_last(self) -> None:
        _, hand = ready_member(1, 2, 3, repair_records_max=1)
        leaves = begun(hand, 1, 2, 3)
        hand.send(RecordDigests(leaves.round, leaves.step, None, (), {}))
        assert list(hand.got(LeafDigests)[-1].leaves) == [2]
        hand.live(11.0)

        assert list(begun(hand, 1, 2, 3).leaves) == [3]

    def test_what_differs_goes_both_ways(self) -> None:
        network, hand = ready_member(3, 4)
        leaves = begun(hand, 3, 4)
        compared(hand, leaves, {OTHER: 77, some_key(4): counted(network, 4)[some_key(4)]})
        (request,) = hand.got(RepairRequest)

        assert (request.round, request.step) == (leaves.round, 2)
        assert request.wanted == (OTHER,)
        assert [(record.key, record.since) for record in request.records] == [(some_key(3), None)]
        assert node_of(network).metrics.records_repaired == 1
        assert node_of(network).metrics.repair_rounds == 0

        hand.send(RepairRecords(leaves.round, 2, (), (record_of(OTHER, b"\x07"),)))
        assert network.values("m1", OTHER) == {"n0": b"\x07"}
        assert node_of(network).metrics.repair_rounds == 1
        assert hand.deltas() == []

    def test_a_record_that_differs_is_wanted_and_sent(self) -> None:
        _, hand = ready_member(3)
        compared(hand, begun(hand, 3), {some_key(3): 77})
        (request,) = hand.got(RepairRequest)

        assert request.wanted == (some_key(3),)
        assert [record.key for record in request.records] == [some_key(3)]

    def test_what_is_left_is_asked_for_again(self) -> None:
        network, hand = ready_member()
        keys = tuple(Key("/", some_key(3).locator[:2] + bytes([n]) * 10) for n in range(3))
        compared(hand, begun(hand, 3), dict.fromkeys(keys, 77))
        for step, key in enumerate(keys, start=2):
            request = hand.got(RepairRequest)[-1]
            assert (request.step, request.wanted) == (step, keys[step - 2 :])
            assert node_of(network).metrics.repair_rounds == 0
            left = keys[step - 1 :]
            hand.send(RepairRecords(request.round, step, left, (record_of(key, b"\x01"),)))

        assert node_of(network).metrics.repair_rounds == 1
        assert all(network.values("m1", key) for key in keys)

    def test_what_does_not_fit_into_a_chunk_follows_in_the_next_step(self) -> None:
        sessions = (3, 4, 5)
        network, hand = ready_member(*sessions, chunk_bytes=1)
        compared(hand, begun(hand, *sessions), {})
        sent = []
        for step in range(2, 5):
            (record,) = hand.got(RepairRequest)[-1].records
            sent.append(record.key)
            assert node_of(network).repairer.settled == {"m9": -inf}
            hand.send(RepairRecords(hand.got(RepairRequest)[-1].round, step, (), ()))

        assert sent == [some_key(session) for session in sessions]
        assert len(hand.got(RepairRequest)) == 3
        assert node_of(network).metrics.repair_exchanges == 3
        assert list(node_of(network).repairer.settled) == ["m9"]

    def test_leaves_that_were_not_compared_are_compared_next(self) -> None:
        network, hand = ready_member(3, 4)
        for leaf in (2, 9):
            key = Key("/", bytes((4, leaf)) + bytes(10))
            network.commit("m1", key, {"x": b"\x01"}, birth=True)
        leaves = begun(hand, 3, 4, 5)
        hand.send(RecordDigests(leaves.round, 1, 4 * 256 + 3, (), {}))
        following = hand.got(LeafDigests)[-1]

        assert (following.step, following.first) == (2, 3)
        assert list(following.leaves) == [4, 5]
        assert list(following.leaves[4]) == [4, 9]
        hand.send(RecordDigests(leaves.round, 2, None, (), {}))
        assert node_of(network).metrics.repair_rounds == 1

    def test_a_finished_round_settles_what_was_there_when_it_began(self) -> None:
        network, hand = ready_member(3)
        began = network.now
        leaves = begun(hand, 3)
        hand.live(2.0)
        assert node_of(network).repairer.settled_at(network.now) == -inf
        compared(hand, leaves, {})
        hand.live(2.0)
        request = hand.got(RepairRequest)[-1]
        assert node_of(network).repairer.settled_at(network.now) == -inf
        hand.send(RepairRecords(request.round, request.step, (), ()))

        assert node_of(network).repairer.settled_at(network.now) == began
        hand.send(RepairAnswer(request.round, ()))
        node_of(network).repairer.said_goodbye("m9")
        assert node_of(network).repairer.settled_at(network.now) == network.now

    def test_a_round_may_take_long_as_long_as_it_goes_on(self) -> None:
        network, hand = ready_member(*range(1, 9), repair_records_max=1)
        leaves = begun(hand, *range(1, 9))
        for _ in range(8):
            hand.live(3.0)
            leaves = hand.got(LeafDigests)[-1]
            hand.send(RecordDigests(leaves.round, leaves.step, None, (), {}))

        assert node_of(network).metrics.repair_rounds == 1
        assert len(hand.got(LeafDigests)) == 8

    def test_a_round_that_is_never_answered_is_given_up_for_the_next_one(self) -> None:
        network, hand = ready_member(3)
        hand.live(5.5)

        assert len(hand.got(RepairOffer)) == 2
        assert node_of(network).metrics.repair_rounds == 0
        assert node_of(network).metrics.repair_rounds_given_up == 1

    def test_answers_to_another_step_bring_nothing_forward(self) -> None:
        network, hand = ready_member(3)
        leaves = begun(hand, 3)
        for round_, step in ((leaves.round, 0), (leaves.round, 2), (leaves.round + 1, 1)):
            hand.send(
                RepairAnswer(round_, (4,)),
                RecordDigests(round_, step, None, (3 * 256 + 3,), {OTHER: 77}),
                RepairRecords(round_, step, (), (record_of(some_key(step), b"\x01"),)),
            )

        assert len(hand.got(LeafDigests)) == 1
        assert hand.got(RepairRequest) == []
        assert node_of(network).metrics.repair_rounds == 0
        assert network.values("m1", some_key(2)) is not None, "but what came is merged"

    def test_what_lies_outside_of_the_comparison_is_not_asked_for(self) -> None:
        network, hand = ready_member(3, 4)
        leaves = begun(hand, 3)
        foreign = {some_key(4): 77, some_key(200): 77, OTHER: 77}
        hand.send(RecordDigests(leaves.round, 1, None, (3 * 256 + 9, 4 * 256 + 4), foreign))

        assert hand.got(RepairRequest) == []
        assert node_of(network).metrics.repair_rounds == 1

    @pytest.mark.parametrize("following", [3 * 256, 2 * 256 + 9, 65535])
    def test_a_comparison_that_goes_nowhere_ends_the_round(self, following: int) -> None:
        network, hand = ready_member(3)
        leaves = begun(hand, 3)
        hand.send(RecordDigests(leaves.round, 1, following, (), {}))

        assert node_of(network).metrics.repair_rounds_given_up == 1
        assert node_of(network).metrics.repair_rounds == 0
        hand.live(3.5)
        assert len(hand.got(RepairOffer)) == 1
        hand.live(2.0)
        assert len(hand.got(RepairOffer)) == 2

    def test_who_gives_nothing_of_what_it_said_it_had_ends_the_round(self) -> None:
        network, hand = ready_member()
        compared(hand, begun(hand, 3), {OTHER: 77})
        request = hand.got(RepairRequest)[-1]
        hand.send(RepairRecords(request.round, request.step, (OTHER,), ()))

        assert len(hand.got(RepairRequest)) == 1
        assert node_of(network).metrics.repair_rounds_given_up == 1
        assert node_of(network).repairer.settled == {"m9": -inf}


class TestOther:
    def test_an_offer_is_answered_with_the_buckets_that_differ(self) -> None:
        network, hand = ready_member(3, 7)
        mine = node_of(network).store.digests(network.now)
        hand.send(RepairOffer(41, EMPTY), RepairOffer(42, tuple(mine)))

        assert hand.got(RepairAnswer) == [RepairAnswer(41, (3, 7)), RepairAnswer(42, ())]

    def test_leaves_that_differ_are_told_with_all_that_is_in_them(self) -> None:
        network, hand = ready_member(3, 4, 5)
        network.commit("m1", OTHER, {"x": b"\x01"}, birth=True)
        same = node_of(network).store.leaves(4, network.now)
        hand.send(LeafDigests(41, 1, 0, {3: {3: 77}, 4: same, 5: {}, 6: {7: 1}}))
        (answer,) = hand.got(RecordDigests)

        assert (answer.round, answer.step, answer.next) == (41, 1, None)
        assert answer.leaves == (3 * 256 + 3, 5 * 256 + 5, 6 * 256 + 7)
        assert answer.digests == counted(network, 3) | counted(network, 5)

    def test_so_many_that_there_are_few_digests_and_at_least_one_leaf(self) -> None:
        network, hand = ready_member(3, 4, 5, 6, repair_digests_max=2)
        for context in ("/a", "/b"):
            key = Key(context, some_key(5).locator)
            network.commit("m1", key, {"x": b"\x01"}, birth=True)
        buckets = [3, 4, 5, 6]
        first, step = 0, 1
        told = []
        while buckets:
            hand.send(LeafDigests(41, step, first, {bucket: {} for bucket in buckets}))
            answer = hand.got(RecordDigests)[-1]
            told.append((len(answer.digests), [leaf // 256 for leaf in answer.leaves]))
            following = answer.next if answer.next is not None else 7 * 256
            first = following % 256
            buckets = [bucket for bucket in buckets if bucket >= following // 256]
            step += 1

        assert told == [(2, [3, 4]), (3, [5]), (1, [6])]

    def test_leaves_before_the_first_one_are_not_told_of_the_first_bucket_only(self) -> None:
        network, hand = ready_member()
        for bucket, leaf in ((7, 4), (7, 5), (2, 1)):
            key = Key("/", bytes((bucket, leaf)) + bytes(10))
            network.commit("m1", key, {"x": b"\x01"}, birth=True)
        hand.send(LeafDigests(41, 9, 5, {7: {}, 2: {}}))

        assert hand.got(RecordDigests)[0].leaves == (7 * 256 + 5, 2 * 256 + 1)

    def test_what_comes_is_merged_and_what_is_wanted_is_given(self) -> None:
        network, hand = ready_member(3)
        answer = asked(hand, 2, some_key(3), some_key(99), records=(record_of(OTHER, b"\x07"),))

        assert (answer.round, answer.step, answer.left) == (41, 2, ())
        assert [(record.key, record.since) for record in answer.records] == [(some_key(3), None)]
        assert network.values("m1", OTHER) == {"n0": b"\x07"}
        assert node_of(network).metrics.records_repaired == 1
        assert hand.deltas() == []

    def test_what_does_not_fit_into_a_chunk_is_left(self) -> None:
        _, hand = ready_member(3, 4, 5, chunk_bytes=1)
        keys = tuple(some_key(session) for session in (5, 3, 4))
        for step in range(2, 5):
            answer = asked(hand, step, *keys[step - 2 :])
            assert [record.key for record in answer.records] == [keys[step - 2]]
            assert answer.left == keys[step - 1 :]

    def test_a_request_that_comes_twice_is_answered_once_and_merged_always(self) -> None:
        network, hand = ready_member(3, 4, chunk_bytes=1)
        asked(hand, 3, some_key(3), some_key(4))
        for step in (3, 2):
            hand.send(RepairRequest(41, step, (some_key(3),), (record_of(some_key(step + 50)),)))
        hand.send(RepairRequest(40, 9, (some_key(3),), ()))

        assert len(hand.got(RepairRecords)) == 1
        assert network.values("m1", some_key(52)) == network.values("m1", some_key(53)) == {}
        assert asked(hand, 4, some_key(4)).left == ()
        hand.send(RepairRequest(42, 2, (some_key(3),), ()))
        assert len(hand.got(RepairRecords)) == 3

    def test_a_session_that_has_ended_is_told_once(self) -> None:
        network, hand = ready_member(3, 4)
        for session in (3, 4):
            network.destroy("m1", some_key(session))
        hand.acknowledge()
        hand.forget()
        late = tuple(record_of(some_key(session), b"\x01") for session in (3, 4))
        answer = asked(hand, 2, some_key(3), records=late)

        assert [record.key for record in answer.records if record.destroyed] == [some_key(3)]
        assert [delta.key for delta in hand.deltas()] == [some_key(4)], "it was not asked for"


class TestLongRecords:
    """A record that is longer than a chunk goes in pieces over several steps (rule 6)."""

    def test_it_is_given_piece_by_piece_as_it_was_before_the_first_one(self) -> None:
        network, hand = ready_member(piece_bytes=50, chunk_bytes=50)
        key = some_key(3)
        network.commit("m1", key, VALUES, birth=True)
        held = node_of(network).store.peek(key)
        assert held is not None
        version, attributes = dict(held.version), dict(held.attributes)
        pieces: list[Delta] = []
        for step in range(2, 6):
            answer = asked(hand, step, key)
            assert answer.left == ((key,) if step < 5 else ())
            pieces += answer.records
            network.commit("m1", key, {"n0": bytes([step]), "n3": bytes([step])})

        assert [piece.version for piece in pieces] == [version] * 4
        assert {name: piece.attributes[name] for piece in pieces for name in piece.attributes} == (
            attributes
        )
        (again,) = asked(hand, 6, key).records
        assert again.piece is not None
        assert again.piece.number == 0
        assert again.version != version

    def test_it_is_sent_piece_by_piece_as_it_was_before_the_first_one(self) -> None:
        network, hand = ready_member(piece_bytes=50, chunk_bytes=50)
        key = some_key(3)
        network.commit("m1", key, VALUES, birth=True)
        compared(hand, begun(hand, 3), {})
        pieces: list[Delta] = []
        while node_of(network).repairer.rounds.running is not None:
            request = hand.got(RepairRequest)[-1]
            pieces += request.records
            network.commit("m1", key, {"n3": b"\x09"})
            hand.send(RepairRecords(request.round, request.step, (), ()))

        assert [piece.piece and piece.piece.number for piece in pieces] == [0, 1, 2, 3]
        assert [piece.version for piece in pieces] == [pieces[0].version] * 4
        assert pieces[-1].attributes["n3"].value == VALUES["n3"]

    def test_it_is_believed_when_all_its_pieces_came(self) -> None:
        network, hand = ready_member()
        key = some_key(3)
        record = record_of(key, b"\x01", b"\x02")
        halves = [
            record._replace(attributes={name: record.attributes[name]}, piece=Piece(7, number, 2))
            for number, name in enumerate(("n0", "n1"))
        ]
        compared(hand, begun(hand, 3), {key: 77})
        for half, left in zip(halves, ((key,), ()), strict=True):
            request = hand.got(RepairRequest)[-1]
            assert network.values("m1", key) is None
            hand.send(RepairRecords(request.round, request.step, left, (half,)))

        assert network.values("m1", key) == {"n0": b"\x01", "n1": b"\x02"}
        held = node_of(network).store.peek(key)
        assert held is not None
        assert held.version == {NINE: BORN.hlc}


def test_the_older_write_loses_on_both_sides() -> None:
    network, hand = ready_member(3)
    record = node_of(network).store.peek(some_key(3))
    assert record is not None
    delta = whole(record, network.now)
    newer = delta._replace(
        attributes={"x": Write(*LATER, REGISTER, b"\x09")}, version={NINE: LATER.hlc}
    )
    hand.send(RepairRequest(41, 2, (), (newer,)))
    assert network.values("m1", some_key(3)) == {"x": b"\x09"}
    hand.send(RepairRequest(41, 3, (), (delta,)))

    assert network.values("m1", some_key(3)) == {"x": b"\x09"}


def test_names_of_members_that_come_once_and_vanish_are_bounded() -> None:
    network, _ = ready_member(members_max=2)
    repairer = node_of(network).repairer
    repairer.settled |= {f"gone-{number}": float(number) for number in range(8)}
    repairer.met("m9")

    # The longest unheard went, not the one that is up.
    assert "m9" in repairer.settled
    assert "gone-0" not in repairer.settled
    assert len(repairer.settled) == 8
