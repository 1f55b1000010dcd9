"""Membership: which of two links stays, and how a member goes without having been silent."""

from __future__ import annotations

from random import Random

import pytest

from replsession.config import Limits, NodeConfig, Timing
from replsession.errors import WireError
from replsession.events import (
    Event,
    Member,
    MemberJoined,
    MemberLeft,
    MemberSuspected,
    MemberVerified,
)
from replsession.identity import Address
from replsession.membership.dialling import DEPARTED_MAX
from replsession.membership.membership import Close, Dial, Membership
from replsession.messages import Heartbeat, Hello, Neighbour, Neighbours
from replsession.metrics import Metrics
from tests.harness import HOST, of_kind, some_id, some_member

ME, OTHER, THIRD = some_member(5), some_member(6), some_member(3)
SMALLER = some_member(1)
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


def neighbours_of(*members: Member) -> Neighbours:
    """What somebody with links to these members tells."""
    rows = (Neighbour(one.id, one.name, one.incarnation, one.address) for one in members)
    return Neighbours(tuple(rows))


def taken(part: Membership) -> list[Dial | Close]:
    """Take the orders out, as the node does."""
    orders, part.orders = part.orders, []
    return orders


def told(part: Membership) -> list[Event]:
    """Take the events out, as the node does; that somebody is being verified is another matter."""
    events, part.events = part.events, []
    return [one for one in events if not isinstance(one, MemberSuspected | MemberVerified)]


def accept(part: Membership, link: int, member: Member, now: float = 0.0) -> None:
    """Another member dials us and says HELLO."""
    part.link_opened(link, Address(HOST, 50_000 + link), member.id, None, now)
    part.hello_received(link, hello_of(member), now)


def dialled(part: Membership, link: int, member: Member, now: float = 0.0) -> int:
    """We dial a member that we heard of, and it says HELLO; return the number of the dial."""
    part.heartbeat_received(heartbeat_of(member), now)
    (order,) = of_kind(Dial, taken(part))
    part.link_opened(link, order.address, member.id, order.dial, now)
    part.hello_received(link, hello_of(member), now)
    return order.dial


def test_of_two_links_one_stays_and_the_member_joins_once() -> None:
    part = membership()
    dialled(part, 1, OTHER)
    accept(part, 2, OTHER)

    # Ours stays, since our id is the smaller one.
    assert taken(part) == [Close(2, "duplicate")]
    assert part.link_of == {OTHER.id: 1}
    assert len(of_kind(MemberJoined, told(part))) == 1
    assert part.changes == [(OTHER.id, True)]


def test_the_link_of_the_smaller_id_replaces_ours() -> None:
    part = membership()
    dialled(part, 1, SMALLER)
    accept(part, 2, SMALLER)

    assert taken(part) == [Close(1, "duplicate")]
    assert part.link_of == {SMALLER.id: 2}
    assert [type(event) for event in told(part)] == [MemberJoined]
    assert part.changes == [(SMALLER.id, True), (SMALLER.id, False), (SMALLER.id, True)]


def test_a_duplicate_that_goes_is_no_reason_to_doubt() -> None:
    part = membership()
    dialled(part, 1, OTHER)
    accept(part, 2, OTHER)
    taken(part)
    part.link_closed(2, "closed by the other end", 1.0)

    assert taken(part) == []
    assert OTHER.id in part.view


def test_a_closed_link_is_verified_by_a_dial_at_once() -> None:
    part = membership()
    accept(part, 1, OTHER)
    part.link_closed(1, "connection reset", 10.0)

    (order,) = of_kind(Dial, taken(part))
    assert order.address == OTHER.address
    assert OTHER.id in part.view
    assert part.changes[-1] == (OTHER.id, False)

    part.dial_failed(order.dial, "connection refused", 10.0, refused=True)
    assert OTHER.id not in part.view
    assert [(event.member.id, event.reason) for event in of_kind(MemberLeft, told(part))] == [
        (OTHER.id, "connection refused")
    ]


def test_a_link_that_was_hardly_there_is_verified_after_a_pause() -> None:
    part = membership()
    accept(part, 1, OTHER, now=10.0)
    part.link_closed(1, "closed by the other end", 10.01)
    assert taken(part) == []
    assert OTHER.id in part.view
    assert part.next_at(10.01) == pytest.approx(10.1)

    part.timer_fired(part.next_at(10.01), None)
    assert [order.address for order in of_kind(Dial, taken(part))] == [OTHER.address]


def test_a_member_that_answers_the_dial_never_left() -> None:
    part = membership()
    accept(part, 1, OTHER)
    told(part)
    part.link_closed(1, "connection reset", 10.0)
    (order,) = of_kind(Dial, taken(part))
    part.link_opened(2, order.address, OTHER.id, order.dial, 10.1)
    part.hello_received(2, hello_of(OTHER), 10.1)

    assert told(part) == []
    assert part.link_of == {OTHER.id: 2}


def test_a_member_that_disappeared_is_dialled_again() -> None:
    part = membership()
    accept(part, 1, OTHER)
    part.link_closed(1, "connection reset", 10.0)
    (order,) = of_kind(Dial, taken(part))
    part.dial_failed(order.dial, "connection refused", 10.0, refused=True)
    part.timer_fired(20.0, None)

    assert [order.address for order in of_kind(Dial, taken(part))] == [OTHER.address]


def test_a_goodbye_needs_no_verification() -> None:
    part = membership()
    accept(part, 1, OTHER)
    told(part)
    part.goodbye_received(1, 10.0)

    assert taken(part) == [Close(1, "said goodbye")]
    assert [event.reason for event in of_kind(MemberLeft, told(part))] == ["said goodbye"]
    assert part.candidates == {}


def test_who_said_goodbye_never_comes_back_whatever_is_late() -> None:
    part = membership()
    accept(part, 1, OTHER)
    accept(part, 3, THIRD)
    part.link_opened(2, Address(HOST, 50_002), OTHER.id, None, 9.9)
    part.goodbye_received(1, 10.0)
    taken(part)
    told(part)

    part.heartbeat_received(heartbeat_of(OTHER), 10.5)
    part.received(part.links[3], neighbours_of(OTHER, ME), 10.6)
    part.hello_received(2, hello_of(OTHER), 10.7)
    assert taken(part) == [Close(2, "it has left")]
    assert told(part) == []
    assert list(part.candidates) == [THIRD.id]
    assert OTHER.id not in part.view


def test_those_who_left_are_remembered_within_bounds() -> None:
    part = membership()
    for number in range(DEPARTED_MAX + 10):
        member = Member(number.to_bytes(8, "big"), f"m{number}", number, Address(HOST, 1 + number))
        accept(part, number, member)
        part.goodbye_received(number, 0.0)

    assert len(part.departed) == DEPARTED_MAX
    assert (0).to_bytes(8, "big") not in part.departed


def test_a_new_start_on_the_same_address_replaces_the_old_one() -> None:
    part = membership()
    accept(part, 1, OTHER)
    again = Member(some_id(7), OTHER.name, 99, OTHER.address)
    accept(part, 2, again, now=0.3)

    assert [member.id for member in part.view] == [again.id]
    reasons = [event.reason for event in of_kind(MemberLeft, told(part))]
    assert reasons == ["replaced by a new start"]
    assert OTHER.id not in part.candidates
    assert part.link_of == {again.id: 2}
    assert of_kind(Close, taken(part)) == [Close(1, "replaced by a new start")]
    assert part.changes[-1] == (OTHER.id, False)


def test_a_namesake_on_another_address_stays() -> None:
    part = membership()
    accept(part, 1, OTHER)
    accept(part, 2, Member(some_id(7), OTHER.name, 99, Address(HOST, 4099)))

    assert len(part.view) == 2


def test_a_link_that_carries_nothing_is_closed_and_its_member_verified() -> None:
    part = membership()
    accept(part, 1, OTHER)
    told(part)
    part.doubt(1, "acknowledges nothing", 10.0)
    assert OTHER.id in part.view
    assert [type(order) for order in taken(part)] == [Close, Dial]
    part.doubt(1, "acknowledges nothing", 10.0)
    assert taken(part) == []

    part.timer_fired(11.0, 11.0)
    assert [event.reason for event in of_kind(MemberLeft, told(part))] == ["acknowledges nothing"]


def test_who_leaves_dials_nobody_any_more() -> None:
    part = membership()
    accept(part, 1, OTHER)
    part.heartbeat_received(heartbeat_of(THIRD), 1.0)
    part.stop()
    assert taken(part) == []

    part.heartbeat_received(heartbeat_of(SMALLER), 1.0)
    part.addresses_found([Address(HOST, 4999)], 1.0)
    part.link_closed(1, "closed by the other end", 1.1)
    part.timer_fired(9.0, 9.0)
    assert of_kind(Dial, taken(part)) == []
    assert part.next_at(9.0) == 9.5


def test_an_address_where_somebody_else_answers_is_dialled_no_more() -> None:
    part = membership()
    part.heartbeat_received(heartbeat_of(OTHER), 0.0)
    (order,) = of_kind(Dial, taken(part))
    part.link_opened(1, order.address, THIRD.id, order.dial, 0.0)
    part.hello_received(1, hello_of(THIRD), 0.0)

    assert list(part.candidates) == [THIRD.id]
    part.timer_fired(2.0, None)
    assert of_kind(Dial, taken(part)) == []


def test_an_own_address_learned_from_others_is_dialled_once() -> None:
    part = membership()
    part.heartbeat_received(heartbeat_of(OTHER), 0.0)
    (order,) = of_kind(Dial, taken(part))
    part.link_opened(1, order.address, None, order.dial, 0.0)
    with pytest.raises(WireError, match="our own receiver"):
        part.hello_received(1, hello_of(ME), 0.0)

    assert part.candidates == {}


@pytest.mark.parametrize("link", [1, 99])
def test_what_is_closed_twice_or_unknown_is_closed_once(link: int) -> None:
    part = membership()
    accept(part, 1, OTHER)
    part.give_up(1, "acknowledges nothing", 1.0)
    assert OTHER.id not in part.view
    orders, events = taken(part), told(part)
    assert Close(1, "acknowledges nothing") in orders
    assert [event.reason for event in of_kind(MemberLeft, events)] == ["acknowledges nothing"]

    part.link_closed(link, "connection reset", 1.0)
    part.give_up(link, "once more", 1.0)
    assert of_kind(Close, taken(part)) == []
    assert told(part) == []
