"""The pulse: heartbeats for the group, and a sign of life on every silent link."""

from __future__ import annotations

from replsession.config import Timing
from replsession.identity import Address
from replsession.membership.mesh import Link
from replsession.membership.pulse import Pulse
from replsession.messages import Heartbeat, Ping, Status
from tests.harness import HOST, some_id, some_member

ME = some_member(1)
BEAT = Heartbeat(ME.id, ME.address)


def a_link(number: int, *, sent_at: float, said_hello: bool = True) -> Link:
    """A link on which something was sent at a time."""
    link = Link(number, Address(HOST, number), None, sent_at, None)
    link.member = some_id(number) if said_hello else None
    return link


def test_a_heartbeat_every_half_second() -> None:
    pulse = Pulse(Timing(), heartbeat_at=10.0)
    for now in (9.9, 10.0, 10.3, 10.5, 10.9):
        assert list(pulse.beat(ME, [], now)) == []

    assert pulse.heartbeats == [BEAT, BEAT]
    assert pulse.heartbeat_at == 11.0


def test_there_is_none_before_the_receiver_is_bound() -> None:
    pulse = Pulse(Timing())
    assert list(pulse.beat(ME, [], 1e9)) == []

    assert pulse.heartbeats == []


def test_links_that_carried_something_need_no_sign() -> None:
    pulse = Pulse(Timing())
    links = [
        a_link(2, sent_at=9.4),
        a_link(3, sent_at=9.6),
        a_link(4, sent_at=1.0, said_hello=False),
    ]
    assert list(pulse.beat(ME, links, 10.0)) == [(2, Ping())]

    pulse.sign = Status(True)
    assert list(pulse.beat(ME, links, 10.1)) == [(2, Status(True)), (3, Status(True))]
