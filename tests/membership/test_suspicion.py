"""Suspicions: who is one, whom to ask, whose word counts, and when the time is over."""

from __future__ import annotations

from random import Random

import pytest

from replsession import messages as m
from replsession.config import Timing
from replsession.identity import Address, MemberId
from replsession.membership.mesh import Link
from replsession.membership.suspicion import WITNESSES_MAX, Suspicions, witnesses
from replsession.metrics import Metrics
from tests.harness import HOST, some_id

A, B, C, D = (some_id(number) for number in (1, 2, 3, 4))
TIMING = Timing()


def suspicions(*linked: MemberId, heard_at: float = 100.0) -> Suspicions:
    """Suspicions about members whose links were heard at one time; links are numbered from 1."""
    links: dict[int, Link] = {}
    for number, member in enumerate(linked, start=1):
        link = Link(number, Address(HOST, 4000 + number), None, heard_at, member)
        link.member = member
        links[number] = link
    link_of = {member: number for number, member in enumerate(linked, start=1)}
    return Suspicions(TIMING, Random(1), Metrics(), links, link_of, {}, [])


def test_a_silent_link_makes_a_suspect_once_and_asks_it() -> None:
    part = suspicions(A, B)
    part.links[2].last_heard = 102.0
    assert list(part.listen(102.9)) == []
    assert part.next_at(110.0) == 103.0

    assert [link.id for link in part.listen(103.0)] == [1]
    assert A in part
    assert B not in part
    assert part.messages == [(1, m.Probe(1))]
    assert part.next_at(110.0) == 103.0, "others are to be asked now"
    assert list(part.listen(103.1)) == []
    assert part.metrics.members_suspected == 1


def test_a_link_without_a_hello_makes_no_suspect() -> None:
    part = suspicions(A)
    part.links[1].member = None

    assert list(part.listen(999.0)) == []


def test_others_are_asked_about_a_silent_one_at_once_and_once() -> None:
    part = suspicions(A, B, C)
    part.links[1].last_heard = 90.0
    assert len(list(part.listen(100.0))) == 1
    part.messages.clear()
    part.ask(100.0)
    part.ask(100.5)

    assert part.messages == [(2, m.Inquiry(A)), (3, m.Inquiry(A))]
    assert part.next_at(110.0) == 101.0


def test_others_are_asked_about_a_lost_link_only_if_the_dial_is_not_answered_soon() -> None:
    part = suspicions(B)
    part.doubt(A, "connection reset", 100.0)
    part.ask(100.2)
    assert part.messages == []
    assert part.next_at(110.0) == 100.25

    part.ask(100.25)
    assert part.messages == [(1, m.Inquiry(A))]


def test_suspects_are_not_asked_about_each_other() -> None:
    part = suspicions(A, B)
    assert len(list(part.listen(103.0))) == 2
    part.messages.clear()
    part.ask(103.0)

    assert part.messages == []


def test_the_time_is_over_after_a_second() -> None:
    part = suspicions(A)
    assert len(list(part.listen(103.0))) == 1
    part.doubt(B, "connection reset", 103.5)

    assert part.over(103.99) == []
    assert part.over(104.0) == [(A, "silent for 4.0 s", None)]
    assert part.over(104.5) == [
        (A, "silent for 4.5 s", None),
        (B, "connection reset", None),
    ]


def test_a_second_doubt_does_not_lengthen_the_first() -> None:
    part = suspicions(A)
    assert len(list(part.listen(103.0))) == 1
    part.doubt(A, "closed by the other end", 103.9)

    assert [reason for _, reason, _ in part.over(104.0)] == ["silent for 4.0 s"]
    assert part.metrics.members_suspected == 1


def test_a_sign_of_life_clears() -> None:
    part = suspicions(A)
    part.doubt(A, "connection reset", 100.0)

    assert part.clear(A)
    assert not part.clear(A)
    assert part.over(999.0) == []


def test_who_was_stopped_itself_measures_silence_and_suspicion_anew() -> None:
    part = suspicions(A, B)
    part.links[2].last_heard = 108.0
    assert len(list(part.listen(103.0))) == 1
    part.restart(150.0)

    assert part.over(150.9) == []
    assert [member for member, _, _ in part.over(151.0)] == [A]
    assert list(part.listen(152.9)) == []
    assert [link.member for link in part.listen(153.0)] == [B]


@pytest.mark.parametrize(
    ("heard_ms", "counts"), [(0, True), (1000, True), (1499, True), (1500, False), (2600, False)]
)
def test_the_word_of_another_counts_if_it_heard_after_we_did_not(
    heard_ms: int, counts: bool
) -> None:
    part = suspicions(A, B)
    part.links[1].last_heard = 97.0
    assert len(list(part.listen(100.0))) == 1
    part.testified(B, m.Testimony(A, heard_ms), 100.0)

    assert part.over(101.0) == [(A, "silent for 4.0 s", B if counts else None)]


def test_what_is_said_of_nobody_in_question_is_nothing() -> None:
    part = suspicions(A)
    part.testified(A, m.Testimony(B, 0), 100.0)

    assert part.suspects == {}


def test_we_testify_for_whom_we_have_a_link_with_and_tell_the_truth() -> None:
    part = suspicions(A, B)
    part.links[2].last_heard = 98.5
    part.restart(99.0)
    part.testify(part.links[1], B, 100.0)
    part.testify(part.links[1], C, 100.0)

    # Not since 99: that we were stopped is an excuse for the silence, and no sign of life.
    assert part.messages == [(1, m.Testimony(B, 1500))]


def test_a_clock_that_seems_to_go_back_makes_no_negative_time() -> None:
    part = suspicions(A, B)
    part.testify(part.links[1], B, 99.0)

    assert part.messages == [(1, m.Testimony(B, 0))]


class TestWitnesses:
    def test_those_with_a_link_to_the_suspect_are_asked(self) -> None:
        linked_with = {B: {A: None}, C: {B: None}, D: {A: None, B: None}}

        assert witnesses(A, [B, C, D], linked_with, Random(1)) == [B, D]

    def test_if_none_has_one_as_far_as_we_know_all_are(self) -> None:
        assert witnesses(A, [B, C], {}, Random(1)) == [B, C]
        assert witnesses(A, [], {}, Random(1)) == []

    def test_of_many_a_few_are_and_not_always_the_same(self) -> None:
        many = [some_id(number) for number in range(10, 40)]
        rng = Random(1)
        asked = [witnesses(A, many, {}, rng) for _ in range(20)]

        assert {len(one) for one in asked} == {WITNESSES_MAX}
        assert all(len(dict.fromkeys(one)) == WITNESSES_MAX for one in asked)
        assert len({member for one in asked for member in one}) > 20
