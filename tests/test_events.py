"""Events: what a node tells, as values with fields."""

from __future__ import annotations

import dataclasses
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any, get_args

import pytest

from replsession import events
from replsession.events import Event, Member, MemberJoined, MemberLeft
from replsession.identity import Address

MEMBER = Member(
    bytes.fromhex("00ff00ff00ff00ff"), "shop-1", 1700000000123, Address("10.0.0.7", 4001)
)
EVENTS: tuple[type[Any], ...] = get_args(Event)


def test_a_member_is_written_as_in_the_log() -> None:
    assert str(replace(MEMBER, alive_ms=1234)) == (
        "tls://10.0.0.7:4001 name=shop-1 id=00ff00ff00ff00ff incarnation=1700000000123 "
        "alive=1234 ms"
    )


def test_a_member_is_not_ready_before_it_says_so() -> None:
    assert not MEMBER.ready


def test_every_event_of_the_module_is_an_event() -> None:
    classes = [value for value in vars(events).values() if dataclasses.is_dataclass(value)]

    assert sorted(map(str, classes)) == sorted(map(str, (*EVENTS, Member)))


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_an_event_is_a_value(kind: type[Any]) -> None:
    event = kind(*[None] * len(fields(kind)))

    assert event == kind(*[None] * len(fields(kind)))
    assert not hasattr(event, "__dict__")
    for field in fields(kind):
        with pytest.raises(FrozenInstanceError):
            setattr(event, field.name, 1)


def test_events_of_different_kinds_are_unequal() -> None:
    joined: Event = MemberJoined(MEMBER)
    assert joined != MemberLeft(MEMBER, "said goodbye")
    assert MemberLeft(MEMBER, "silent for 3.0 s") != MemberLeft(MEMBER, "said goodbye")
