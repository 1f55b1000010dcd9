"""The contract between a session and the world."""

from __future__ import annotations

import inspect

import pytest

from replsession.identity import Key, public_id
from replsession.session.context import Identity, Loaded, SessionContext
from replsession.session.expiry import SessionLimits
from replsession.session.record import Values
from replsession.web.exchange import Exchange
from tests.session.world import World
from tests.web.rooms import App

IDENTITY = Identity(Key("/", b"l" * 12), b"h" * 16, "the-token")
METHODS = [name for name, _ in inspect.getmembers(SessionContext, inspect.isfunction)]


def test_a_token_is_not_shown() -> None:
    loaded = Loaded(IDENTITY, Values({"a": b"\x01"}), 1.0, 2.0, SessionLimits(None, None))
    assert "the-token" not in repr(IDENTITY) + str(IDENTITY) + repr(loaded)
    assert "/" in repr(IDENTITY)


@pytest.mark.parametrize("world", [World, Exchange])
def test_whoever_fulfils_the_contract_has_all_of_it(world: type[object]) -> None:
    named = [name for name in METHODS if not name.startswith("_")]
    assert len(named) == 11
    for name in named:
        asked = inspect.signature(getattr(SessionContext, name))
        given = inspect.signature(getattr(world, name))
        assert list(given.parameters) == list(asked.parameters), name


@pytest.mark.parametrize("world", [World(), Exchange])
@pytest.mark.parametrize("name", ["limits", "is_started", "is_stale"])
def test_what_is_no_method_is_there_too(world: object, name: str) -> None:
    assert hasattr(world, name)


def test_nothing_is_stale_unless_it_is_said() -> None:
    assert Loaded(IDENTITY, Values(), 1.0, 2.0, SessionLimits(None, None)).stale is None


def test_a_session_asks_its_context_for_all_that_it_does_not_know() -> None:
    world = World()
    session = world.new_session()
    session["n"] = 1
    identity = session.committed_identity
    assert identity is None
    world.apply(session)
    identity = session.committed_identity
    assert identity is not None
    assert session.id == public_id(identity.key.locator, identity.secret_hash)
    assert session.max_inactive_interval == world.default_limits().idle_s
    assert session.created_at == world.wall_time()
    assert session.encode_url("/a") == world.encode_url("/a", identity)
    assert session.url_token == world.printed_token(identity)
    assert session.stale is world.is_stale


def test_a_session_is_nobody_s_unless_it_is_said() -> None:
    assert Loaded(IDENTITY, Values(), 1.0, 2.0, SessionLimits(None, None)).principal is None


@pytest.mark.parametrize("world", [World(), App().request()])
def test_what_is_unique_is_no_more(world: SessionContext) -> None:
    made = [world.unique() for _ in range(100)]
    assert len({*made}) == 100
    assert {len(each) for each in made} == {8}
