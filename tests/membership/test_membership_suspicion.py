"""Membership: from silence to a member that is gone, or that only others can reach."""

from __future__ import annotations

from random import Random

import pytest

from replsession import messages as m
from replsession.config import Limits, NodeConfig, Timing
from replsession.events import (
    ALREADY_DISAPPEARED,
    DISAPPEARED,
    STILL_ALIVE,
    DialFailed,
    Event,
    Member,
    MemberJoined,
    MemberLeft,
    MemberReachable,
    MemberSuspected,
    MemberUnreachable,
    MemberVerified,
)
from replsession.identity import Address
from replsession.membership.membership import Close, Dial, Membership
from replsession.metrics import Metrics
from tests.harness import HOST, of_kind, some_id, some_member

ME, OTHER, THIRD, FOURTH = (some_member(number) for number in (5, 6, 3, 4))
TIMING = Timing()


def membership(limits: Limits | None = None) -> Membership:
    """The membership of member 5."""
    return Membership(NodeConfig(limits or Limits(), TIMING), ME, Random(1), Metrics())


def hello_of(member: Member) -> m.Hello:
    """The HELLO of a member."""
    return m.Hello(member.id, member.name, member.incarnation, member.address, False, 0)


def accept(part: Membership, link: int, member: Member, now: float) -> None:
    """Another member dials us and says HELLO."""
    part.link_opened(link, Address(HOST, 50_000 + link), member.id, None, now)
    part.hello_received(link, hello_of(member), now)


def told(part: Membership) -> list[Event]:
    """Take the events out, as the node does; that somebody is being verified is another matter."""
    events, part.events = part.events, []
    return [one for one in events if not isinstance(one, MemberSuspected | MemberVerified)]


def taken(part: Membership) -> list[Dial | Close]:
    """Take the orders out, as the node does."""
    orders, part.orders = part.orders, []
    return orders


def said(part: Membership) -> list[tuple[int, m.Message]]:
    """Take the messages out, as the node does; pings and neighbours are another matter."""
    messages: list[tuple[int, m.Message]] = []
    for link, message in part.messages:
        if not isinstance(message, m.Ping | m.Neighbours):
            messages.append((link, message))
    part.messages.clear()
    return messages


def hear(part: Membership, link: int, message: m.Message, now: float) -> None:
    """A message comes on a link."""
    part.heard(part.links[link], now)
    assert part.received(part.links[link], message, now)


def neighbours_of(*members: Member) -> m.Neighbours:
    """What somebody with links to these members tells."""
    rows = (m.Neighbour(one.id, one.name, one.incarnation, one.address) for one in members)
    return m.Neighbours(tuple(rows))


def three(silent_since: float = 10.0) -> Membership:
    """Links with OTHER (1), silent since then, and with THIRD (2), who sees OTHER."""
    part = membership()
    accept(part, 1, OTHER, silent_since)
    accept(part, 2, THIRD, silent_since)
    hear(part, 2, neighbours_of(ME, OTHER), silent_since + 2.9)
    part.timer_fired(silent_since + 2.9, None)
    for take in (told, taken, said):
        take(part)
    return part


def cut(part: Membership, at: float = 14.0) -> None:
    """OTHER becomes unreachable, and is seen through THIRD."""
    part.timer_fired(at - 1.0, at - 1.0)
    hear(part, 2, m.Testimony(OTHER.id, 400), at - 0.9)
    part.timer_fired(at, at)


def test_silence_makes_a_suspect_which_is_asked_dialled_and_asked_about() -> None:
    part = three()
    assert part.next_at(12.9) == 13.0
    part.timer_fired(13.0, 13.0)

    assert said(part) == [(1, m.Probe(1)), (2, m.Inquiry(OTHER.id))]
    assert taken(part) == [Dial(1, OTHER.address)]
    assert told(part) == []
    assert OTHER.id in part.view
    assert part.link_of[OTHER.id] == 1


def test_a_suspect_of_whom_nothing_comes_is_gone_after_a_second() -> None:
    part = three()
    part.timer_fired(13.0, 13.0)
    part.timer_fired(13.9, 13.9)
    assert told(part) == []
    taken(part)

    part.timer_fired(14.0, 14.0)
    assert taken(part) == [Close(1, "silent for 4.0 s")]
    (left,) = told(part)
    assert isinstance(left, MemberLeft)
    assert (left.member.id, left.reason) == (OTHER.id, "silent for 4.0 s")
    assert list(part.link_of) == [THIRD.id]


def test_a_suspect_whose_address_refuses_is_gone_at_once() -> None:
    part = three()
    part.timer_fired(13.0, 13.0)
    (order,) = of_kind(Dial, taken(part))
    part.dial_failed(order.dial, "connection refused", 13.1, refused=True)

    assert taken(part) == [Close(1, "connection refused")]
    assert [type(event) for event in told(part)] == [MemberLeft]


@pytest.mark.parametrize("reason", ["no answer", "TLS refused: no reason"])
def test_a_dial_that_fails_otherwise_says_nothing(reason: str) -> None:
    part = three()
    part.timer_fired(13.0, 13.0)
    (order,) = of_kind(Dial, taken(part))
    part.dial_failed(order.dial, reason, 13.1)

    assert (taken(part), told(part)) == ([], [])
    part.timer_fired(14.0, 14.0)
    assert [event.reason for event in of_kind(MemberLeft, told(part))] == ["silent for 4.0 s"]


def test_any_bytes_on_its_link_clear_a_suspect() -> None:
    part = three()
    part.timer_fired(13.0, 13.0)
    part.heard(part.links[1], 13.9)
    part.timer_fired(14.0, 14.0)

    assert told(part) == []
    assert part.suspicions.suspects == {}
    assert part.link_of[OTHER.id] == 1


def test_a_fresh_link_takes_the_place_of_the_silent_one() -> None:
    part = three()
    part.timer_fired(13.0, 13.0)
    (order,) = of_kind(Dial, taken(part))
    assert part.link_opened(3, order.address, OTHER.id, order.dial, 13.2)
    part.hello_received(3, hello_of(OTHER), 13.2)

    assert taken(part) == [Close(1, "duplicate")]
    assert part.link_of[OTHER.id] == 3
    part.timer_fired(14.5, 14.5)
    assert told(part) == []


def test_a_fresh_link_that_is_not_needed_any_more_is_closed_before_it_says_anything() -> None:
    part = three()
    part.timer_fired(13.0, 13.0)
    (order,) = of_kind(Dial, taken(part))
    part.heard(part.links[1], 13.1)

    assert not part.link_opened(3, order.address, OTHER.id, order.dial, 13.2)
    assert taken(part) == [Close(3, "not needed")]
    assert part.link_of[OTHER.id] == 1
    assert told(part) == []


def test_another_one_s_address_answers_so_the_suspect_is_gone() -> None:
    part = three()
    part.timer_fired(13.0, 13.0)
    (order,) = of_kind(Dial, taken(part))
    part.link_opened(3, order.address, FOURTH.id, order.dial, 13.2)
    part.hello_received(3, hello_of(Member(FOURTH.id, "other", 99, OTHER.address)), 13.2)

    assert Close(1, "its address is another member's") in taken(part)
    assert [(type(event), event.member.id) for event in told(part)] == [  # type: ignore[union-attr]
        (MemberLeft, OTHER.id),
        (MemberJoined, FOURTH.id),
    ]


def test_whom_another_one_hears_is_unreachable_and_not_gone() -> None:
    part = three()
    cut(part)

    assert of_kind(Close, taken(part)) == [Close(1, "silent for 4.0 s")]
    (event,) = told(part)
    assert isinstance(event, MemberUnreachable)
    assert (event.member.id, event.via.id) == (OTHER.id, THIRD.id)
    assert part.view.via(OTHER.id) == THIRD.id
    assert OTHER.id in part.view
    assert list(part.link_of) == [THIRD.id]


def test_an_old_testimony_does_not_save_it() -> None:
    part = three()
    part.timer_fired(13.0, 13.0)
    hear(part, 2, m.Testimony(OTHER.id, 2700), 13.1)
    part.timer_fired(14.0, 14.0)

    assert [type(event) for event in told(part)] == [MemberLeft]


def test_a_witness_that_has_lost_it_meanwhile_does_not_save_it() -> None:
    part = three()
    part.timer_fired(13.0, 13.0)
    hear(part, 2, m.Testimony(OTHER.id, 400), 13.1)
    hear(part, 2, neighbours_of(ME), 13.9)
    part.timer_fired(14.0, 14.0)

    assert [type(event) for event in told(part)] == [MemberLeft]


def test_the_unreachable_is_dialled_with_growing_pauses_and_told_of_once() -> None:
    part = three()
    cut(part)
    told(part)
    now, dials = 14.0, 1
    while now < 60.0:
        for order in of_kind(Dial, taken(part)):
            part.dial_failed(order.dial, "no answer", now)
            dials += 1
        now = part.next_at(now)
        part.heard(part.links[2], now)
        part.timer_fired(now, now)

    assert told(part) == []
    assert 12 <= dials <= 20


def test_the_unreachable_that_has_a_link_again_does_not_join_again() -> None:
    part = three()
    cut(part)
    told(part)
    accept(part, 3, OTHER, 20.0)

    (event,) = told(part)
    assert isinstance(event, MemberReachable)
    assert event.member.id == OTHER.id
    assert part.view.via(OTHER.id) is None


def test_the_unreachable_leaves_when_nobody_sees_it_any_more() -> None:
    part = three()
    cut(part)
    told(part)
    hear(part, 2, neighbours_of(ME), 20.0)

    (left,) = told(part)
    assert isinstance(left, MemberLeft)
    assert left.reason == "no other member has a link with it any more"


def test_the_unreachable_leaves_with_the_one_who_saw_it() -> None:
    part = three()
    cut(part)
    told(part)
    part.link_closed(2, "connection reset", 20.0)
    assert told(part) == [], "that one is being verified"
    third = next(order for order in of_kind(Dial, taken(part)) if order.address == THIRD.address)
    part.dial_failed(third.dial, "connection refused", 20.1, refused=True)

    gone = [event.member.id for event in of_kind(MemberLeft, told(part))]
    assert gone == [THIRD.id, OTHER.id]
    assert len(part.view) == 0


def test_another_one_who_sees_the_unreachable_takes_the_place_of_the_first() -> None:
    part = three()
    accept(part, 4, FOURTH, 12.95)
    hear(part, 4, neighbours_of(ME, OTHER, THIRD), 12.95)
    cut(part)
    told(part)
    assert part.view.via(OTHER.id) == THIRD.id
    hear(part, 2, neighbours_of(ME, FOURTH), 15.0)

    assert told(part) == []
    assert part.view.via(OTHER.id) == FOURTH.id


def test_a_lost_link_whose_dial_is_not_answered_is_looked_into_as_well() -> None:
    part = three()
    part.link_closed(1, "connection reset", 12.9)
    (order,) = of_kind(Dial, taken(part))
    part.dial_failed(order.dial, "no answer", 13.0)
    part.timer_fired(13.0, 13.0)
    assert said(part) == []
    part.timer_fired(13.2, 13.2)
    assert said(part) == [(2, m.Inquiry(OTHER.id))]
    hear(part, 2, m.Testimony(OTHER.id, 100), 13.3)
    part.timer_fired(13.9, 13.9)

    assert [type(event) for event in told(part)] == [MemberUnreachable]


def test_who_was_stopped_during_a_suspicion_begins_anew() -> None:
    part = three()
    part.timer_fired(13.0, 13.0)
    part.timer_fired(60.0, 13.5)
    assert told(part) == []
    part.timer_fired(60.9, 60.9)
    assert told(part) == []

    part.timer_fired(61.0, 61.0)
    assert OTHER.id in [event.member.id for event in of_kind(MemberLeft, told(part))]
    assert THIRD.id in part.view, "its silence is measured from the moment when we went on"


def test_a_probe_is_answered_and_an_answer_is_a_sign_of_life_like_any_other() -> None:
    part = three()
    hear(part, 2, m.Probe(77), 12.95)
    hear(part, 2, m.ProbeAnswer(1), 12.95)

    assert said(part) == [(2, m.ProbeAnswer(77))]


def test_an_inquiry_is_answered_about_those_with_a_link_only() -> None:
    part = three()
    hear(part, 2, m.Inquiry(OTHER.id), 12.5)
    hear(part, 2, m.Inquiry(some_id(77)), 12.5)

    assert said(part) == [(2, m.Testimony(OTHER.id, 2500))]


def test_what_is_not_about_members_is_left_to_others() -> None:
    part = three()

    assert not part.received(part.links[2], m.Acknowledge(1), 13.0)


def test_neighbours_are_told_at_once_on_a_new_link_and_by_the_timer_elsewhere() -> None:
    part = membership()
    part.timer_fired(9.0, None)
    accept(part, 1, OTHER, 10.0)
    accept(part, 2, THIRD, 10.1)
    assert part.messages == [(1, neighbours_of(OTHER)), (2, neighbours_of(THIRD, OTHER))]
    part.messages.clear()

    part.timer_fired(10.2, 10.2)
    assert part.messages == [(1, neighbours_of(THIRD, OTHER))]


def test_a_neighbour_s_neighbour_is_dialled() -> None:
    part = three()
    far = some_member(8)
    hear(part, 2, neighbours_of(ME, OTHER, far), 12.95)

    assert taken(part) == [Dial(1, far.address)]
    assert far.id not in part.view


def test_a_seed_is_dialled_and_whoever_answers_joins() -> None:
    part = membership()
    seed = Address("10.0.0.9", 4000)
    part.addresses_found([seed, ME.address], 0.0)
    assert taken(part) == [Dial(1, seed)]
    part.link_opened(1, seed, OTHER.id, 1, 0.1)
    part.hello_received(1, hello_of(OTHER), 0.1)
    part.heard(part.links[1], 2.0)
    part.timer_fired(2.0, None)

    assert OTHER.id in part.view
    assert taken(part) == []


def test_a_seed_that_is_another_name_of_a_linked_member_makes_no_second_link() -> None:
    part = three()
    seed = Address("10.0.0.9", 4000)
    part.addresses_found([seed], 12.9)
    (order,) = of_kind(Dial, taken(part))

    assert not part.link_opened(3, seed, OTHER.id, order.dial, 12.9)
    assert taken(part) == [Close(3, "not needed")]
    part.heard(part.links[1], 15.0)
    part.heard(part.links[2], 15.0)
    part.timer_fired(15.0, None)
    assert taken(part) == []
    # Until that link is lost: then it may be another one who lives there.
    part.link_closed(1, "connection reset", 16.0)
    assert [order.address for order in of_kind(Dial, taken(part))] == [OTHER.address, seed]


def test_a_seed_that_is_ourselves_is_closed_without_a_word_and_left_alone() -> None:
    part = membership()
    seed = Address("10.0.0.9", 4000)
    part.addresses_found([seed], 0.0)
    (order,) = of_kind(Dial, taken(part))

    assert not part.link_opened(1, seed, ME.id, order.dial, 0.1)
    assert taken(part) == [Close(1, "not needed")]
    part.timer_fired(500.0, None)
    assert taken(part) == []


def test_names_outlive_a_crash_and_not_a_goodbye() -> None:
    part = three()
    part.link_closed(1, "connection reset", 20.0)
    (order,) = of_kind(Dial, taken(part))
    part.dial_failed(order.dial, "connection refused", 20.1, refused=True)
    assert part.view.known_names(30.0) == {"m6": 20.1, "m3": 30.0}

    part.goodbye_received(2, 31.0)
    assert part.view.known_names(32.0) == {"m6": 20.1}
    assert part.left == ["m3"]


def test_a_member_that_is_heard_comes_before_those_that_are_only_told_of() -> None:
    part = membership(Limits(members_max=3))
    accept(part, 1, OTHER, 10.0)
    strangers = [some_member(number) for number in (20, 21, 22)]
    for now in (10.0, 14.0):
        hear(part, 1, neighbours_of(ME, *strangers), now)
        for order in of_kind(Dial, taken(part)):
            part.dial_failed(order.dial, "no answer", now)
    assert list(part.candidates) == [OTHER.id, some_id(20), some_id(21)]

    part.heartbeat_received(m.Heartbeat(FOURTH.id, FOURTH.address), 18.0)
    assert FOURTH.id in part.candidates
    assert len(part.candidates) == 3


def verified(part: Membership) -> list[Event]:
    """Take out what is told of the verification of members, and that they are gone."""
    events, part.events = part.events, []
    kinds = (MemberSuspected, MemberVerified, MemberLeft)
    return [event for event in events if isinstance(event, kinds)]


def shape(events: list[Event]) -> list[tuple[str, str]]:
    """Return kind and words of events about one member."""
    return [
        (type(event).__name__, getattr(event, "reason", "") or getattr(event, "verdict", ""))
        for event in events
    ]


def test_a_suspicion_is_told_and_so_is_its_end() -> None:
    part = three()
    part.timer_fired(13.0, 13.0)
    part.heard(part.links[1], 13.2)

    assert shape(verified(part)) == [
        ("MemberSuspected", "silent"),
        ("MemberVerified", STILL_ALIVE),
    ]


def test_the_verdict_comes_before_the_news_that_a_member_is_gone() -> None:
    part = three()
    part.timer_fired(13.0, 13.0)
    part.dial_failed(1, "connection refused", 13.1, refused=True)

    assert shape(verified(part)) == [
        ("MemberSuspected", "silent"),
        ("MemberVerified", DISAPPEARED),
        ("MemberLeft", "connection refused"),
    ]


def test_a_goodbye_during_a_verification_says_that_it_has_disappeared_already() -> None:
    part = three()
    part.timer_fired(13.0, 13.0)
    part.goodbye_received(1, 13.1)

    assert shape(verified(part)) == [
        ("MemberSuspected", "silent"),
        ("MemberVerified", ALREADY_DISAPPEARED),
        ("MemberLeft", "said goodbye"),
    ]


@pytest.mark.parametrize(
    ("heard_ago", "refused", "dials", "told"),
    [
        (0.5, False, 1, True),
        (1.5, False, 1, False),
        (0.5, True, 4, False),
        (0.5, True, 5, True),
    ],
    ids=["heard", "not heard lately", "perhaps just killed", "heard and refused again and again"],
)
def test_a_member_that_is_heard_and_cannot_be_dialled_is_told(
    heard_ago: float, refused: bool, dials: int, told: bool
) -> None:
    part = membership()
    now = 10.0
    heartbeat = m.Heartbeat(OTHER.id, OTHER.address)
    part.heartbeat_received(heartbeat, now)
    for number in range(dials):
        (order,) = of_kind(Dial, taken(part))
        part.heartbeat_received(heartbeat, now)
        now += heard_ago
        part.dial_failed(order.dial, "no answer", now, refused=refused)
        if number < dials - 1:
            now += 100.0
            part.heartbeat_received(heartbeat, now)

    events, part.events = part.events, []
    failed = of_kind(DialFailed, events)
    assert bool(failed) is told
    assert failed == [DialFailed(OTHER.address, "no answer")] * len(failed)
