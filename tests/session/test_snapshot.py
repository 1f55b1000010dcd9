"""The snapshot: what a request found, and what it sees after what it did itself."""

from __future__ import annotations

from typing import Any

import pytest

from replsession.session.codec import encode
from replsession.session.flashes import Flash
from replsession.session.record import PRINCIPAL, SECRET, Values
from replsession.session.session import Session
from replsession.session.snapshot import Snapshot
from tests.session.world import LIMITS, Act, World, assign, both

FLASH = Flash(b"12345678", "info", encode("", "saved"))


def test_what_others_write_meanwhile_is_not_seen() -> None:
    world = World()
    found = world.found(n=1)
    one, two = Session.attached(world, found), Session.attached(world, found)
    two["n"] = 2
    two.increment("hits")
    two.flash("saved")
    two.principal = "anna"
    two.max_inactive_interval = 5
    world.apply(two)
    assert (dict(one), one.peek_flash(), one.principal) == ({"n": 1}, [], None)
    assert one.max_inactive_interval == LIMITS.idle_s
    assert one.seal() == ()


def test_messages_are_not_looked_at_before_somebody_asks() -> None:
    world = World()
    loaded = world.found(n=1)._replace(values=Values({"n": b"\x01"}, flashes=(FLASH,)))
    session = Session.attached(world, loaded)
    assert dict(session) == {"n": 1}
    assert session._flashes is None
    assert session.peek_flash("info") == ["saved"]


@pytest.mark.parametrize(
    ("act", "has_id"),
    [
        (lambda s: None, False),
        (assign(n=1), True),
        (lambda s: s.increment("n"), True),
        (lambda s: s.flash("x"), True),
        (lambda s: setattr(s, "principal", "anna"), True),
        (both(lambda s: setattr(s, "principal", "anna"), lambda s: s.clear()), False),
        (both(lambda s: s.flash("x"), lambda s: s.pop_flash()), False),
        (lambda s: setattr(s, "max_inactive_interval", 5), False),
        (lambda s: s.set_expiry(5), False),
    ],
)
def test_whatever_is_kept_gives_a_session_a_name(act: Act, has_id: bool) -> None:
    world = World()
    session = world.new_session()
    act(session)
    assert (session.id is not None) is has_id
    assert session.would_be_born is has_id
    assert (session.created_at is not None) is has_id
    assert bool(world.apply(session)) is has_id


@pytest.mark.parametrize("lazy", [True, False])
def test_what_is_kept_under_reserved_names_is_no_attribute(lazy: bool) -> None:
    world = World()
    session = (world.lazy_session if lazy else world.session)(n=1)
    (key,) = world.records
    session.principal = "anna"
    session.flash("x")
    session.rotate_id()
    seen: list[Any] = [dict(session), len(session), [*session], "\0principal" in session]
    world.apply(session)
    assert seen == [{"n": 1}, 1, ["n"], False]
    assert [dict(session), session.found()[0]] == [{"n": 1}, {"n": b"\x01"}]
    assert {*world.reserved[key]} == {PRINCIPAL, SECRET}


def test_a_session_of_nobody_was_never_found() -> None:
    session = Snapshot({"n": 1})
    assert (dict(session), session._existing(), session._names()) == ({"n": 1}, None, None)
