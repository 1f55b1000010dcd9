"""The session: what applications ask of it, and tell it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from replsession.concern import Concern
from replsession.config import Limits
from replsession.errors import SessionError, SessionTooLarge, UnserializableAttribute
from replsession.session.change import Change
from replsession.session.codec import encode
from replsession.session.expiry import SECONDS_MAX, SessionLimits, encoded_limits
from replsession.session.flashes import Flash
from replsession.session.record import (
    COOKIE_AS_SESSION,
    COOKIE_UNTIL_CLOSED,
    INTERVAL,
    PRINCIPAL,
    SECRET,
)
from replsession.session.session import Session
from tests.session.world import BORN_AT, LIMITS, NOW, Act, World, assign, both


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


# Counters.


def test_a_request_sees_what_it_counted() -> None:
    world = World()
    session = world.session(hits=40)
    (key,) = world.records
    assert [session.increment("hits"), session.increment("hits", 5)] == [41, 46]
    assert session.increment("hits", -1) == session["hits"] == dict(session)["hits"] == 45
    assert session.increment("new", -2) == -2
    assert (session.accessed, session.modified) == (True, True)

    (change,) = session.seal()

    assert (change.writes, change.increments) == ({}, {"hits": 5, "new": -2})
    world.apply(session)
    assert world.records[key] == {"hits": encode("", 45), "new": encode("", -2)}
    assert (dict(session), session.seal()) == ({"hits": 45, "new": -2}, ())


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize(
    ("act", "writes", "increments"),
    [
        (lambda s: s.increment("n", 2), {}, {"n": 2}),
        (both(lambda s: s.increment("n"), assign(n=7)), {"n": 7}, {}),
        (both(lambda s: s.increment("n"), assign(n=1)), {}, {}),
        (both(assign(n=7), lambda s: s.increment("n", 2)), {"n": 9}, {}),
        (both(lambda s: s.increment("n"), assign(n=7), lambda s: s.increment("n")), {"n": 8}, {}),
        (both(lambda s: s.increment("n"), lambda s: s.pop("n")), {"n": ...}, {}),
        (both(lambda s: s.pop("n"), lambda s: s.increment("n", 2)), {"n": 2}, {}),
        (both(lambda s: s.increment("x"), lambda s: s.pop("x")), {}, {}),
        (both(lambda s: s.increment("x"), lambda s: s.increment("x", -1)), {}, {"x": 0}),
        (both(lambda s: s.increment("x"), assign(m=3)), {"m": 3}, {"x": 1}),
        (lambda s: s.setdefault("n", 0) and s.increment("n"), {}, {"n": 1}),
    ],
)
def test_assigning_begins_anew_and_counting_goes_on(
    act: Act, writes: dict[str, Any], increments: dict[str, int], lazy: bool
) -> None:
    world = World()
    session = (world.lazy_session if lazy else world.session)(n=1, m=2)
    (key,) = world.records
    act(session)
    encoded = {n: None if value is ... else encode(n, value) for n, value in writes.items()}
    expected = (Change(key, encoded, increments=increments),) if writes or increments else ()
    assert session.seal() == session.seal() == world.apply(session) == expected
    assert session.seal() == ()


def test_after_a_commit_it_counts_on() -> None:
    world = World()
    session = world.session(n=1)
    (key,) = world.records
    session.increment("n")
    world.apply(session)
    assert session.increment("n", 3) == 5
    assert world.apply(session) == (Change(key, {}, increments={"n": 3}),)
    # What it was found with is not what it is.
    session["n"] = 1
    assert world.apply(session) == (Change(key, {"n": b"\x01"}),)


def test_what_was_a_list_before_is_counted_once() -> None:
    world = World()
    session = world.session(n=[1])
    (key,) = world.records
    assert session["n"] == [1]
    session["n"] = 5
    world.apply(session)
    session.increment("n")
    assert world.apply(session) == (Change(key, {}, increments={"n": 1}),)


def test_a_count_is_not_made_twice_when_a_commit_failed() -> None:
    world = World()
    session = world.session(n=1)
    session.increment("n")
    session["bad"] = object()
    for _ in range(2):
        with pytest.raises(UnserializableAttribute):
            world.apply(session)
    del session["bad"]
    (change,) = world.apply(session)
    assert change.increments == {"n": 1}
    assert world.apply(session) == ()


def test_a_session_may_begin_and_live_by_a_counter() -> None:
    world = World()
    session = world.new_session()
    session.increment("hits", 3)
    assert session.would_be_born
    (birth,) = world.apply(session)
    assert (birth.birth, birth.increments) == (True, {"hits": 3})
    assert (session.is_new, session.id is None, dict(session)) == (True, False, {"hits": 3})
    del session["hits"]
    (end,) = world.apply(session)
    assert end.destroy


def test_what_was_counted_before_the_clear_is_forgotten() -> None:
    world = World()
    session = world.session(n=1)
    session.increment("n", 5)
    session.clear()
    assert session.increment("n", 2) == 2
    end, birth = world.apply(session)
    assert (end.destroy, birth.increments) == (True, {"n": 2})


@pytest.mark.parametrize("value", ["1", None, 1.0, True, [1], {}])
def test_what_is_no_int_is_not_counted(value: Any) -> None:
    session = World().session(n=value)
    with pytest.raises(TypeError, match="'n' is there, and no int"):
        session.increment("n")
    assert session.seal() == ()


def test_what_cannot_be_read_is_not_counted() -> None:
    world = World()
    session = Session.attached(world, world.found_bytes({"n": b"\xff"}))
    with pytest.raises(TypeError, match="'n' is there, and no int"):
        session.increment("n")
    session["n"] = 1
    assert session.increment("n") == 2


@pytest.mark.parametrize(
    ("amount", "kind"),
    [(0, ValueError), (2**63, ValueError), (True, TypeError), (1.0, TypeError), ("1", TypeError)],
)
def test_an_amount_that_is_none_is_refused(amount: Any, kind: type[Exception]) -> None:
    session = World().session(n=1)
    with pytest.raises(kind, match="increment: got"):
        session.increment("n", amount)
    assert (session.seal(), session.modified) == ((), False)


@pytest.mark.parametrize(("start", "amount"), [(2**63 - 2, 2), (-(2**63), -1)])
def test_a_request_does_not_count_beyond_64_bits(start: int, amount: int) -> None:
    session = World().session(n=start)
    with pytest.raises(OverflowError, match="64 bits"):
        session.increment("n", amount)
    assert session["n"] == start


@pytest.mark.parametrize("name", ["\0x", "x" * 257, "\ud800"])
def test_a_counter_is_named_as_attributes_are(name: str) -> None:
    session = World().session(n=1)
    with pytest.raises(UnserializableAttribute):
        session.increment(name)
    assert session.seal() == ()


def test_counters_are_bounded_by_their_visible_names() -> None:
    world = World(Limits(attributes_max=2, session_bytes_max=9))
    session = world.session(a=1)
    session.increment("b")
    session.increment("a")
    world.apply(session)
    session.increment("c")
    with pytest.raises(SessionTooLarge, match="3 attributes; at most 2"):
        session.seal()
    session.pop("c")
    session.increment("b", 2**40)
    with pytest.raises(SessionTooLarge, match="10 bytes; at most 9"):
        session.seal()


# Flashes.


def test_messages_wait_for_a_page() -> None:
    world = World()
    session = world.session(n=1)
    session.flash("saved")
    session.flash({"count": 3}, "error")
    session.flash("saved")
    assert session.modified
    assert session.peek_flash() == [
        ("message", "saved"),
        ("error", {"count": 3}),
        ("message", "saved"),
    ]
    assert dict(session) == {"n": 1}
    (change,) = world.apply(session)
    assert [flash.category for flash in change.flashed] == ["message", "error", "message"]
    assert (change.writes, change.popped) == ({}, ())
    assert session.peek_flash("message") == ["saved", "saved"]
    assert session.pop_flash("nothing") == []
    assert session.seal() == ()


def test_who_takes_messages_takes_what_was_seen() -> None:
    world = World()
    session = world.session(n=1)
    session.flash("one")
    session.flash("two", "error")
    (made,) = world.apply(session)
    session.flash("three")
    assert session.pop_flash("message") == ["one", "three"]
    assert session.pop_flash("message") == []
    (change,) = world.apply(session)
    assert (change.flashed, change.popped) == ((), (made.flashed[0].id,))
    assert session.pop_flash() == [("error", "two")]
    assert world.apply(session)[0].popped == (made.flashed[1].id,)
    assert (session.peek_flash(), session.seal()) == ([], ())


def test_a_message_may_be_kept_once() -> None:
    session = World().session(n=1)
    for _ in range(2):
        session.flash("twice", allow_duplicate=False)
        session.flash("twice", "error", allow_duplicate=False)
    session.flash("twice")
    assert len(session.peek_flash()) == 3


@pytest.mark.parametrize("read", [lambda s: s.peek_flash(), lambda s: s.pop_flash("x")])
def test_who_looks_for_messages_has_read_the_session(read: Act) -> None:
    world = World()
    session = world.lazy_session(n=1)
    read(session)
    assert (session.accessed, session.modified, world.loads) == (True, False, 1)


def test_a_message_is_kept_as_it_was() -> None:
    session = World().session(n=1)
    message = ["a"]
    session.flash(message)
    message.append("b")
    assert session.pop_flash("message") == [["a"]]


@pytest.mark.parametrize(("message", "category"), [(object(), "x"), ("x", "\0"), ("x", 3)])
def test_a_message_that_may_not_be_stored_is_refused_at_once(message: Any, category: Any) -> None:
    session = World().session(n=1)
    with pytest.raises(UnserializableAttribute):
        session.flash(message, category)
    assert (session.peek_flash(), session.seal()) == ([], ())


def test_messages_count_for_the_size_of_their_session() -> None:
    world = World(Limits(session_bytes_max=100, value_bytes_max=80))
    session = world.session(a="x" * 30)
    with pytest.raises(SessionTooLarge, match="at most 80"):
        session.flash("x" * 90)
    session.flash("x" * 70)
    with pytest.raises(SessionTooLarge, match="the session has"):
        session.seal()
    session.pop_flash()
    assert session.seal() == ()


def test_a_visitor_is_given_a_session_by_a_message() -> None:
    world = World()
    session = world.new_session()
    session.flash("welcome")
    assert session.would_be_born and session.id is not None
    (birth,) = world.apply(session)
    assert (birth.birth, len(birth.flashed)) == (True, 1)
    assert not session.seal()


def test_the_last_message_that_is_taken_ends_nothing() -> None:
    # Another request may be flashing.
    world = World()
    session = world.new_session()
    session.flash("welcome")
    world.apply(session)
    assert session.pop_flash("message") == ["welcome"]
    (change,) = world.apply(session)
    assert (change.destroy, len(change.popped)) == (False, 1)
    assert session.id is not None


def test_messages_that_were_never_committed_leave_nothing_behind() -> None:
    world = World()
    session = world.new_session()
    session.flash("welcome")
    session.pop_flash()
    assert (session.id, world.apply(session)) == (None, ())


@pytest.mark.parametrize("end", [lambda s: s.clear(), lambda s: s.invalidate()])
def test_messages_go_with_their_session(end: Act) -> None:
    world = World()
    session = world.session(n=1)
    session.flash("one")
    world.apply(session)
    session.flash("two")
    end(session)
    assert session.peek_flash() == []
    (change,) = world.apply(session)
    assert change.destroy


def test_messages_keep_a_session_alive_whose_last_attribute_goes() -> None:
    world = World()
    session = world.session(n=1)
    session.flash("one")
    del session["n"]
    (change,) = world.apply(session)
    assert (change.destroy, change.writes) == (False, {"n": None})


def test_a_message_that_cannot_be_read_is_left_out_and_taken() -> None:
    world = World()
    found = world.found(n=1)
    found.values.flashes = (Flash(b"1" * 8, "x", b"\xff"), Flash(b"2" * 8, "x", b"\x05"))
    session = Session.attached(world, found)
    assert session.pop_flash("x") == [5]
    assert world.undecodables == [(session.id, "flash")]
    assert session.seal()[0].popped == (b"1" * 8, b"2" * 8)


def test_a_session_of_nobody_has_messages_and_counters_of_its_own() -> None:
    session = Session()
    session.flash("one")
    session.flash("two")
    assert session.pop_flash("message") == ["one", "two"]
    assert (session.increment("n"), session.increment("n"), dict(session)) == (1, 2, {"n": 2})
    session.set_expiry(5)
    session.principal = "anna"
    assert (session.principal, session.max_inactive_interval) == ("anna", 5)
    assert (session.expires_at, session.seal()) == (None, ())


# Expiry.


@pytest.mark.parametrize(
    ("value", "limits", "ends_at"),
    [
        (60, SessionLimits(60, None, COOKIE_AS_SESSION), NOW + 60),
        (timedelta(minutes=2), SessionLimits(120.0, None, COOKIE_AS_SESSION), NOW + 120),
        (
            datetime.fromtimestamp(NOW + 500, UTC),
            SessionLimits(None, NOW + 500 - BORN_AT, COOKIE_AS_SESSION),
            NOW + 500,
        ),
        (0, LIMITS._replace(cookie=COOKIE_UNTIL_CLOSED), NOW + 1800),
        (None, LIMITS, NOW + 1800),
    ],
)
def test_a_session_is_given_its_own_expiry(
    value: Any, limits: SessionLimits, ends_at: float
) -> None:
    world = World()
    session = world.session(n=1)
    (key,) = world.records
    assert not session.has_own_expiry
    session.set_expiry(value)
    assert (session.modified, session.expires_at) == (True, ends_at)
    assert session.expires_when_browser_closes is (value == 0)
    assert world.apply(session) == (Change(key, {INTERVAL: encoded_limits(limits)}),)
    assert session.has_own_expiry is (value is not None)
    assert (session.expires_at, session.max_inactive_interval) == (ends_at, limits.idle_s)
    session.set_expiry(None)
    assert world.apply(session)[0].writes == {INTERVAL: encoded_limits(LIMITS)}


@pytest.mark.parametrize(
    ("value", "age", "is_renewed"),
    [
        (60.2, 61, True),
        (0, None, False),
        (datetime.fromtimestamp(NOW + 99.5, UTC), 100, False),
        (datetime.fromtimestamp(NOW - 1, UTC), 0, False),
    ],
)
def test_the_cookie_is_kept_as_long(value: Any, age: int | None, is_renewed: bool) -> None:
    world = World()
    session = world.session(n=1)
    session.set_expiry(value)
    world.apply(session)
    assert (session.cookie_age(), session.is_renewed) == (age, is_renewed)


def test_a_new_session_counts_from_now() -> None:
    world = World()
    session = world.new_session()
    session.set_expiry(datetime.fromtimestamp(NOW + 30, UTC))
    assert (session.id, session.expires_at, world.apply(session)) == (None, None, ())
    session["n"] = 1
    assert session.expires_at == NOW + 30
    (birth,) = world.apply(session)
    limits = SessionLimits(None, 30.0, COOKIE_AS_SESSION)
    assert birth.writes[INTERVAL] == encoded_limits(limits)


@pytest.mark.parametrize("value", [-1, True, "60", float("nan"), 2**63, timedelta(seconds=-1), []])
def test_an_expiry_that_is_none_is_refused(value: Any) -> None:
    session = World().session(n=1)
    with pytest.raises(ValueError, match=r"set_expiry: got .*; allowed: seconds from 0 on"):
        session.set_expiry(value)
    assert session.seal() == ()


# Principals.


def test_a_session_says_whose_it_is() -> None:
    world = World()
    session = world.session(n=1)
    (key,) = world.records
    assert session.principal is None
    session.principal = "anna"
    assert (session.principal, session.modified) == ("anna", True)
    assert world.apply(session) == (Change(key, {PRINCIPAL: encode("", "anna")}),)
    assert (session.principal, session.seal(), dict(session)) == ("anna", (), {"n": 1})
    session.principal = "anna"
    assert session.seal() == ()
    session.principal = None
    assert world.apply(session) == (Change(key, {PRINCIPAL: None}),)
    assert (session.principal, session.seal()) == (None, ())


def test_whose_it_is_was_found() -> None:
    world = World()
    session = Session.attached(world, world.found(n=1)._replace(principal="bert"))
    assert session.principal == "bert"
    session.clear()
    assert session.principal is None
    session["n"] = 2
    assert PRINCIPAL not in world.apply(session)[1].writes


def test_a_principal_begins_a_session_and_keeps_it_alive() -> None:
    world = World()
    session = world.new_session()
    session.principal = "anna"
    session.rotate_id()
    assert session.id is not None
    (birth,) = world.apply(session)
    assert (birth.birth, birth.writes[PRINCIPAL]) == (True, encode("", "anna"))
    session["n"] = 1
    world.apply(session)
    del session["n"]
    assert not world.apply(session)[0].destroy
    session.principal = None
    (end,) = world.apply(session)
    assert end.destroy
    assert session.committed_identity is None


def test_a_login_is_one_change() -> None:
    world = World()
    session = world.session(n=1)
    session.principal = "anna"
    session.rotate_id()
    session["user"] = 7
    (change,) = world.apply(session)
    assert list(change.writes) == ["user", PRINCIPAL, SECRET]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("", ValueError),
        ("a\0b", ValueError),
        ("x" * 257, ValueError),
        ("é" * 129, ValueError),
        ("\ud800", ValueError),
        (b"anna", TypeError),
        (7, TypeError),
    ],
)
def test_a_principal_that_is_none_is_refused(name: Any, kind: type[Exception]) -> None:
    session = World().session(n=1)
    with pytest.raises(kind, match="principal: got"):
        session.principal = name
    assert (session.principal, session.seal()) == (None, ())


def test_the_longest_principal() -> None:
    session = World().session(n=1)
    session.principal = "é" * 128
    assert session.principal == "é" * 128
