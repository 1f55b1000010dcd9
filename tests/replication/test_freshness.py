"""Freshness at one member: what a client needs, whom it asks, and what it answers to others."""

from __future__ import annotations

import pytest

from replsession.config import Limits, Timing
from replsession.identity import MemberId
from replsession.messages import Deltas, RecordAnswer, RecordInquiry
from replsession.replication.freshness import Lookup, behind, covers
from replsession.replication.pieces import whole
from replsession.session.delta import REGISTER, Delta, Piece, Write
from replsession.session.record import Record
from replsession.session.stamp import NOTHING_SEEN, Seen, Stamp
from tests.harness import Hand, Network, some_id, some_key

KEY = some_key(1)
ONE, EIGHT, NINE = some_id(1), some_id(8), some_id(9)
BORN = Stamp(5 << 16, NINE)
LATER = BORN.hlc + 9
SOON_S = Timing().fresh_wait_s


def record_of(version: dict[MemberId, int]) -> Record:
    record = Record(KEY, BORN, 0.0, BORN, 0.0)
    record.version = version
    record.complete = True
    return record


@pytest.mark.parametrize(
    ("version", "seen", "is_covered"),
    [
        ({}, {}, True),
        ({NINE: 5}, {}, True),
        ({NINE: 5}, {NINE: 5}, True),
        ({NINE: 5}, {NINE: 4}, True),
        ({NINE: 5}, {NINE: 6}, False),
        ({}, {NINE: 1}, False),
        ({NINE: 5, EIGHT: 5}, {NINE: 5, EIGHT: 5}, True),
        ({NINE: 5, EIGHT: 5}, {NINE: 5, EIGHT: 6}, False),
        ({NINE: 9}, {NINE: 5, EIGHT: 1}, False),
        ({}, {ONE: 7}, True),
        ({ONE: 3}, {ONE: 7}, True),
        ({ONE: 3}, {ONE: 7, NINE: 1}, False),
    ],
)
def test_a_record_covers_what_a_client_has_seen(
    version: dict[MemberId, int], seen: dict[MemberId, int], is_covered: bool
) -> None:
    assert covers(record_of(version), seen, ONE) is is_covered


def test_who_has_nobody_to_wait_for_is_behind_as_it_begins() -> None:
    lookup = behind(KEY, {NINE: 5}, 7.0)

    assert (lookup.is_done, lookup.is_behind) == (True, True)
    assert (lookup.is_fresh, lookup.is_certain) == (False, False)
    assert (lookup.key, lookup.seen) == (KEY, {NINE: 5})


def member(*hands: int, **bounds: int) -> tuple[Network, list[Hand]]:
    """A ready member, and the test's ends as ready members."""
    network = Network()
    network.add(1, limits=Limits(**bounds))
    network.run(1.0)
    ends = [network.by_hand("m1", number) for number in hands or (9,)]
    for end in ends:
        end.hello()
        end.forget()
    return network, ends


def fetched(hlc: int, *, value: bytes = b"\x01", attributes: int = 1) -> Delta:
    """The session whole, as member 9 has it at this clock value."""
    writes = {f"n{number}": Write(hlc, NINE, REGISTER, value) for number in range(attributes)}
    stamp = Stamp(hlc, NINE)
    return Delta(KEY, BORN, None, {NINE: hlc}, writes, 0.0, stamp, 0.0)


def waiting(network: Network, seen: Seen = NOTHING_SEEN) -> Lookup:
    """Begin a request that has to wait."""
    found = network.look_up("m1", KEY, seen)
    assert isinstance(found, Lookup)
    return found


@pytest.mark.parametrize(
    ("seen", "asked_at_once", "asked_soon"),
    [
        ({}, [8, 9], [8, 9]),
        ({NINE: LATER}, [], [9]),
        ({NINE: LATER, EIGHT: LATER}, [], [8, 9]),
        ({NINE: LATER, some_id(7): LATER}, [], [9]),
        ({some_id(7): LATER}, [8, 9], [8, 9]),
    ],
    ids=["unknown", "its writer", "both of its writers", "the one that is here", "none is here"],
)
def test_whom_a_request_asks_and_when(
    seen: dict[MemberId, int], asked_at_once: list[int], asked_soon: list[int]
) -> None:
    network, hands = member(8, 9)
    waiting(network, Seen(seen, max(seen.values(), default=0)))

    def asked() -> list[int]:
        return [hand.member.id[0] for hand in hands if hand.got(RecordInquiry)]

    assert asked() == asked_at_once
    network.run(SOON_S)
    assert asked() == asked_soon


def test_of_its_writers_only_those_are_asked_whose_writes_are_missing() -> None:
    network, (eight, nine) = member(8, 9)
    eight.send_deltas(fetched(BORN.hlc)._replace(version={NINE: BORN.hlc, EIGHT: BORN.hlc}))
    waiting(network, Seen({NINE: LATER, EIGHT: BORN.hlc}, LATER))
    network.run(SOON_S)

    assert [len(hand.got(RecordInquiry)) for hand in (eight, nine)] == [0, 1]


def test_an_answer_ends_the_wait() -> None:
    network, (nine,) = member()
    lookup = waiting(network, Seen({NINE: LATER}, LATER))
    network.run(SOON_S)
    assert nine.got(RecordInquiry) == [RecordInquiry(1, (KEY,))]
    nine.send(RecordAnswer(1, (), (fetched(LATER),)))

    assert lookup.is_fresh
    assert network.values("m1", KEY) == {"n0": b"\x01"}


def test_an_answer_in_pieces_ends_it_with_the_last_one() -> None:
    network, (nine,) = member()
    lookup = waiting(network, Seen({NINE: LATER}, LATER))
    network.run(SOON_S)
    for number in range(3):
        assert not lookup.is_done
        piece = fetched(LATER)._replace(
            attributes={f"n{number}": Write(LATER, NINE, REGISTER, b"\x01")},
            piece=Piece(1, number, 3),
        )
        nine.send(RecordAnswer(1, (), (piece,)))

    assert lookup.is_fresh
    assert network.values("m1", KEY) == dict.fromkeys(("n0", "n1", "n2"), b"\x01")


@pytest.mark.parametrize("kind", ["unknown", "older", "in part"])
def test_who_has_been_asked_and_has_it_not_lets_the_others_be_asked(kind: str) -> None:
    network, (eight, nine) = member(8, 9)
    lookup = waiting(network, Seen({NINE: LATER}, LATER))
    network.run(SOON_S)
    assert eight.got(RecordInquiry) == []
    answer = {
        "unknown": RecordAnswer(1, (KEY,), ()),
        "older": RecordAnswer(1, (), (fetched(BORN.hlc),)),
        "in part": RecordAnswer(1, (), (fetched(LATER)._replace(complete=False),)),
    }[kind]
    nine.send(answer)
    assert (lookup.is_done, eight.got(RecordInquiry)) == (False, [RecordInquiry(2, (KEY,))])
    eight.send(RecordAnswer(2, (KEY,), ()))

    assert (lookup.is_done, lookup.is_fresh, lookup.is_certain) == (True, False, True)


def test_an_answer_that_comes_too_late_is_merged_all_the_same() -> None:
    network, (nine,) = member()
    lookup = waiting(network)
    nine.live(0.5)
    assert (lookup.is_done, lookup.is_fresh, lookup.is_certain) == (True, False, False)
    nine.send(RecordAnswer(1, (), (fetched(LATER),)))

    assert network.values("m1", KEY) == {"n0": b"\x01"}


def test_answers_that_nobody_asked_for_say_nothing_of_what_is_unknown() -> None:
    network, (nine,) = member()
    nine.send(RecordAnswer(1, (KEY,), ()))
    lookup = waiting(network)
    assert not lookup.is_done
    nine.send(RecordAnswer(0, (KEY,), ()))
    nine.send(RecordAnswer(1, (some_key(2),), ()))
    assert not lookup.is_done
    nine.send(RecordAnswer(1, (KEY,), ()))

    assert lookup.is_certain


def test_an_answer_to_an_earlier_inquiry_says_nothing_to_who_asked_since() -> None:
    network, (nine,) = member()
    first = waiting(network)
    network.run(0.05)
    second = waiting(network)
    assert nine.got(RecordInquiry) == [RecordInquiry(1, (KEY,)), RecordInquiry(2, (KEY,))]
    nine.send(RecordAnswer(1, (KEY,), ()))
    assert (first.is_done, first.is_certain, second.is_done) == (True, True, False)
    nine.send(RecordAnswer(2, (), (fetched(LATER),)))

    assert second.is_fresh


def test_an_answer_to_a_later_inquiry_is_one_to_those_before() -> None:
    # The first one was left to the outbox because so much was asked for at once.
    network, (nine,) = member()
    lookups = [waiting(network)]
    network.run(0.05)
    lookups.append(waiting(network))
    nine.send(RecordAnswer(2, (KEY,), ()))

    assert all(lookup.is_certain for lookup in lookups)


def test_a_member_that_comes_meanwhile_is_asked_too() -> None:
    network, (nine,) = member()
    lookup = waiting(network)
    eight = network.by_hand("m1", 8)
    eight.hello()
    assert eight.got(RecordInquiry) == [RecordInquiry(2, (KEY,))]
    nine.send(RecordAnswer(1, (KEY,), ()))
    assert not lookup.is_done
    eight.send(RecordAnswer(2, (KEY,), ()))

    assert lookup.is_certain


def test_what_a_member_said_is_void_when_its_link_is_gone() -> None:
    network, (eight, nine) = member(8, 9)
    lookup = waiting(network)
    nine.send(RecordAnswer(1, (KEY,), ()))
    nine.close()
    again = network.by_hand("m1", 9)
    again.hello()
    assert again.got(RecordInquiry) == [RecordInquiry(2, (KEY,))]
    eight.send(RecordAnswer(1, (KEY,), ()))
    assert not lookup.is_done
    again.send(RecordAnswer(2, (KEY,), ()))

    assert lookup.is_certain


def test_news_by_any_way_end_the_wait() -> None:
    network, (nine,) = member()
    lookup = waiting(network, Seen({NINE: LATER}, LATER))
    nine.send_deltas(fetched(BORN.hlc))
    assert not lookup.is_done
    later = Stamp(LATER, NINE)
    nine.send_deltas(Delta(KEY, BORN, BORN.hlc, {NINE: LATER}, {}, 0.0, later, 0.0))

    assert lookup.is_fresh


def test_after_a_gap_it_is_not_fresh_before_the_whole_record_is_there() -> None:
    network, (nine,) = member()
    nine.send_deltas(fetched(BORN.hlc))
    lookup = waiting(network, Seen({NINE: LATER}, LATER))
    later = Stamp(LATER, NINE)
    nine.send_deltas(Delta(KEY, BORN, BORN.hlc + 5, {NINE: LATER}, {}, 0.0, later, 0.0))
    assert not lookup.is_done
    nine.send(RecordAnswer(1, (), (fetched(LATER),)))

    assert lookup.is_fresh


# Answers to others.


def test_what_is_here_is_sent_at_once_and_what_is_not_is_named() -> None:
    network, (nine,) = member(window_bytes=1)
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.commit("m1", some_key(2), {"x": b"\x02"}, birth=True)
    assert len(nine.got(Deltas)) == 1, "the window is shut"
    nine.forget()
    nine.send(RecordInquiry(1, (some_key(7), KEY, some_key(8))))

    (answer,) = nine.got(RecordAnswer)
    assert answer.unknown == (some_key(7), some_key(8))
    (record,) = answer.records
    assert (record.key, record.since, record.complete) == (KEY, None, True)
    assert list(record.version) == [ONE]


def test_what_has_ended_or_is_here_in_part_is_sent_as_it_is() -> None:
    network, (nine,) = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    network.destroy("m1", KEY)
    stamp = Stamp(LATER, NINE)
    other = some_key(2)
    nine.send_deltas(Delta(other, BORN, BORN.hlc, {NINE: LATER}, {}, 0.0, stamp, 0.0))
    nine.send(RecordInquiry(1, (KEY, other)))

    (answer,) = nine.got(RecordAnswer)
    assert answer.unknown == ()
    ended, partial = answer.records
    assert (ended.key, ended.destroyed is not None) == (KEY, True)
    assert (partial.key, partial.complete) == (other, False)


def test_an_inquiry_for_nothing_is_answered_with_nothing() -> None:
    _, (nine,) = member()
    nine.send(RecordInquiry(1, ()))

    assert nine.got(RecordAnswer) == [RecordAnswer(1, (), ())]


def test_a_long_record_is_answered_in_frames_of_bounded_length() -> None:
    network, (nine,) = member(piece_bytes=1000, chunk_bytes=3000)
    big: dict[str, bytes | None] = {f"n{number}": bytes(900) for number in range(12)}
    network.commit("m1", KEY, big, birth=True)
    nine.acknowledge()
    nine.send(RecordInquiry(1, (some_key(7), KEY)))

    answers = nine.got(RecordAnswer)
    assert len(answers) > 3
    assert [answer.unknown for answer in answers[:-1]] == [()] * (len(answers) - 1)
    assert answers[-1].unknown == (some_key(7),)
    copy, (other,) = member()
    for answer in answers:
        other.send(answer)
    mine, theirs = (end.nodes["m1"].store.peek(KEY) for end in (network, copy))
    assert mine is not None and theirs is not None and theirs.complete
    assert (theirs.attributes, theirs.version) == (mine.attributes, mine.version)


def test_an_inquiry_for_many_big_records_is_bounded() -> None:
    network, (nine,) = member(window_bytes=50_000, chunk_bytes=5000)
    keys = tuple(map(some_key, range(1, 41)))
    for key in keys:
        network.commit("m1", key, {"x": bytes(10_000)}, birth=True)
        nine.acknowledge()
    nine.forget()
    nine.send(RecordInquiry(1, keys))

    at_once = [record.key for answer in nine.got(RecordAnswer) for record in answer.records]
    assert 5 <= len(at_once) <= 6
    # The rest is subject to the window, as everything that waits is.
    assert 5 <= len(nine.deltas()) <= 6
    assert len(network.nodes["m1"].peers.get(NINE).outbox) > 20  # type: ignore[union-attr]
    for _ in range(10):
        nine.acknowledge()
    records = dict.fromkeys([*at_once, *(news.key for news in nine.deltas())])
    assert sorted(records) == sorted(keys)


def test_an_answer_is_what_another_member_can_serve() -> None:
    network, (nine,) = member()
    network.commit("m1", KEY, {"x": b"\x01"}, birth=True)
    record = network.nodes["m1"].store.peek(KEY)
    assert record is not None
    nine.send(RecordInquiry(1, (KEY,)))

    (answer,) = nine.got(RecordAnswer)
    assert answer.records == (whole(record, network.now),)


def test_when_the_only_other_member_has_answered_nobody_waits_any_more() -> None:
    network, (nine,) = member()
    nine.send_deltas(fetched(BORN.hlc))
    lookup = waiting(network, Seen({NINE: LATER}, LATER))
    network.run(SOON_S)
    nine.send(RecordAnswer(1, (), (fetched(BORN.hlc),)))

    assert (lookup.is_done, lookup.is_fresh, lookup.is_certain) == (True, False, True)


def test_a_session_that_is_named_again_and_again_is_sent_once() -> None:
    network, (nine,) = member(window_bytes=5000)
    network.commit("m1", KEY, {"x": bytes(3000)}, birth=True)
    nine.acknowledge()
    nine.forget()
    nine.send(RecordInquiry(1, (KEY,) * 100))

    outbox = network.nodes["m1"].peers.get(NINE).outbox  # type: ignore[union-attr]
    answered = [record for answer in nine.got(RecordAnswer) for record in answer.records]
    assert len(answered) + len(nine.deltas()) + len(outbox) <= 2
