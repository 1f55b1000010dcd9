"""The session: what applications ask of it, and tell it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from replsession.concern import Concern
from replsession.errors import (
    SessionError,
)
from replsession.session.change import Change
from replsession.session.codec import encode
from replsession.session.expiry import SECONDS_MAX, SessionLimits, encoded_limits
from replsession.session.record import INTERVAL, SECRET
from replsession.session.session import Session
from tests.session.world import BORN_AT, LIMITS, Act, World, assign


def test_rotation_is_one_write_and_keeps_the_attributes() -> None:
    world = World()
    session = world.session(n=1)
    key, old_id, old_token = next(iter(world.records)), session.id, session.url_token
    session.rotate_id()
    new_id = session.id
    assert session.modified
    assert new_id is not None and old_id is not None
    assert (new_id[:16], new_id == old_id) == (old_id[:16], False)

    (change,) = world.apply(session)

    identity = session.committed_identity
    assert identity is not None
    assert change == Change(key, {SECRET: identity.secret_hash})
    assert (session.id, session.url_token == old_token) == (new_id, False)
    assert (session.has_new_id, session.is_new, dict(session)) == (True, False, {"n": 1})


def test_rotation_and_writes_are_one_change() -> None:
    world = World()
    session = world.session(n=1)
    session["user"] = "anna"
    session.rotate_id()
    (change,) = world.apply(session)
    assert list(change.writes) == ["user", SECRET]


@pytest.mark.parametrize("first", [assign(n=2), lambda s: s.clear()])
def test_a_rotation_of_what_is_new_anyway_changes_nothing(first: Act) -> None:
    world = World()
    session = world.session(n=1)
    session.clear()
    session.rotate_id()
    first(session)
    session.rotate_id()
    session["n"] = 2
    end, birth = world.apply(session)
    assert (end.destroy, birth.birth) == (True, True)
    assert world.records == {birth.key: {"n": encode("n", 2)}}


def test_after_the_response_has_started_no_id_can_be_rotated() -> None:
    world = World()
    session = world.session(n=1)
    world.is_started = True
    with pytest.raises(SessionError, match="response has started"):
        session.rotate_id()
    assert session.seal() == ()


def test_a_session_of_nobody_can_be_rotated() -> None:
    session = Session({"a": 1})
    session.rotate_id()
    assert (session.id, session.url_token, session.seal()) == (None, None, ())
    assert session.encode_url("/a") == "/a"
    assert session.max_inactive_interval is None


@pytest.mark.parametrize("seconds", [1, 0.5, 1800, 10**9, None])
def test_the_interval_is_written_and_read_back(seconds: float | None) -> None:
    world = World()
    session = world.session(n=1)
    key = next(iter(world.records))
    assert session.max_inactive_interval == LIMITS.idle_s
    session.max_inactive_interval = seconds
    assert session.max_inactive_interval == seconds
    assert session.modified
    expected = encoded_limits(SessionLimits(seconds, None))
    assert world.apply(session) == (Change(key, {INTERVAL: expected}),)
    assert session.max_inactive_interval == seconds
    assert session.seal() == ()


@pytest.mark.parametrize(
    "seconds", [0, -1, True, "60", float("nan"), float("inf"), 2**63, SECONDS_MAX, [], 1e300]
)
def test_an_interval_that_is_none_is_refused(seconds: Any) -> None:
    session = World().session(n=1)
    with pytest.raises(ValueError, match=r"max_inactive_interval: got .*; allowed: seconds"):
        session.max_inactive_interval = seconds
    assert (session.max_inactive_interval, session.seal()) == (LIMITS.idle_s, ())


def test_the_interval_of_a_new_session() -> None:
    world = World()
    session = world.new_session()
    session.max_inactive_interval = 60
    session["n"] = 1
    (birth,) = world.apply(session)
    assert birth.writes[INTERVAL] == encoded_limits(SessionLimits(60, None))
    assert session.max_inactive_interval == 60


def test_a_session_that_follows_another_has_its_own_interval() -> None:
    world = World()
    session = world.session(n=1)
    session.max_inactive_interval = 60
    world.apply(session)
    session.max_inactive_interval = 61
    session.clear()
    assert session.max_inactive_interval == LIMITS.idle_s
    session["n"] = 2
    assert world.apply(session)[1].writes[INTERVAL] == encoded_limits(LIMITS)

    session.clear()
    session["n"] = 3
    session.max_inactive_interval = 62
    changes = world.apply(session)
    assert changes[1].writes[INTERVAL] == encoded_limits(SessionLimits(62, None))
    assert session.max_inactive_interval == 62
    assert session.seal() == ()


def test_times_are_those_of_what_was_found() -> None:
    session = World().lazy_session(n=1)
    assert (session.created_at, session.last_accessed_at) == (BORN_AT, BORN_AT + 30)
    assert session.is_new is False


def test_reading_the_token_exposes_it() -> None:
    world = World()
    session = world.session(n=1)
    assert session.id is not None
    assert not session.is_exposed
    assert session.encode_url("https://elsewhere/") == "https://elsewhere/"
    assert not session.is_exposed
    assert session.encode_url("/a") == f"/a;jsessionid={session.url_token}"
    assert session.is_exposed
    assert world.printed == [session.committed_identity] * 2


def test_the_token_that_is_printed_is_asked_for_with_the_newest_names() -> None:
    world = World()
    session = world.session(n=1)
    before = session.url_token
    session.rotate_id()
    assert session.url_token not in (None, before)
    world.apply(session)
    assert world.printed[-1] == session.committed_identity


def test_a_token_that_was_exposed_is_forgotten_with_its_session() -> None:
    session = World().session(n=1)
    assert session.url_token is not None
    session.clear()
    session["n"] = 2
    assert not session.is_exposed


@pytest.mark.parametrize("is_stale", [True, False])
@pytest.mark.parametrize("lazy", [True, False])
def test_it_says_whether_the_client_has_seen_more(is_stale: bool, lazy: bool) -> None:
    world = World(is_stale=is_stale)
    session = (world.lazy_session if lazy else world.session)(n=1)
    assert session.stale is is_stale
    assert world.loads == lazy
    assert session.seal() == ()


@pytest.mark.parametrize("concern", ["all", "majority", "one", "async", None])
def test_a_commit_by_itself_is_the_world_s(concern: Concern | None) -> None:
    world = World()
    session = world.session(n=1)
    session["n"] = 2
    asyncio.run(session.commit(concern))
    session["n"] = 3
    session.commit_blocking(concern)
    assert world.waited == [("commit", concern), ("commit_blocking", concern)]
    assert list(world.records.values()) == [{"n": encode("n", 3)}]
    assert session.seal() == ()


def test_without_a_concern_it_is_left_to_the_world() -> None:
    world = World()
    session = world.session(n=1)
    asyncio.run(session.commit())
    session.commit_blocking()
    assert world.waited == [("commit", None), ("commit_blocking", None)]


def test_a_session_of_nobody_is_committed_nowhere_and_never_stale() -> None:
    session = Session({"a": 1})
    asyncio.run(session.commit("all"))
    session.commit_blocking("all")
    assert (dict(session), session.stale) == ({"a": 1}, False)
