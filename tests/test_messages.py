"""Messages: values that nobody can change on the way, each of which can be sent."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any, get_args

import pytest

from replsession import messages as m
from replsession.identity import Address, Key
from replsession.session.stamp import Stamp
from replsession.wire.encoding import KINDS

ON_LINKS: tuple[type[Any], ...] = get_args(m.Message)
STAMP = Stamp(7, b"memberid")
KEY = Key("/", bytes(12))


def test_every_message_of_a_link_has_its_kind_on_the_wire() -> None:
    assert sorted(kind.__name__ for kind in ON_LINKS) == sorted(
        kind.__name__ for kind in KINDS.values()
    )


def test_a_heartbeat_never_travels_on_a_link() -> None:
    assert m.Heartbeat not in ON_LINKS
    assert m.Heartbeat not in KINDS.values()


@pytest.mark.parametrize("kind", [*ON_LINKS, m.Heartbeat, m.Access], ids=lambda kind: kind.__name__)
def test_a_message_is_a_value(kind: type[Any]) -> None:
    message = kind(*[None] * len(fields(kind)))

    assert is_dataclass(kind)
    assert not hasattr(message, "__dict__")
    assert message == kind(*[None] * len(fields(kind)))
    for field in fields(kind):
        with pytest.raises(FrozenInstanceError):
            setattr(message, field.name, 1)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (m.Status(True), m.Status(False)),
        (m.Ping(), m.Goodbye()),
        (m.StateRequest(1, 0), m.StateRequest(1, 1)),
        (m.Access(KEY, STAMP, 1.0), m.Access(KEY, STAMP, 2.0)),
        (
            m.Heartbeat(b"memberid", Address("a", 1)),
            m.Heartbeat(b"memberid", Address("a", 2)),
        ),
    ],
)
def test_different_messages_are_unequal(one: object, other: object) -> None:
    assert one != other
