"""Membership: from a hint to a member that is up; how one goes is in the other module."""

from __future__ import annotations

from random import Random

import pytest

from replsession.config import Limits, NodeConfig, Timing
from replsession.errors import WireError
from replsession.events import Event, Member, MemberJoined
from replsession.identity import Address, MemberId
from replsession.membership.membership import Close, Dial, Membership
from replsession.messages import Heartbeat, Hello
from replsession.metrics import Metrics
from tests.harness import HOST, of_kind, some_id, some_member

ME, OTHER, THIRD = some_member(5), some_member(6), some_member(3)
TIMING = Timing()


def membership(limits: Limits | None = None) -> Membership:
    """The membership of member 5."""
    return Membership(NodeConfig(limits or Limits(), TIMING), ME, Random(1), Metrics())


def heartbeat_of(member: Member) -> Heartbeat:
    """The heartbeat of a member."""
    return Heartbeat(member.id, member.address)


def hello_of(member: Member, *, ready: bool = False) -> Hello:
    """The HELLO of a member."""
    return Hello(member.id, member.name, member.incarnation, member.address, ready, 0)


def taken(part: Membership) -> list[Dial | Close]:
    """Take the orders out, as the node does."""
    orders, part.orders = part.orders, []
    return orders


def told(part: Membership) -> list[Event]:
    """Take the events out, as the node does."""
    events, part.events = part.events, []
    return events


def accept(part: Membership, link: int, member: Member, now: float = 0.0) -> None:
    """Another member dials us and says HELLO."""
    part.link_opened(link, Address(HOST, 50_000 + link), member.id, None, now)
    part.hello_received(link, hello_of(member), now)


def test_a_heartbeat_is_a_hint_to_dial_and_nothing_more() -> None:
    part = membership()
    part.heartbeat_received(heartbeat_of(OTHER), 0.0)

    assert taken(part) == [Dial(1, OTHER.address)]
    assert len(part.view) == 0
    assert told(part) == []


def test_a_candidate_is_dialled_once_at_a_time() -> None:
    part = membership()
    for now in (0.0, 0.5, 1.0, 1.5):
        part.heartbeat_received(heartbeat_of(OTHER), now)
        part.timer_fired(now, now)

    assert taken(part) == [Dial(1, OTHER.address)]


def test_our_own_heartbeat_is_no_hint() -> None:
    part = membership()
    part.heartbeat_received(heartbeat_of(ME), 0.0)

    assert taken(part) == []
    assert part.candidates == {}


def test_a_member_is_up_when_its_hello_is_in() -> None:
    part = membership()
    part.link_opened(1, OTHER.address, OTHER.id, None, 0.0)
    assert len(part.view) == 0

    part.hello_received(1, hello_of(OTHER, ready=True), 0.0)
    assert [member.id for member in part.view] == [OTHER.id]
    assert [event.member.ready for event in of_kind(MemberJoined, told(part))] == [True]
    assert part.changes == [(OTHER.id, True)]


def test_a_member_that_is_up_is_not_dialled() -> None:
    part = membership()
    accept(part, 1, OTHER)
    part.heartbeat_received(heartbeat_of(OTHER), 1.0)
    part.timer_fired(2.0, 2.0)

    assert taken(part) == []


def test_the_pause_between_dials_grows_and_a_heartbeat_shortens_it() -> None:
    part = membership()
    part.heartbeat_received(heartbeat_of(OTHER), 0.0)
    pauses: list[float] = []
    now = 0.0
    for _ in range(12):
        (order,) = of_kind(Dial, taken(part))
        part.dial_failed(order.dial, "connection refused", now)
        at = part.candidates[OTHER.id].dial_at
        pauses.append(at - now)
        part.timer_fired(at - 0.001, None)
        assert taken(part) == []
        now = at
        part.timer_fired(now, None)

    # 0.1 s doubled up to 5 s, each time 0.7 to 1.3 of it.
    assert 0.14 <= pauses[0] <= 0.26
    assert pauses[0] < pauses[3] < pauses[6]
    assert all(3.5 <= pause <= 6.5 for pause in pauses[6:])

    (order,) = of_kind(Dial, taken(part))
    part.dial_failed(order.dial, "connection refused", now)
    part.heartbeat_received(heartbeat_of(OTHER), now)
    part.timer_fired(now + 1.0, None)
    assert [type(order) for order in taken(part)] == [Dial]


def test_candidates_are_bounded() -> None:
    part = membership(Limits(members_max=3))
    for number in range(10, 20):
        part.heartbeat_received(heartbeat_of(some_member(number)), 0.0)

    assert list(part.candidates) == [some_id(10), some_id(11), some_id(12)]
    assert len(taken(part)) == 3


def test_a_candidate_without_any_sign_is_forgotten() -> None:
    part = membership()
    part.heartbeat_received(heartbeat_of(OTHER), 0.0)
    (order,) = of_kind(Dial, taken(part))
    part.dial_failed(order.dial, "connection refused", 0.0)
    part.candidates[OTHER.id].dial_at = 1e9

    part.timer_fired(TIMING.candidate_retention_s - 1, None)
    assert OTHER.id in part.candidates
    part.timer_fired(TIMING.candidate_retention_s, None)
    assert part.candidates == {}


def test_a_link_without_a_hello_is_closed() -> None:
    part = membership()
    part.link_opened(1, OTHER.address, OTHER.id, None, 10.0)

    part.timer_fired(12.9, None)
    assert taken(part) == []
    part.timer_fired(13.0, None)
    assert taken(part) == [Close(1, "no HELLO")]
    assert told(part) == []


def test_a_dial_whose_link_brings_no_hello_counts_as_failed() -> None:
    part = membership()
    part.heartbeat_received(heartbeat_of(OTHER), 0.0)
    (order,) = of_kind(Dial, taken(part))
    part.link_opened(1, order.address, OTHER.id, order.dial, 0.0)
    part.timer_fired(3.0, None)
    assert taken(part) == [Close(1, "no HELLO")]

    part.timer_fired(4.0, None)
    assert taken(part) == [Dial(2, OTHER.address)]


def test_links_are_bounded() -> None:
    part = membership(Limits(links_max=2))

    assert part.link_opened(1, OTHER.address, None, None, 0.0)
    assert part.link_opened(2, OTHER.address, None, None, 0.0)
    assert not part.link_opened(3, OTHER.address, None, None, 0.0)
    assert taken(part) == [Close(3, "too many links")]
    assert list(part.links) == [1, 2]


@pytest.mark.parametrize(
    ("certified", "hello", "reason"),
    [
        (OTHER.id, THIRD, "the certificate names another member"),
        (None, ME, "this is our own receiver"),
        (ME.id, ME, "this is our own receiver"),
    ],
)
def test_who_is_not_who_it_says_is_refused(
    certified: MemberId | None, hello: Member, reason: str
) -> None:
    part = membership()
    part.link_opened(1, OTHER.address, certified, None, 0.0)

    with pytest.raises(WireError, match=reason):
        part.hello_received(1, hello_of(hello), 0.0)
    assert len(part.view) == 0
    assert told(part) == []


def test_without_certificates_the_hello_is_believed() -> None:
    part = membership()
    part.link_opened(1, OTHER.address, None, None, 0.0)
    part.hello_received(1, hello_of(OTHER), 0.0)

    assert OTHER.id in part.view


def test_a_second_hello_is_refused() -> None:
    part = membership()
    accept(part, 1, OTHER)

    with pytest.raises(WireError, match="second HELLO"):
        part.hello_received(1, hello_of(OTHER), 1.0)


def test_the_timer_is_wanted_for_the_next_dial() -> None:
    part = membership()
    assert part.next_at(10.0) == 10.5

    part.heartbeat_received(heartbeat_of(OTHER), 10.0)
    (order,) = of_kind(Dial, taken(part))
    assert part.next_at(10.0) == 10.5
    part.dial_failed(order.dial, "connection refused", 10.0)
    assert part.next_at(10.0) == part.candidates[OTHER.id].dial_at
    assert part.next_at(400.0) == 400.0
